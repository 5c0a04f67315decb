// Package calibration reads and writes what is known of the sensors of single
// devices, schema wattrace.calibration/1, as []reduce.Calibration. It takes the
// place of the systematic uncertainties that are assumed of an unknown sensor.
//
// The file is YAML (JSON is YAML too), read strictly: a key that is not known,
// given twice, or of the wrong type is an error with its line and column.
// testdata/example.yaml:
//
//	schema: wattrace.calibration/1
//	devices:
//	  - device: GPU-9927a129-abed-4903-878c-9997bcc14af2
//	    gain: 0.947
//	    gain_sigma: 0.004
//	    offset_watts: -1.2
//	    offset_sigma_watts: 0.5
//	  - device: NVIDIA GeForce RTX 4090
//	    metric: power_watts
//	    gain: 0.955
//	    gain_sigma: 0.014
//	    offset_watts: 20
//	    offset_sigma_watts: 2
//
// Where the device draws P watts, its sensor shows gain*P + offset_watts; the
// reading minus the offset, over the gain, is what it drew. Keys of a device:
//
//	device              its UUID, or the identity that it has in the recording;
//	                    or the product name, for all devices of it; needed. The
//	                    device itself comes before its product
//	metric              power_watts, power_average_watts, power_instant_watts or
//	                    energy_joules: what was calibrated; all when absent
//	gain                above 0.5 and below 2; needed
//	gain_sigma          its standard uncertainty, at least 0 and below 0.5; needed
//	offset_watts        from -100 to 100; 0 when absent
//	offset_sigma_watts  its standard uncertainty, from 0 to 100; 0 when absent
//
// A report warns of devices of the file that it has not seen: calibration_unused.
//
// A gain out of its range is more likely a mistake, such as one of percent, than
// a sensor. The same device and metric may not be given twice.
//
// History: 1 is the first.
package calibration
