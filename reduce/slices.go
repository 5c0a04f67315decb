package reduce

import (
	"fmt"
	"time"
)

// What is kept of slices until the report is written, in bytes: about so much of each
// one, and of each device at its ends.
const (
	sliceBytes  = 1800 // with what four Splitters have of it
	deviceBytes = 300
	slicesMost  = 1 << 30 // of all of them
)

// SlicesError says that slices of Options.Every would take more memory than they may.
type SlicesError struct {
	Every   time.Duration // their length
	Slices  int64         // how many there would be
	Devices int           // of how many devices each
	Bytes   int64         // about what they would take
	Least   time.Duration // a length with which they fit
}

func (e *SlicesError) Error() string {
	of := ""
	if e.Devices > 0 {
		of = ", each of " + plural(e.Devices, "device", "devices") + ","
	}
	return fmt.Sprintf("%d slices of %v%s would take %.3g GB of memory, which is more than %.3g GB",
		e.Slices, e.Every, of, float64(e.Bytes)/1e9, slicesMost/1e9)
}

// tooMany returns the error of slices that would take too much memory. Before Start no
// device counts.
func (r *Reducer) tooMany() error {
	each := int64(sliceBytes)
	devices := len(r.gpus) + len(r.others)
	for _, list := range [][]*series{r.gpus, r.others} {
		for _, s := range list {
			each += deviceBytes
			if s.spread > 0 { // ends are moved as well
				each += int64(len(shifts(s.spread))) * deviceBytes / 2
			}
		}
	}
	count := func(every time.Duration) (n int64) {
		for _, ph := range r.phases {
			if end, ok := ph.End.Get(); ok && !ph.window && end > ph.Start {
				n += int64((end.Sub(ph.Start)-1)/every) + 1
			}
		}
		return n
	}
	if r.opt.Every <= 0 {
		return nil
	}
	n := count(r.opt.Every)
	if n <= slicesMost/each {
		return nil
	}
	least := r.opt.Every
	for count(least) > slicesMost/each {
		least *= 2
	}
	return &SlicesError{r.opt.Every, n, devices, int64(min(float64(n)*float64(each), 1<<62)), least}
}
