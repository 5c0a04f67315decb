//go:build linux && cgo

package nvml

import (
	"context"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"wattrace/sample"
	"wattrace/trace"
)

// waitMillis is how long a call waits for an event, and so how long the feed
// keeps others from initialising NVML anew.
const waitMillis = 200

// feed is the critical errors of the GPUs.
type feed struct {
	source   *Source
	clock    *trace.SteadyClock
	members  map[nvml.Device]*gpu // who is registered
	returned int64                // what Source.returned was then
	made     time.Time            // when that was
}

// Events returns a feed of the GPUs' critical errors (XID), each a row of the
// GPU at its time by the clock, or nil where the driver or the GPUs have no
// such events. Errors from now on are in it.
func (s *Source) Events(clock *trace.SteadyClock) sample.Feed {
	f := &feed{source: s, clock: clock}
	if !s.have.events || !s.calls.TryRLock() {
		return nil
	}
	defer s.calls.RUnlock()
	f.register()
	if len(f.members) == 0 {
		s.freeSet()
		return nil
	}
	return f
}

// register makes the set of events anew, of the GPUs that are there.
func (f *feed) register() {
	s := f.source
	f.returned, f.made, f.members = s.returned.Load(), time.Now(), map[nvml.Device]*gpu{}
	s.freeSet()
	set, code := s.api.EventSetCreate()
	if code != nvml.SUCCESS {
		return
	}
	s.set = set
	for _, g := range s.gpus {
		handle, code := s.handleOf(g)
		if code != nvml.SUCCESS {
			continue
		}
		types, code := handle.GetSupportedEventTypes()
		if code == nvml.SUCCESS && types&nvml.EventTypeXidCriticalError != 0 &&
			handle.RegisterEvents(nvml.EventTypeXidCriticalError, set) == nvml.SUCCESS {
			f.members[handle] = g
		}
	}
}

func (s *Source) freeSet() {
	if s.set != nil {
		s.set.Free()
		s.set = nil
	}
}

// Info describes the source that the events are of.
func (f *feed) Info() sample.Info { return f.source.info }

// Run hands events on until ctx is done.
func (f *feed) Run(ctx context.Context, in *sample.Inbox) error {
	for ctx.Err() == nil {
		event, code := f.wait()
		switch code {
		case nvml.SUCCESS:
			f.add(in, event)
		case nvml.ERROR_TIMEOUT:
		default: // there is no event for now: a GPU, or NVML, is lost
			select {
			case <-ctx.Done():
			case <-time.After(waitMillis * time.Millisecond / 4):
			}
		}
	}
	return nil
}

// wait waits for an event, with a set that is good.
func (f *feed) wait() (nvml.EventData, nvml.Return) {
	s := f.source
	if s.reopening.Load() || !s.calls.TryRLock() {
		return nvml.EventData{}, nvml.ERROR_UNINITIALIZED
	}
	defer s.calls.RUnlock()
	if f.returned != s.returned.Load() || s.set == nil && time.Since(f.made) > seekEvery {
		f.register()
	}
	if s.set == nil || len(f.members) == 0 {
		return nvml.EventData{}, nvml.ERROR_UNINITIALIZED
	}
	event, code := s.set.Wait(waitMillis)
	if code != nvml.SUCCESS && code != nvml.ERROR_TIMEOUT && time.Since(f.made) > seekEvery {
		f.register() // a set with a lost GPU may hear of no other
	}
	return event, code
}

// add makes an event a row of its GPU. One whose GPU NVML does not tell is noted
// in a row of each.
func (f *feed) add(in *sample.Inbox, e nvml.EventData) {
	now := f.clock.Now()
	if g, ok := f.members[e.Device]; ok {
		in.Add(g.scopes[0].device, now, 0, func(row sample.Row) { row.SetUint(sample.XIDError, e.EventData) })
		return
	}
	for _, g := range f.members {
		in.Add(g.scopes[0].device, now, 0, func(row sample.Row) { row.Fail(sample.XIDError, "UNKNOWN_DEVICE") })
	}
}

// Close does nothing: the source lets go of what the feed reads.
func (f *feed) Close() error { return nil }
