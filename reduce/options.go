package reduce

import (
	"time"

	"wattrace/trace"
)

// Options are the choices of a user. The zero value is the default.
type Options struct {
	Windows       []Span        // more windows, which may overlap the phases: of kind "window", with an end
	Course        int           // follow the run in so many steps at most, for [Reducer.Course]; 0 does not
	Every         time.Duration // cut every phase into slices of this length; 0 does not
	ExpectDevices int           // GPUs that should have been seen; 0 takes those of the recording or of Topology

	Sensors      SensorTable  // rows that come before those of the built-in table
	EnergySource EnergySource // which method gives the energy; "" takes the counter where there is one
	Calibration  []Calibration
	Topology     []Member
	MIG          bool // say per token what a board that is partitioned drew all the same

	Idle    IdleChoice
	Steady  SteadyRule
	SLO     SLO
	Price   trace.Opt[float64] // of energy, in any currency per kWh
	Carbon  trace.Opt[float64] // of energy, in gCO2e per kWh
	Peers   []string           // other tools, whose numbers are wanted as well; CheckTool knows them
	Explain bool               // say what makes the difference between Peers' numbers and ours

	// Accumulated is the energy between two readings of each GPU's counter that enclose
	// the recording and are not in it, in joules, by the index of the GPU; nil is none.
	Accumulated map[int]float64

	// Truth gives what a simulated device has drawn until an instant on the
	// common clock, in microjoules. With it the report compares itself, and the
	// difference of the last readings before each end, with the truth.
	Truth func(device string, at trace.Time) (microjoules uint64, ok bool)
}

// EnergySource is a method of having a device's energy.
type EnergySource string

// The methods.
const (
	SourceAuto    EnergySource = ""
	SourceCounter EnergySource = "counter" // the device's own energy counter
	SourcePower   EnergySource = "power"   // the integral of its power gauge
)

// Calibration says what a device's own sensor shows when the device draws P
// watts: Gain*P + Offset. It takes the place of the systematic uncertainties
// that are assumed of an unknown sensor.
type Calibration struct {
	Device string // Device.ID; or the product name, for all devices of it
	Field  string // the metric that was calibrated, as sample.Metrics names it; "" is all

	Gain        float64 // dimensionless; 1 is right
	GainSigma   float64 // its standard uncertainty
	OffsetWatts float64
	OffsetSigma float64 // its standard uncertainty, watts
}

// Member is a device that should be there, as a topology file lists them.
type Member struct {
	Host   string // "" is any
	Device string // Device.ID; "" goes by Index
	Index  int    // Device.Index on Host, where Device is ""
	Role   string // what it does: "prefill", "decode", "agg", ...; "" is unknown
	Worker string // which server process it belongs to; "" is unknown
}

// IdleChoice says where idle power comes from. The zero value takes the idle
// phases of the run.
type IdleChoice struct {
	Watts trace.Opt[float64] // of all GPUs together
	Head  time.Duration      // so much of the recording's beginning was idle; 0 is none
}

// SteadyRule finds the steady part of a phase.
type SteadyRule string

// The rules.
const (
	SteadyDefault  SteadyRule = ""         // DESIGN 4.9, see steady.go
	SteadyMLEnergy SteadyRule = "mlenergy" // ML.ENERGY benchmark v3
)

// SLO holds the latencies that a request must keep to be good. 0 is no limit. TTFT and
// E2E are measured from when a request was sent, in an open loop from when it was due:
// there its user waits from then on. The others say from when, whatever the load.
type SLO struct {
	TTFT, ITL, E2E              time.Duration
	TTFTSent, E2ESent           time.Duration
	TTFTScheduled, E2EScheduled time.Duration
}

// Recording says what a batch of telemetry is a part of.
type Recording struct {
	Number int           // of the recording: files that a recorder wrote one after the other are one
	Offset time.Duration // moves its times to the common clock
	Spread time.Duration // Offset may be wrong by this, either way; 0 for files of one boot
	Driver string        // version of the driver; "" is unknown
	// Stamp is how long after a row's Time the stamp is that the file has of it, which
	// other tools take it at; unknown is the middle of the reading.
	Stamp trace.Opt[time.Duration]
}

// The codes of warnings that come from the inputs; the others are in report.go.
const (
	WarnClockStep    Code = "clock_step"         // a wall clock was set, or a host suspended, while a file was written
	WarnTimezone     Code = "timezone_assumed"   // local times without a zone were taken for this machine's
	WarnCalibration  Code = "calibration_unused" // a calibration is of no device that was seen
	WarnMissingShard Code = "missing_shard"      // a part of a run that was split over clients is not there
)
