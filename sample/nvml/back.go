//go:build linux && cgo

package nvml

import (
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

const (
	seekEvery   = time.Second     // between two searches for a lost GPU
	reopenEvery = 5 * time.Second // between two initialisations where NVML works but no GPU does
	patience    = time.Second     // for the calls of others to end
)

// takeBack adopts what came of a search, or the handle of the NVML that was
// initialised since.
func (s *Source) takeBack(g *gpu) {
	select {
	case f := <-g.found:
		if f.epoch == s.epoch {
			g.adopt(f.handle, f.epoch)
		}
	default:
	}
	if g.epoch == s.epoch {
		return
	}
	g.epoch, g.worked = s.epoch, false
	handle, code := s.handleOf(g)
	if g.lost = code; code == nvml.SUCCESS {
		g.adopt(handle, s.epoch)
	}
}

// adopt takes a new handle. The driver may be another: what the GPU supports is
// found out anew.
func (g *gpu) adopt(handle nvml.Device, epoch int) {
	g.handle, g.epoch, g.lost, g.worked = handle, epoch, nvml.SUCCESS, false
	g.slow = slowSet{probing: true, told: g.slow.told, fields: g.slow.fields}
}

// handleOf finds a GPU by its UUID.
func (s *Source) handleOf(g *gpu) (nvml.Device, nvml.Return) {
	if g.UUID == "" || !s.have.handleByUUID {
		return s.api.DeviceGetHandleByIndex(g.Index)
	}
	return s.api.DeviceGetHandleByUUID(g.UUID)
}

// seek has a lost GPU looked for, once a second, while its rows go on.
func (s *Source) seek(g *gpu) {
	now := time.Now()
	if now.Sub(g.sought) < seekEvery || !g.seeking.CompareAndSwap(false, true) {
		return
	}
	g.sought = now
	s.seekers.Go(func() {
		defer g.seeking.Store(false)
		if !s.calls.TryRLock() {
			return
		}
		handle, code := s.handleOf(g)
		if code == nvml.SUCCESS && s.have.fieldValues {
			// NVML may have a handle of a GPU that does not answer.
			field := []nvml.FieldValue{{FieldId: nvml.FI_DEV_TOTAL_ENERGY_CONSUMPTION}}
			if ret := handle.GetFieldValues(field); isGone(ret) {
				code = ret
			}
		}
		epoch := s.epoch
		s.calls.RUnlock()
		if code == nvml.SUCCESS {
			select {
			case g.found <- foundAs{handle, epoch}:
				s.returned.Add(1)
			default:
			}
		}
		switch {
		case code == nvml.ERROR_UNINITIALIZED, code == nvml.ERROR_DRIVER_NOT_LOADED:
			s.reopen(epoch, 0)
		case s.allDown(): // no one is disturbed
			s.reopen(epoch, reopenEvery)
		}
	})
}

func (s *Source) allDown() bool {
	for _, g := range s.gpus {
		if !g.down.Load() {
			return false
		}
	}
	return true
}

// alone waits until no call is under way, and holds off others. It gives up on
// one that takes too long.
func (s *Source) alone() bool {
	s.reopening.Store(true)
	defer s.reopening.Store(false)
	for end := time.Now().Add(patience); !s.calls.TryLock(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// reopen initialises NVML anew, unless that was done since the epoch, or a
// shorter time ago than every.
func (s *Source) reopen(epoch int, every time.Duration) {
	if !s.alone() {
		return
	}
	defer s.calls.Unlock()
	if s.epoch != epoch || s.closed || time.Since(s.reopened) < every {
		return
	}
	s.reopened = time.Now()
	s.letGo()
	s.api.Shutdown() // fails if NVML knows already that it is gone
	s.api.Init()     // if that fails, every call does
	s.epoch++
	s.returned.Add(1)
}

// letGo frees what NVML has allocated.
func (s *Source) letGo() {
	for _, g := range s.gpus {
		g.freeGPM()
	}
	s.freeSet()
}
