package reduce

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the logs' local times must mean the same everywhere

	"wattrace/formats/nvidiasmi"
	"wattrace/sample"
	"wattrace/trace"
)

// recordings are boards beside a power meter: testdata/meter says from where.
var recordings = []string{"rtx3090-step", "a5000-step", "rtx3090-5050"}

// meterReading is one reading of both power fields.
type meterReading struct {
	at               trace.Time // Unix time
	average, instant float64
}

// recording is a log and the energy that the meter saw.
type recording struct {
	name     string
	readings []meterReading
	at       []trace.Time // Unix time
	joules   []float64    // since at[0]
}

// energy is what the meter saw up to t.
func (r *recording) energy(t trace.Time) float64 {
	i := sort.Search(len(r.at), func(i int) bool { return r.at[i] > t })
	if i == 0 || i == len(r.at) {
		return math.NaN()
	}
	share := float64(t-r.at[i-1]) / float64(r.at[i]-r.at[i-1])
	return r.joules[i-1] + share*(r.joules[i]-r.joules[i-1])
}

// open opens a file, with the gzip layer that its name may say.
func openFile(t *testing.T, path string) io.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if !strings.HasSuffix(path, ".gz") {
		return f
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// readRecording reads a log, and the meter's file: readings of power, or means.
func readRecording(t *testing.T, name, log, meter string) *recording {
	t.Helper()
	r := &recording{name: name}
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	smi, err := nvidiasmi.NewReader(openFile(t, log), log, nvidiasmi.Options{Location: london})
	if err != nil {
		t.Fatal(err)
	}
	anchor := trace.Time(smi.Head().Clock.Anchor.UnixNanos)
	for b := (sample.Batch{}); ; {
		if err := smi.Read(&b); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			average, ok := b.Float(sample.PowerAverageWatts, i)
			instant, ok2 := b.Float(sample.PowerInstantWatts, i)
			if !ok || !ok2 {
				t.Fatalf("%s: row %d has no power", log, i)
			}
			r.readings = append(r.readings, meterReading{anchor + b.Time[i], average, instant})
		}
	}
	lines := bufio.NewScanner(openFile(t, meter))
	lines.Scan()
	means := strings.HasPrefix(lines.Text(), "from_")
	for joules, last := 0.0, 0.0; lines.Scan(); {
		var at, watts float64
		if _, err := fmt.Sscanf(lines.Text(), "%g,%g", &at, &watts); err != nil {
			t.Fatal(err)
		}
		stamp := trace.Time(math.Round(at*1e6) * 1e3)
		if n := len(r.at); n > 0 {
			mean := (last + watts) / 2
			if means {
				mean = last
			}
			joules += mean * stamp.Sub(r.at[n-1]).Seconds()
		}
		r.at, r.joules, last = append(r.at, stamp), append(r.joules, joules), watts
	}
	if len(r.at) < 1000 || len(r.readings) < 1000 {
		t.Fatalf("%s: %d of the meter's readings, %d of the board's", name, len(r.at), len(r.readings))
	}
	return r
}

// thin keeps the first reading of every interval.
func (r *recording) thin(poll, phase time.Duration) (out []meterReading) {
	due := r.readings[0].at.Add(phase)
	for _, m := range r.readings {
		if m.at >= due {
			out = append(out, m)
			for due <= m.at && poll > 0 {
				due = due.Add(poll)
			}
		}
	}
	return out
}

// An estimator is a way from readings to a curve.
type estimator struct {
	name string
	of   func(readings []meterReading, instants []trace.Time) *curve
}

// trapezoid integrates a field shifted by a lag.
func trapezoid(field func(meterReading) float64, lag time.Duration) func([]meterReading, []trace.Time) *curve {
	return func(readings []meterReading, instants []trace.Time) *curve {
		g := &shiftedGauge{curve: newCurve(instants, true), lag: lag}
		for _, m := range readings {
			g.read(m.at, field(m))
		}
		g.curve.end()
		return g.curve
	}
}

