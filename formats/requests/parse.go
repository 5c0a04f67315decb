package requests

import (
	"math"
	"time"

	"wattrace/formats/plan"
	"wattrace/trace"
)

// Indexes of keys that more than one object has at the same place.
const (
	kAt = iota
	kBoot
	kMonotonic
	kUnix
	kSpread
	kHost
	kBootID
)

var clockKeys = []string{"at_nanos", "boot_nanos", "monotonic_nanos", "unix_nanos", "spread_nanos", "host", "boot_id"}

// snapshot reads the readings of a clock object.
func (p *parser) snapshot(what string, s *trace.ClockSnapshot, required uint64) {
	p.clock(what, &trace.Clock{}, s, required|1<<kUnix)
}

func (p *parser) clock(what string, c *trace.Clock, s *trace.ClockSnapshot, required uint64) {
	p.object(what, clockKeys, required, func(k int) {
		switch k {
		case kAt:
			s.At = p.instant(clockKeys[k])
		case kBoot:
			s.BootNanos = p.absolute(clockKeys[k])
		case kMonotonic:
			s.MonotonicNanos = p.absolute(clockKeys[k])
		case kUnix:
			s.UnixNanos = p.absolute(clockKeys[k])
		case kSpread:
			s.Spread = time.Duration(p.integer(clockKeys[k], 0, max64))
		case kHost:
			c.Host = p.text(clockKeys[k])
		case kBootID:
			c.BootID = p.text(clockKeys[k])
		}
	})
}

var runKeys = []string{"schema", "producer", "clock", "trace", "targets", "plan", "overlays", "seed", "shard", "chunk_clock", "connections", "client", "servers"}

func (p *parser) run(r *Run) {
	*r = Run{}
	p.object("the run line", runKeys, 0b111111, func(k int) {
		start := p.i
		switch k {
		case 0:
			if err := checkSchema(p.text("schema")); err != nil {
				p.fail(start, "%w", err)
			}
		case 1:
			r.Producer = p.text("producer")
		case 2:
			p.clock("clock", &r.Clock, &r.Clock.Anchor, 1<<kHost)
			r.Clock.Anchor.At = 0
		case 3:
			p.trace(&r.Trace)
		case 4:
			p.array("targets", func() { r.Targets = append(r.Targets, p.text("a target")) })
		case 5:
			raw := p.skip()
			if p.err != nil {
				return
			}
			var err error
			if r.Plan, err = plan.ParseJSON(raw); err != nil {
				p.fail(start, "%w", err)
			}
		case 6:
			p.array("overlays", func() { r.Overlays = append(r.Overlays, p.text("an overlay")) })
		case 7:
			r.Seed = trace.Some(p.integer("seed", any64, max64))
		case 8:
			p.object("shard", []string{"index", "count"}, 0b11, func(k int) {
				if k == 0 {
					r.Shard.Index = int(p.integer("index", 0, 1<<30))
				} else {
					r.Shard.Count = int(p.integer("count", 1, 1<<30))
				}
			})
		case 9:
			r.ChunkClock = p.chunkClock()
		case 10:
			p.connections(&r.Connections)
		case 11:
			p.machine(&r.Machine)
		case 12:
			p.array("servers", func() {
				var s Server
				p.object("a server", []string{"target", "version"}, 0b11, func(k int) {
					if k == 0 {
						s.Target = p.text("target")
					} else {
						s.Version = p.text("version")
					}
				})
				r.Servers = append(r.Servers, s)
			})
		}
	})
}

var connectionsKeys = []string{"balance", "keepalive_seconds", "preconnect", "source_addresses", "tls_insecure", "cache_salt_seed"}

func (p *parser) connections(c *Connections) {
	p.object("connections", connectionsKeys, 1, func(k int) {
		start := p.i
		switch k {
		case 0:
			c.Balance = p.text("balance")
		case 1:
			s := p.number("keepalive_seconds")
			if s < 0 || s > 1e9 {
				p.fail(start, "keepalive_seconds is out of range")
			}
			c.KeepAlive = time.Duration(math.Round(s * 1e9))
		case 2:
			c.Preconnect = int(p.integer("preconnect", 0, math.MaxInt32))
		case 3:
			c.SourceAddresses = int(p.integer("source_addresses", 0, math.MaxInt32))
		case 4:
			c.Insecure = p.boolean("tls_insecure")
		case 5:
			c.CacheSaltSeed = trace.Some(p.integer("cache_salt_seed", any64, max64))
		}
	})
}

func (p *parser) machine(m *Machine) {
	p.object("client", []string{"gomaxprocs", "cpus", "cpu_quota", "cpu_model", "governor"}, 1, func(k int) {
		switch k {
		case 0:
			m.GOMAXPROCS = int(p.integer("gomaxprocs", 1, math.MaxInt32))
		case 1:
			m.CPUs = trace.Some(int(p.integer("cpus", 1, math.MaxInt32)))
		case 2:
			m.CPUQuota = trace.Some(p.number("cpu_quota"))
		case 3:
			m.CPUModel = p.text("cpu_model")
		case 4:
			m.Governor = p.text("governor")
		}
	})
}

