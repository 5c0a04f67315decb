package reduce

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"wattrace/sample"
)

// PowerField is a field of a driver that power is read from.
type PowerField string

// The power fields of NVIDIA's driver.
const (
	FieldAverage PowerField = "average" // NVML field 185; power.draw.average
	FieldInstant PowerField = "instant" // NVML field 186; power.draw.instant
	FieldDraw    PowerField = "draw"    // nvmlDeviceGetPowerUsage; power.draw: one of the two others, by architecture and driver
)

// SensorKind says what a power field shows.
type SensorKind string

// The kinds of sensor.
const (
	// SensorAverage: at an update the mean power since the latest update that
	// is at least Span older.
	SensorAverage SensorKind = "average"
	// SensorInstant: at an update the mean power over the Window before it.
	SensorInstant SensorKind = "instant"
	// SensorFilter: a value that follows power as the charge of a capacitor
	// follows its voltage; no window describes it.
	SensorFilter SensorKind = "filter"
)

// Sensor is how a power field follows power.
type Sensor struct {
	Kind   SensorKind
	Window time.Duration // W, what one value covers; of SensorAverage the usual length
	Period time.Duration // Tu, between updates
	Duty   float64       // share of time that the values see: min(1, W/Tu)
	Span   time.Duration // of SensorAverage: least age of the update that a value begins at
	Rest   time.Duration // of SensorAverage: period of the updates of a device at rest, whose values cover up to twice that; Period if rest changes nothing
	// Assumed says that nobody has measured this sensor: the values are those of
	// its likes.
	Assumed bool
}

// Lag returns by how much a reading is behind on average: half of what it
// covers and half the time for which it stands. With stamps of updates instead
// of readings it is half of Window.
func (s Sensor) Lag() time.Duration { return (s.Window + s.Period) / 2 }

// SensorRow is one row of a table of sensors: what a field is with the drivers
// from one version up to another.
type SensorRow struct {
	Field        PowerField
	Architecture string // as GPUArchitecture gives it; "" is any
	From, Below  int    // major versions of the driver; 0 is any
	Sensor
}

// A SensorTable says what power fields are. The first row that fits counts.
type SensorTable []SensorRow

// The tick law of the average field: values cover the time since the latest update
// that is at least span old, so a length between span and a period more.
//
// Of GA10x that is 1.1 s, and up to 2 s of an idle board, whose field is updated
// once a second: three recordings beside a power meter (testdata/meter). Of Hopper
// with driver 525 it is 1.1 s too, by rise times of 881 to 920 ms from 10 to 90 %
// in the table below. With driver 580 it is 1.0 s, idle or not, of an H100 and an
// H200 whose average field was compared with their energy counter (testdata/h100,
// testdata/h200): in windows of 1 s of a load of random steps both differ by 12 to
// 18 J RMS, and by 26 to 30 J if 1.1 s is believed. Nobody has looked at the drivers in
// between, or at other boards with the new one.
func averageSensor(assumed bool) Sensor {
	return Sensor{
		Kind: SensorAverage, Window: 1100 * time.Millisecond, Period: 100 * time.Millisecond, Duty: 1,
		Span: 1050 * time.Millisecond, Rest: time.Second, Assumed: assumed,
	}
}

// secondSensor is the average field of Hopper with driver 580. It does not see
// everything: of a load of 50 Hz, which keeps step with its samples of 20 ms, it
// missed a ninth of the power that the counter tells, of one of 10 Hz up to 3 %.
// Slower loads, steady ones and those of no fixed period it shows to about 1 %.
func secondSensor() Sensor {
	return Sensor{
		Kind: SensorAverage, Window: time.Second, Period: 100 * time.Millisecond, Duty: 1,
		Span: 950 * time.Millisecond, Rest: 100 * time.Millisecond,
	}
}

func instantSensor(window, period time.Duration, assumed bool) Sensor {
	return Sensor{
		Kind: SensorInstant, Window: window, Period: period, Assumed: assumed,
		Duty: min(1, float64(window)/float64(period)),
	}
}

func filterSensor(period time.Duration) Sensor {
	return Sensor{Kind: SensorFilter, Period: period, Duty: 1}
}

