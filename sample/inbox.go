package sample

import (
	"sync"
	"time"

	"wattrace/trace"
)

// Inbox takes the readings of feeds. It may be used by several goroutines at
// once. The zero Inbox is ready.
type Inbox struct {
	// Most is how many devices it takes, set before its first use; what comes of others
	// is left out. 0 is any number.
	Most int

	mu      sync.Mutex
	batch   *Batch         // what has come and was not collected
	devices map[Device]int // place of each device in batch.Devices
	left    int64          // readings of devices that are too many
}

// Add appends a reading of a device, which need not have been known before,
// and lets fill set its metrics. Devices are told apart by all that they say
// of themselves, so what does must not change between readings.
func (in *Inbox) Add(d Device, at trace.Time, took time.Duration, fill func(Row)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.batch == nil {
		in.batch = &Batch{}
	}
	i, ok := in.place(d)
	if !ok {
		in.left++
		return
	}
	fill(in.batch.Append(i, at, took))
}

// Announce makes a device known that has no reading yet, so that it is in the
// recording from the start.
func (in *Inbox) Announce(d Device) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.batch == nil {
		in.batch = &Batch{}
	}
	in.place(d)
}

// LeftOut returns how many readings were of devices that are too many.
func (in *Inbox) LeftOut() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.left
}

func (in *Inbox) place(d Device) (i int, ok bool) {
	i, known := in.devices[d]
	if !known {
		if in.Most > 0 && len(in.devices) >= in.Most {
			return 0, false
		}
		if in.devices == nil {
			in.devices = map[Device]int{}
		}
		i = len(in.batch.Devices)
		in.devices[d] = i
		in.batch.Devices = append(in.batch.Devices, d)
	}
	return i, true
}

// take exchanges the readings for an empty batch.
func (in *Inbox) take(empty *Batch) *Batch {
	in.mu.Lock()
	defer in.mu.Unlock()
	full := in.batch
	if full == nil {
		full = &Batch{}
	}
	empty.Reset()
	empty.Devices = full.Devices
	in.batch = empty
	return full
}

// Collect returns the readings so far and forgets them. It is
// for tests of feeds, and for programs that run a feed without a Sampler.
func (in *Inbox) Collect() *Batch { return in.take(&Batch{}) }
