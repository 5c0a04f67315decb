package record

import (
	"strings"
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// TestProgress: the line says what is known, and nothing of what is not.
func TestProgress(t *testing.T) {
	t.Parallel()
	clock := trace.NewSteadyClock()
	gpu := func(id string) sample.Device { return sample.Device{ID: id, Scope: sample.ScopeGPU} }
	r := &recording{sampler: &sample.Sampler{Clock: clock}}
	row := func(device int, joules, watts float64) {
		b := &sample.Batch{Devices: []sample.Device{gpu("a"), gpu("b"), {ID: "c", Scope: sample.ScopeModule}}}
		v := b.Append(device, trace.Time(0), 0)
		if joules >= 0 {
			v.Set(sample.EnergyJoules, joules)
		}
		if watts >= 0 {
			v.Set(sample.PowerWatts, watts)
		}
		r.count(b)
	}
	for _, c := range []struct {
		device        int
		joules, watts float64
		want          string
	}{
		{0, -1, -1, "1 rows"},
		{0, -1, 100, "2 rows, 100 W"},
		{0, 5000, 100, "3 rows, 100 W, 0 kJ so far"},
		{0, 7500, 110, "4 rows, 110 W, 2.5 kJ so far"},
		{1, -1, 300, "5 rows, 410 W"}, // of one of them the energy is not known
		{1, 40, 300, "6 rows, 410 W, 2.5 kJ so far"},
		{0, 10, 110, "7 rows, 410 W, 2.5 kJ so far"}, // the counter began anew
		{0, 1010, 110, "8 rows, 410 W, 3.5 kJ so far"},
		{2, 99, 900, "9 rows, 410 W, 3.5 kJ so far"}, // holds the GPUs
	} {
		row(c.device, c.joules, c.watts)
		if line := r.progress(); !strings.HasSuffix(line, ", "+c.want) {
			t.Errorf("%q, want %q", line, c.want)
		}
	}
	r.until = clock.Now().Sub(0) + 10*time.Second
	if line := r.progress(); !strings.HasSuffix(line, ", 3.5 kJ so far, 10s left") {
		t.Errorf("%q", line)
	}
}