// Sensors is the table of NVIDIA's sensors. Sources:
//
//   - JimZeyuYang/GPU_Power_Benchmark, Overall_Results.xlsx: the data of Yang,
//     Adamek and Armour, "Accurate and Convenient Energy Measurements for GPUs"
//     (SC24, arXiv 2312.02741), more than 70 boards with drivers 515 to 535. It
//     is meant where no other is named.
//   - nvml.h 13, nvmlDeviceGetPowerUsage: "On Ampere (except GA100) or newer GPUs,
//     the API returns power averaged over 1 sec interval. On GA100 and older
//     architectures, instantaneous power is returned."
func Sensors() SensorTable {
	const ms = time.Millisecond
	average, averageLike := averageSensor(false), averageSensor(true)
	second := secondSensor()
	secondLike := second
	secondLike.Assumed = true
	full := instantSensor(100*ms, 100*ms, false)      // contiguous windows
	quarter := instantSensor(25*ms, 100*ms, false)    // H100 PCIe 21.2 to 24.9 ms of 99 to 101 ms, A100 17.6 to 25.4 of 101; H100 SXM with driver 580 alike
	half := instantSensor(10*ms, 20*ms, false)        // V100 10.5 to 10.8 ms of 20
	instantLike := instantSensor(25*ms, 100*ms, true) // no better than the worst known
	charging := filterSensor(100 * ms)                // "logarithmic" in the source

	return SensorTable{
		{FieldDraw, "hopper", 0, 536, average}, // measured with driver 525
		{FieldDraw, "hopper", 536, 580, averageLike},
		{FieldDraw, "hopper", 580, 0, second},
		{FieldDraw, "ada", 0, 530, average},
		{FieldDraw, "ada", 530, 531, full}, // driver 530 alone showed the instant field
		{FieldDraw, "ada", 531, 580, average},
		{FieldDraw, "ada", 580, 0, averageLike},
		{FieldDraw, "ampere-ga10x", 0, 530, average},
		{FieldDraw, "ampere-ga10x", 530, 531, full},
		{FieldDraw, "ampere-ga10x", 531, 580, average},
		{FieldDraw, "ampere-ga10x", 580, 0, averageLike},
		{FieldDraw, "ampere-ga100", 0, 0, quarter},
		{FieldDraw, "turing", 0, 0, full},
		{FieldDraw, "volta", 0, 0, half},
		{FieldDraw, "pascal", 0, 0, half},
		{FieldDraw, "maxwell", 0, 0, charging},
		{FieldDraw, "kepler", 0, 0, charging},
		{FieldDraw, "", 0, 580, averageLike}, // nvml.h; no public measurement of Blackwell or later
		{FieldDraw, "", 580, 0, secondLike},  // the last one measured

		{FieldAverage, "hopper", 0, 536, average},
		{FieldAverage, "hopper", 536, 580, averageLike},
		{FieldAverage, "hopper", 580, 0, second},
		{FieldAverage, "ada", 0, 580, average},
		{FieldAverage, "ada", 580, 0, averageLike},
		{FieldAverage, "ampere-ga10x", 0, 580, average},
		{FieldAverage, "ampere-ga10x", 580, 0, averageLike},
		{FieldAverage, "", 0, 580, averageLike}, // the source's other architectures have no such field
		{FieldAverage, "", 580, 0, secondLike},

		{FieldInstant, "hopper", 0, 0, quarter},
		{FieldInstant, "ada", 0, 0, full},
		{FieldInstant, "ampere-ga10x", 0, 0, full},
		{FieldInstant, "ampere-ga100", 0, 0, quarter},
		{FieldInstant, "turing", 0, 0, full},
		{FieldInstant, "volta", 0, 0, half},
		{FieldInstant, "pascal", 0, 0, half},
		{FieldInstant, "maxwell", 0, 0, charging},
		{FieldInstant, "kepler", 0, 0, charging},
		{FieldInstant, "", 0, 0, instantLike},
	}
}

// Lookup returns what a field of a device is under a driver, whose version may
// be unknown (""). It is false when no row fits, which the rows of any
// architecture at the end of [Sensors] exclude. Where the answer depends on a
// version that is unknown, the newest drivers' is given, as assumed.
func (t SensorTable) Lookup(field PowerField, d sample.Device, driver string) (Sensor, bool) {
	architecture := GPUArchitecture(d)
	major, known := driverMajor(driver)
	for _, r := range t {
		switch {
		case r.Field != field || r.Architecture != "" && r.Architecture != architecture:
		case known && (major < r.From || r.Below > 0 && major >= r.Below):
		case !known && r.Below > 0:
		default:
			s := r.Sensor
			s.Assumed = s.Assumed || !known && r.From > 0
			return s, true
		}
	}
	return Sensor{}, false
}

