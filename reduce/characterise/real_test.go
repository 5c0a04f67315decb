package characterise

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the logs' local times must mean the same everywhere

	"github.com/klauspost/compress/zstd"

	"wattrace/formats/nvidiasmi"
	"wattrace/formats/telemetry"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

func openZstd(t *testing.T, name string) io.Reader {
	t.Helper()
	f, err := os.Open("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	return z
}

// put takes a row of a recording.
func (in *Input) put(b *sample.Batch, i int) {
	add := func(to *[]Reading, m sample.MetricID) {
		if v, ok := b.Float(m, i); ok {
			*to = append(*to, Reading{b.Time[i], b.Took[i], v})
		}
	}
	add(&in.Average, sample.PowerAverageWatts)
	add(&in.Instant, sample.PowerInstantWatts)
	add(&in.Counter, sample.EnergyJoules)
}

func recorded(t *testing.T, name string) (in Input) {
	t.Helper()
	r, err := telemetry.NewReader(openZstd(t, name), name)
	if err != nil {
		t.Fatal(err)
	}
	for b := (sample.Batch{}); ; {
		if err := r.Read(&b); errors.Is(err, io.EOF) {
			return in
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			in.put(&b, i)
		}
	}
}

// polled is what survey.py polled.
func polled(t *testing.T, name string) (in Input) {
	t.Helper()
	lines := bufio.NewScanner(openZstd(t, name))
	for lines.Scan(); lines.Scan(); {
		var before, after, averageMicros, instantMicros, energyMicros int64
		var code int
		var average, instant, energy float64
		if _, err := fmt.Sscanf(lines.Text(), "%d,%d,%d,%g,%d,%d,%g,%d,%d,%g,%d", &before, &after, &code, &average, &averageMicros, &code, &instant, &instantMicros, &code, &energy, &energyMicros); err != nil {
			t.Fatal(lines.Text(), err)
		}
		// One call after the other.
		at := trace.Time(before)
		in.Average = append(in.Average, Reading{at, time.Duration(averageMicros * 1e3), average / 1e3})
		at = at.Add(time.Duration(averageMicros * 1e3))
		in.Instant = append(in.Instant, Reading{at, time.Duration(instantMicros * 1e3), instant / 1e3})
		at = at.Add(time.Duration(instantMicros * 1e3))
		in.Counter = append(in.Counter, Reading{at, time.Duration(energyMicros * 1e3), energy / 1e3})
	}
	return in
}

// logged is a log of nvidia-smi beside a meter.
func logged(t *testing.T, name string) (in Input) {
	t.Helper()
	f, err := os.Open("../testdata/meter/" + name + ".nvidia-smi.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	r, err := nvidiasmi.NewReader(z, name, nvidiasmi.Options{Location: london})
	if err != nil {
		t.Fatal(err)
	}
	for b := (sample.Batch{}); ; {
		if err := r.Read(&b); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			in.put(&b, i)
		}
	}
	in.Counter = metered(t, name, r.Head().Clock.Anchor.UnixNanos)
	return in
}

// metered is the meter's energy as a counter would show it that is updated every 100 ms.
func metered(t *testing.T, name string, anchor int64) (counter []Reading) {
	t.Helper()
	f, err := os.Open("../testdata/meter/" + name + ".meter.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	joules, shown, last, watts := 0.0, 0.0, trace.Time(0), 0.0
	for lines.Scan(); lines.Scan(); {
		mean := watts
		var seconds float64
		if _, err := fmt.Sscanf(lines.Text(), "%g,%g", &seconds, &watts); err != nil {
			t.Fatal(err)
		}
		at := trace.Time(int64(math.Round(seconds*1e3))*1e6 - anchor)
		if len(counter) > 0 {
			joules += mean * at.Sub(last).Seconds()
		}
		if last = at; len(counter)%10 == 0 {
			shown = joules
		}
		counter = append(counter, Reading{At: at, Value: shown})
	}
	return counter
}

// Boards that are real: what their loads tell is what was found on them by other
// means (testdata/h100, testdata/h200, ../testdata/meter), and what these loads do
// not tell is not known.
func TestReal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		in             Input
		period, window time.Duration // of the average; 0 is unknown
		instant        string        // why the window of the instant field is not known
	}{
		{"h100/load-10ms", recorded(t, "h100/load-10ms.arrows.zst"), 100 * ms, 1000 * ms, "about"},
		{"h100/poll", polled(t, "h100/poll.csv.zst"), 100 * ms, 1000 * ms, "about"},
		{"h200/load-20ms", recorded(t, "h200/load-20ms.arrows.zst"), 100 * ms, 1000 * ms, "about"},
		{"a5000-step", logged(t, "a5000-step"), 100 * ms, 1100 * ms, "want at least 6"},
		{"rtx3090-step", logged(t, "rtx3090-step"), 100 * ms, 1100 * ms, "want at least 6"},
		{"rtx3090-5050", logged(t, "rtx3090-5050"), 100 * ms, 0, "want at least 6"}, // 50 ms on, 50 ms off: nearly in step with the updates
	} {
		r := Measure(c.in)
		t.Logf("%s: %d edges; counter every %v; instant every %v, window %v; average every %v, window %v, late by %v", c.name, r.Edges,
			r.Counter.Period, r.Instant.Period, r.Instant.Window, r.Average.Period, r.Average.Window, r.Average.Delay)
		near(t, c.name+": counter", r.Counter.Period, 100*ms, ms/10)
		for _, f := range []Field{r.Instant, r.Average} {
			near(t, c.name+": "+string(f.Name), f.Period, c.period, ms/2)
		}
		if r.Instant.Kind != reduce.SensorInstant || r.Average.Kind != reduce.SensorAverage {
			t.Errorf("%s: instant is %q, average %q", c.name, r.Instant.Kind, r.Average.Kind)
		}
		if !strings.Contains(r.Instant.Window.Unknown, c.instant) {
			t.Errorf("%s: %v, want unknown: %s", c.name, r.Instant.Window, c.instant)
		}
		if c.window == 0 {
			if r.Average.Window.Known() {
				t.Errorf("%s: %v", c.name, r.Average.Window)
			}
			continue
		}
		near(t, c.name+": window", r.Average.Window, c.window, 30*ms)
		if s, ok := r.Average.Sensor(); !ok || (s.Span-(c.window-c.period/2)).Abs() > 5*ms {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}
