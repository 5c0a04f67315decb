package replay

import (
	"errors"
	"time"

	"wattrace/formats/requests"
	"wattrace/replay"
	"wattrace/trace"
)

// log writes what an engine reports as a request log. Once a second, and at the
// edges of phases, it hands on what is buffered, so that a killed run loses
// little.
type log struct {
	w     *requests.Writer
	shard replay.Shard
}

func (l *log) Phase(ph *trace.Phase, start bool, at trace.Time) error {
	ev := requests.PhaseEvent{Phase: ph.Name, Kind: ph.Kind, Start: start, At: at}
	if start {
		ev.Concurrency = l.shard.Share(ph.Slots()) // in an open loop there is none to speak of
	}
	return errors.Join(l.w.Phase(&ev), l.w.Flush())
}

func (l *log) Sent(seq, line int64, phase string, at trace.Time) error {
	return l.w.Sent(&requests.Sent{Seq: seq, Line: line, Phase: phase, At: at})
}

func (l *log) Request(r *trace.Request) error { return l.w.Request(r) }

func (l *log) Clock(s trace.ClockSnapshot) error { return l.w.Clock(s) }

func (l *log) Client(at trace.Time, cpu trace.Opt[time.Duration], inFlight int) error {
	c := requests.Client{At: at, InFlight: inFlight}
	if cpu.OK {
		c.CPUSeconds = trace.Some(float64(cpu.V.Microseconds()) / 1e6) // all that the kernel tells
	}
	return errors.Join(l.w.Client(&c), l.w.Flush())
}
