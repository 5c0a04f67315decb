// Package sensors reads and writes a table of power sensors, schema
// wattrace.sensors/1: what the power fields of a driver show, where a user knows
// it better than the table that package reduce has built in. A row of the file
// comes before those.
//
// The file is YAML (JSON is YAML too), read strictly: a key that is not known,
// given twice, or of the wrong type is an error with its line and column.
// testdata/example.yaml:
//
//	schema: wattrace.sensors/1
//	sensors:
//	  - field: average
//	    architecture: blackwell
//	    driver: {from: 570, below: 580}
//	    kind: average
//	    window: 1100ms
//	    period: 100ms
//	    span: 1050ms
//	    rest: 1s
//	    measured:
//	      date: "2026-11-27"
//	      device: "NVIDIA B200"
//	      driver: "575.57.08"
//	      devices: 8
//	      period: {uncertainty: 3us, n: 5990}
//	      window: {uncertainty: 4ms, n: 55}
//	  - field: instant
//	    kind: instant
//	    window: 25ms
//	    period: 100ms
//	    assumed: true
//
// Keys of a sensor:
//
//	field         average (NVML field 185, power.draw.average), instant (186,
//	              power.draw.instant) or draw (nvmlDeviceGetPowerUsage,
//	              power.draw); needed
//	architecture  as reduce.GPUArchitecture has it: hopper, ada, ampere-ga100,
//	              ampere-ga10x, ...; any when absent
//	driver        {from, below}: major versions of the driver, from included,
//	              below not; any when absent
//	kind          average, instant or filter: reduce.SensorKind; needed
//	window        what one value covers: needed but for filter, which has none
//	period        between updates; needed
//	span          of average: least age of the update that a value begins at;
//	              window less half a period when absent
//	rest          of average: period of the updates of a device at rest; that of
//	              any when absent
//	assumed       true says that nobody has measured this sensor
//	measured      where the row is from, which changes no figure: {date, device,
//	              driver, devices, period: {uncertainty, n}, window:
//	              {uncertainty, n}}, as record --characterise writes it; all of
//	              them may be absent
//
// The first row that fits a device counts, as in the built-in table. Of a window
// that is shorter than the period the sensor sees only that share of the time.
//
// History: 1 is the first. The key measured was added to it.
package sensors