// byTable does what the sensor table says of a field.
func byTable(field PowerField) func([]meterReading, []trace.Time) *curve {
	return func(readings []meterReading, instants []trace.Time) *curve {
		sensor, ok := Sensors().Lookup(field, sample.Device{Name: "NVIDIA GeForce RTX 3090"}, "535.54.03")
		if !ok || sensor.Assumed {
			panic("the sensor is not in the table")
		}
		value := averageField
		if field == FieldInstant {
			value = instantField
		}
		top := 0.0
		for _, m := range readings {
			top = max(top, value(m))
		}
		g := newPowerGauge(instants, sensor, sensor.Period, top, 10*time.Second)
		for _, m := range readings {
			g.read(m.at, 0, value(m))
		}
		g.end()
		return g.curve
	}
}

func averageField(m meterReading) float64 { return m.average }
func instantField(m meterReading) float64 { return m.instant }

var (
	averageDeconvolved = estimator{"average, deconvolved", byTable(FieldAverage)}
	instantBetween     = estimator{"instant, between updates", byTable(FieldInstant)}
	averageTrapezoid   = estimator{"average, trapezoid", trapezoid(averageField, 0)}
	averageShifted     = estimator{"average, shifted 0.55 s", trapezoid(averageField, 550*time.Millisecond)}
	instantTrapezoid   = estimator{"instant, trapezoid", trapezoid(instantField, 0)}
	instantShifted     = estimator{"instant, shifted 0.1 s", trapezoid(instantField, 100*time.Millisecond)}
)

// against is how the energies of windows differ from the meter's.
type against struct {
	gain    float64 // mean of estimate/meter - 1
	scatter float64 // standard deviation of estimate/meter, as a share of its mean
	slope   float64 // of the line estimate = slope*meter + watts*length
	watts   float64
}

func (a against) String() string {
	return fmt.Sprintf("%+5.1f +- %5.2f %%  (gain %+5.1f %%, offset %+5.1f W)", 100*a.gain, 100*a.scatter, 100*(a.slope-1), a.watts)
}