// driverMajor returns 535 of "535.54.03".
func driverMajor(version string) (int, bool) {
	text, _, _ := strings.Cut(strings.TrimSpace(version), ".")
	major, err := strconv.Atoi(text)
	return major, err == nil && major > 0
}

// GPUArchitecture returns the architecture of a device as the table of sensors
// has it: as sample.Device has it, but that Ampere is told apart, by product,
// into "ampere-ga100" (A100, A30 and their kin) and "ampere-ga10x" (the others).
// A device without an architecture has that of its product; "" is unknown.
func GPUArchitecture(d sample.Device) string {
	architecture := strings.ToLower(d.Architecture)
	if architecture != "" && architecture != "ampere" {
		return architecture
	}
	words := strings.FieldsFunc(strings.ToUpper(d.Name), func(r rune) bool {
		return !('0' <= r && r <= '9' || 'A' <= r && r <= 'Z')
	})
	for _, p := range products {
		if p.match(words) && strings.HasPrefix(p.architecture, architecture) {
			return p.architecture
		}
	}
	return architecture
}

// product is the architecture of the products whose names have all these words.
type product struct {
	words        string // patterns of path.Match
	architecture string
}

// products are NVIDIA's, by the names that its driver gives them. The first
// that fits counts.
var products = []product{
	{"BLACKWELL", "blackwell"},
	{"ADA", "ada"},
	{"QUADRO RTX", "turing"},
	{"GEFORCE RTX 50[0-9][0-9]*", "blackwell"},
	{"GEFORCE RTX 40[0-9][0-9]*", "ada"},
	{"GEFORCE RTX 30[0-9][0-9]*", "ampere-ga10x"},
	{"GEFORCE RTX 20[0-9][0-9]*", "turing"},
	{"GEFORCE GTX 16[0-9][0-9]*", "turing"},
	{"GEFORCE GTX 10[0-9][0-9]*", "pascal"},
	{"GEFORCE GTX 9[0-9][0-9]*", "maxwell"},
	{"TITAN RTX", "turing"},
	{"TITAN V", "volta"},
	{"TITAN XP", "pascal"},
	{"TITAN X PASCAL", "pascal"},
	{"GTX TITAN X", "maxwell"},
	{"GB[1-3]0*", "blackwell"},
	{"B[1-3]00*", "blackwell"},
	{"GH[1-2]00*", "hopper"},
	{"H[12][0-9]*", "hopper"},
	{"H800*", "hopper"},
	{"L4*", "ada"},
	{"L20", "ada"},
	{"L2", "ada"},
	{"A100", "ampere-ga100"},
	{"A100X", "ampere-ga100"},
	{"A800", "ampere-ga100"},
	{"A30", "ampere-ga100"},
	{"A30X", "ampere-ga100"},
	{"A2", "ampere-ga10x"},
	{"A10", "ampere-ga10x"},
	{"A10[GM]", "ampere-ga10x"},
	{"A16", "ampere-ga10x"},
	{"A40", "ampere-ga10x"},
	{"A[45]00", "ampere-ga10x"},
	{"A[1-6][05]00", "ampere-ga10x"},
	{"T4", "turing"},
	{"T4G", "turing"},
	{"T[1-9]*00", "turing"},
	{"V100*", "volta"},
	{"GV100", "volta"},
	{"GP100", "pascal"},
	{"P100*", "pascal"},
	{"P40", "pascal"},
	{"P4", "pascal"},
	{"M40", "maxwell"},
	{"M60", "maxwell"},
	{"K80", "kepler"},
	{"K40*", "kepler"},
}

// match reports whether each pattern fits one of the words.
func (p product) match(words []string) bool {
	for pattern := range strings.FieldsSeq(p.words) {
		if !slices.ContainsFunc(words, func(word string) bool {
			ok, _ := path.Match(pattern, word)
			return ok
		}) {
			return false
		}
	}
	return true
}
