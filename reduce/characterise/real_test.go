package characterise

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
	"time"
	_ "time/tzdata" // the logs' local times must mean the same everywhere

	"github.com/klauspost/compress/zstd"

	"wattrace/formats/nvidiasmi"
	"wattrace/formats/telemetry"
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

func TestReal(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]Input{
		"h100 10 ms":   recorded(t, "h100/load-10ms.arrows.zst"),
		"h100 poll":    polled(t, "h100/poll.csv.zst"),
		"h200 20 ms":   recorded(t, "h200/load-20ms.arrows.zst"),
		"a5000-step":   logged(t, "a5000-step"),
		"rtx3090-step": logged(t, "rtx3090-step"),
		"rtx3090-5050": logged(t, "rtx3090-5050"),
	} {
		r := Measure(in)
		t.Logf("%s: edges %d from %s", name, r.Edges, r.EdgesFrom)
		for _, f := range []Field{r.Counter, r.Instant, r.Average} {
			t.Logf("   %-8s period %v jitter %v rest %v kind %q %s window %v delay %v unfit %.3f", f.Name, f.Period, f.Jitter, f.Rest, f.Kind, f.KindWhy, f.Window, f.Delay, f.Unfit)
		}
	}
}