func (p *parser) trace(t *TraceInfo) {
	p.object("trace", []string{"path", "sha256", "turns", "format", "source_sha256", "like"}, 0b111, func(k int) {
		switch k {
		case 0:
			t.Path = p.text("path")
		case 1:
			t.SHA256 = p.text("sha256")
		case 2:
			t.Turns = p.integer("turns", 0, max53)
		case 3:
			t.Format = p.text("format")
		case 4:
			t.SourceSHA256 = p.text("source_sha256")
		case 5:
			t.Like = p.text("like")
		}
	})
}

var phaseKeys = []string{"phase", "kind", "event", "at_nanos", "concurrency"}

func (p *parser) phase(e *PhaseEvent) {
	*e = PhaseEvent{}
	p.object("the phase line", phaseKeys, 0b01111, func(k int) {
		switch k {
		case 0:
			e.Phase = p.text("phase")
		case 1:
			e.Kind = trace.PhaseKind(p.text("kind"))
		case 2:
			start := p.i
			switch event := p.text("event"); event {
			case "start", "end":
				e.Start = event == "start"
			default:
				p.fail(start, `event must be "start" or "end"`)
			}
		case 3:
			e.At = p.instant("at_nanos")
		case 4:
			e.Concurrency = int(p.integer("concurrency", 0, 1<<30))
		}
	})
}

var sentKeys = []string{"seq", "line", "phase", "sent_nanos"}

func (p *parser) sent(s *Sent) {
	*s = Sent{}
	p.object("the sent line", sentKeys, 0b1111, func(k int) {
		switch k {
		case 0:
			s.Seq = p.integer("seq", 0, max53)
		case 1:
			s.Line = p.integer("line", 1, max53)
		case 2:
			s.Phase = p.text("phase")
		case 3:
			s.At = p.instant("sent_nanos")
		}
	})
}

var clientKeys = []string{
	"at_nanos", "cpu_seconds", "in_flight", "held", "lateness_p50_nanos", "lateness_p99_nanos", "lateness_max_nanos",
	"gc_pause_nanos", "sched_p99_nanos", "queue", "log_blocked_nanos", "goroutines",
}

func (p *parser) client(c *Client) {
	*c = Client{}
	p.object("the client line", clientKeys, 0b101, func(k int) {
		switch k {
		case 0:
			c.At = p.instant("at_nanos")
		case 1:
			c.CPUSeconds = trace.Some(p.number("cpu_seconds"))
		case 2:
			c.InFlight = int(p.integer("in_flight", 0, math.MaxInt32))
		case 3:
			c.Held = trace.Some(int(p.integer("held", 0, math.MaxInt32)))
		case 4:
			c.LatenessP50 = p.duration(clientKeys[k])
		case 5:
			c.LatenessP99 = p.duration(clientKeys[k])
		case 6:
			c.LatenessMax = p.duration(clientKeys[k])
		case 7:
			c.GCPause = p.duration(clientKeys[k])
		case 8:
			c.SchedP99 = p.duration(clientKeys[k])
		case 9:
			c.Queue = trace.Some(int(p.integer("queue", 0, math.MaxInt32)))
		case 10:
			c.LogBlocked = p.duration(clientKeys[k])
		case 11:
			c.Goroutines = trace.Some(int(p.integer("goroutines", 0, math.MaxInt32)))
		}
	})
}

func (p *parser) duration(what string) trace.Opt[time.Duration] {
	return trace.Some(time.Duration(p.integer(what, 0, max64)))
}

var judgementKeys = []string{
	"verdict", "lateness_p50_nanos", "lateness_p99_nanos", "lateness_max_nanos", "mean_gap_nanos", "bound_nanos",
	"sched_p99_nanos", "cpu_share", "busy_share", "log_blocked_nanos", "held",
}

func (p *parser) judgement(j *Judgement) {
	p.object("client", judgementKeys, 1, func(k int) {
		switch k {
		case 0:
			j.Verdict = Verdict(p.text("verdict"))
		case 1:
			j.LatenessP50 = p.duration(judgementKeys[k])
		case 2:
			j.LatenessP99 = p.duration(judgementKeys[k])
		case 3:
			j.LatenessMax = p.duration(judgementKeys[k])
		case 4:
			j.MeanGap = p.duration(judgementKeys[k])
		case 5:
			j.Bound = p.duration(judgementKeys[k])
		case 6:
			j.SchedP99 = p.duration(judgementKeys[k])
		case 7:
			j.CPUShare = trace.Some(p.number("cpu_share"))
		case 8:
			j.BusyShare = trace.Some(p.number("busy_share"))
		case 9:
			j.LogBlocked = p.duration(judgementKeys[k])
		case 10:
			j.Held = trace.Some(p.integer("held", 0, max53))
		}
	})
}

var closeKeys = []string{"at_nanos", "sent", "succeeded", "failed", "cancelled", "clean", "client"}

func (p *parser) close(c *Close) {
	*c = Close{}
	p.object("the close line", closeKeys, 0b111111, func(k int) {
		switch k {
		case 0:
			c.At = p.instant("at_nanos")
		case 1:
			c.Sent = p.integer("sent", 0, max53)
		case 2:
			c.Succeeded = p.integer("succeeded", 0, max53)
		case 3:
			c.Failed = p.integer("failed", 0, max53)
		case 4:
			c.Cancelled = p.integer("cancelled", 0, max53)
		case 5:
			c.Clean = p.boolean("clean")
		case 6:
			p.judgement(&c.Client)
		}
	})
}