// compare takes windows of a length at random, none nearer to the ends of the
// meter's file than a second: an average looks back as far as that.
func (r *recording) compare(e estimator, readings []meterReading, length time.Duration) against {
	const windows = 1000
	margin := time.Second
	from := max(r.at[0], readings[0].at).Add(margin)
	to := min(r.at[len(r.at)-1], readings[len(readings)-1].at).Add(-margin)
	rng := rand.New(rand.NewPCG(1, 2))
	var starts, instants []trace.Time
	for range windows {
		a := from + trace.Time(rng.Int64N(int64(to-from)-int64(length)))
		starts = append(starts, a)
		instants = append(instants, a, a.Add(length))
	}
	slices.Sort(instants)
	c := e.of(readings, instants)
	var sum, square, x, y, xx, xy float64
	for _, a := range starts {
		lo, hi := c.edgeAt(a), c.edgeAt(a.Add(length))
		if !lo.inside || !hi.inside {
			return against{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
		}
		meter := r.energy(a.Add(length)) - r.energy(a)
		joules := float64(hi.energy-lo.energy) / 1e6
		sum += joules / meter
		square += joules / meter * joules / meter
		x, y, xx, xy = x+meter, y+joules, xx+meter*meter, xy+meter*joules
	}
	mean := sum / windows
	slope := (xy - x*y/windows) / (xx - x*x/windows)
	return against{
		mean - 1, math.Sqrt(max(0, square/windows-mean*mean)) / mean,
		slope, (y - slope*x) / windows / length.Seconds(),
	}
}

// meterTable compares every estimator on every recording, and holds those by the
// table of sensors to what they can do.
func meterTable(t *testing.T, all []*recording) {
	limits := map[string]map[time.Duration]float64{
		averageDeconvolved.name: {time.Second: 0.006, 3 * time.Second: 0.0035},
		instantBetween.name:     {time.Second: 0.005, 3 * time.Second: 0.0035},
	}
	for _, length := range []time.Duration{time.Second, 3 * time.Second} {
		for _, e := range []estimator{averageDeconvolved, averageShifted, averageTrapezoid, instantBetween, instantShifted, instantTrapezoid} {
			for _, r := range all {
				a := r.compare(e, r.readings, length)
				t.Logf("%-4v %-25s %-13s %v", length, e.name, r.name, a)
				limit, limited := limits[e.name][length]
				switch {
				case limited && !(a.scatter <= limit):
					t.Errorf("%s: the scatter of %v windows against the meter is %.2f %%, want at most %.2f %%", r.name, length, 100*a.scatter, 100*limit)
				case limited && !(a.gain > -0.08 && a.gain < -0.04):
					t.Errorf("%s: %v windows are %.1f %% off the meter; the boards' own gain is -5 to -7 %%", r.name, length, 100*a.gain)
				}
				if e.name == averageTrapezoid.name && length == time.Second && a.scatter < 0.04 {
					t.Errorf("%s: the plain trapezoid scatters by %.2f %% only: the comparison is void", r.name, 100*a.scatter)
				}
			}
		}
	}
}

// slowTable does so with fewer readings, at five phases each. Polls that keep
// step with the updates say of them only that they are between two polls, so
// that all stamps are off alike; nothing in the readings tells by how much, and
// how well a phase does is luck.
func slowTable(t *testing.T, all []*recording) {
	for _, test := range []struct {
		poll       time.Duration
		one, three float64 // scatter of 1 s and 3 s windows, mean of the phases at most
		worst      float64 // and of 1 s windows at the worst phase
	}{
		{20 * time.Millisecond, 0.006, 0.0035, 0.008},
		{50 * time.Millisecond, 0.008, 0.004, 0.01},
		{100 * time.Millisecond, 0.01, 0.005, 0.015},
		{200 * time.Millisecond, 0.015, 0.01, 0.025},
	} {
		for _, r := range all {
			const phases = 5
			var one, three, worst, shifted, instant float64
			for i := range time.Duration(phases) {
				readings := r.thin(test.poll, i*test.poll/phases)
				a := r.compare(averageDeconvolved, readings, time.Second).scatter
				one, worst = one+a/phases, max(worst, a)
				three += r.compare(averageDeconvolved, readings, 3*time.Second).scatter / phases
				shifted += r.compare(averageShifted, readings, time.Second).scatter / phases
				instant += r.compare(instantBetween, readings, time.Second).scatter / phases
			}
			t.Logf("poll %-5v %-13s average deconvolved 1s %.2f %% (worst %.2f %%), 3s %.2f %%; shifted 1s %.2f %%; instant 1s %.2f %%",
				test.poll, r.name, 100*one, 100*worst, 100*three, 100*shifted, 100*instant)
			if !(one <= test.one && three <= test.three && worst <= test.worst) {
				t.Errorf("%s polled every %v: scatter of %.2f %% (worst %.2f %%) at 1 s and %.2f %% at 3 s, want at most %.2f %% (%.2f %%) and %.2f %%",
					r.name, test.poll, 100*one, 100*worst, 100*three, 100*test.one, 100*test.worst, 100*test.three)
			}
			if !(shifted > 2*one) {
				t.Errorf("%s polled every %v: shifted, the scatter is %.2f %%: the comparison is void", r.name, test.poll, 100*shifted)
			}
		}
	}
}

// TestMeter compares estimators with a power meter, on the committed cuts.
func TestMeter(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	var all []*recording
	for _, name := range recordings {
		base := filepath.Join("testdata", "meter", name)
		all = append(all, readRecording(t, name, base+".nvidia-smi.csv.gz", base+".meter.csv.gz"))
	}
	meterTable(t, all)
	slowTable(t, all)
}

// TestMeterRecordings does it on the recordings themselves.
func TestMeterRecordings(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("WATTRACE_METER_DATA")
	if dir == "" {
		t.Skip("WATTRACE_METER_DATA does not name the folder of the recordings")
	}
	var all []*recording
	for _, name := range recordings {
		base := filepath.Join(dir, name)
		all = append(all, readRecording(t, name, filepath.Join(base, "nvidia-smi.csv"), filepath.Join(base, "meter.csv.gz")))
	}
	meterTable(t, all)
	slowTable(t, all)
}
