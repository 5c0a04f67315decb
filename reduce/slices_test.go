package reduce

import (
	"errors"
	"testing"
	"time"

	"wattrace/trace"
)

// TestTooManySlices: what would not fit in memory is refused before it is made, and what
// the error proposes fits.
func TestTooManySlices(t *testing.T) {
	const hour = 3600 * sec
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	batches := counterRows([]*gpu{g, g}, 0, 30*sec, 20*ms)
	start := func(every time.Duration, from Recording) error {
		r := New(trace.Clock{}, []Span{phaseSpan("p", 0, 10*hour), phaseSpan("q", 11*hour, 12*hour), {Name: "open", Start: 13 * hour}}, true, Options{Every: every})
		for _, b := range batches {
			r.Survey(b, from)
		}
		return r.Start()
	}
	var e *SlicesError
	if err := start(time.Millisecond, Recording{}); !errors.As(err, &e) || e.Slices != 11*3600*1000 || e.Devices != 2 || e.Bytes < slicesMost || e.Every != time.Millisecond {
		t.Fatalf("%v", err)
	}
	if err := start(e.Least, Recording{}); err != nil {
		t.Errorf("every %v: %v", e.Least, err)
	}
	if err := start(e.Least/2, Recording{}); err == nil {
		t.Errorf("every %v fits as well as %v", e.Least/2, e.Least)
	}
	if err := start(e.Least, Recording{Spread: time.Second}); err == nil {
		t.Error("ends that clocks move take no memory")
	}
	if err := start(1, Recording{}); !errors.As(err, &e) || e.Bytes < slicesMost {
		t.Errorf("nanoseconds: %v", err)
	}
	if err := start(0, Recording{}); err != nil {
		t.Error(err)
	}
}
