package record

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// readClocksEvery is when the clocks are compared anew: the format wants it at
// least every 10 s, and batches come every second.
const readClocksEvery = 9 * time.Second

// recording writes what a sampler reads.
type recording struct {
	env     *cli.Env
	sampler *sample.Sampler
	parts   parts
	every   time.Duration // readClocksEvery
	looked  trace.Time    // when the clocks were last read
	stats   sample.Stats
	length  time.Duration
	until   time.Duration         // when it ends, as --for says; 0 is unknown
	running chan struct{}         // closed when the first rows are written
	latest  []func(*sample.Batch) // told of each batch that was read
	waiting atomic.Int64          // bytes that wait for a full disk

	mu      sync.Mutex // guards what progress shows, and what feeds report
	rows    int64
	known   []sample.Device
	devices []health // of each of known
	failed  []string // feeds that ended with an error
}

// health is how the readings of a device went.
type health struct {
	rows, failed int64   // failed: neither power nor energy
	status       string  // of the latest that failed
	watts        float64 // latest
	known        bool    // watts is
	counter      float64 // latest energy
	joules       float64 // that it grew by so far; a fall, which is a reset, adds nothing
	counted      bool    // counter is known
}

func newRecording(env *cli.Env, s *sample.Sampler, src *sources, names names, rotate time.Duration) (*recording, error) {
	r := &recording{env: env, sampler: s, every: readClocksEvery, running: make(chan struct{})}
	r.parts = parts{
		env: env, names: names, rotate: rotate, clock: s.Clock, clocks: s.Clock.Snapshot, stats: s.Stats, full: r.fullDisk,
		head: telemetry.Head{
			Producer: cli.Producer(), Clock: s.Clock.Clock(), Info: src.infos[0], Devices: s.Devices(), Metrics: src.metrics(),
			TimeSync: timeSync(),
		},
	}
	if len(src.infos) > 1 {
		r.parts.head.Sources = src.infos
	}
	s.Failed = r.feedFailed
	r.known = s.Devices()
	r.devices = make([]health, len(r.known))
	if !env.Force() {
		if err := names.refuseOld(); err != nil {
			return nil, err
		}
	}
	return r, r.parts.open()
}

// fullDisk says when the disk has no room, and when it has again.
func (r *recording) fullDisk(full bool) {
	if full {
		r.env.Printf("%s: no space left on device: up to %d MiB wait in memory for it", r.parts.out.Path, maxWaiting>>20)
	} else {
		r.env.Printf("%s: there is space again: all that waited is written", r.parts.out.Path)
	}
}

// feedFailed says at once that a source has ended, and at the end again.
func (r *recording) feedFailed(f sample.Feed, err error) {
	r.mu.Lock()
	r.failed = append(r.failed, err.Error())
	r.mu.Unlock()
	r.env.Printf("%v", err)
}

// run records until ctx ends and closes the output.
func (r *recording) run(ctx context.Context) error {
	begin := r.sampler.Clock.Now()
	var err error
	r.stats, err = r.sampler.Run(ctx, r.write)
	r.length = r.sampler.Clock.Now().Sub(begin)
	if err != nil {
		r.parts.out.Abort()
		return err
	}
	return r.parts.end(true)
}

// write is the sampler's sink.
func (r *recording) write(b *sample.Batch) error {
	if now := r.sampler.Clock.Now(); now.Sub(r.looked) >= r.every {
		r.looked = now
		if s := r.parts.clocks(); s.Stepped(r.parts.told) {
			if err := r.parts.newStream(s); err != nil {
				return err
			}
		}
	}
	if err := r.parts.write(b); err != nil {
		return err
	}
	r.waiting.Store(int64(r.parts.out.Waiting()))
	r.count(b)
	for _, f := range r.latest {
		f(b)
	}
	select {
	case <-r.running:
	default:
		close(r.running)
	}
	return nil
}

func (r *recording) count(b *sample.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows += int64(b.Len())
	r.known = b.Devices
	for len(r.devices) < len(b.Devices) {
		r.devices = append(r.devices, health{})
	}
	for i, d := range b.Device {
		h := &r.devices[d]
		h.rows++
		watts, power := b.Float(sample.PowerWatts, i)
		counter, energy := b.Float(sample.EnergyJoules, i)
		if power {
			h.watts, h.known = watts, true
		}
		if energy {
			if h.counted {
				h.joules += max(0, counter-h.counter)
			}
			h.counter, h.counted = counter, true
		}
		if !power && !energy && b.Status[i] != "" {
			h.failed++
			h.status = b.Status[i]
		}
	}
}

// progress is the line that is shown while recording.
func (r *recording) progress() string {
	watts, powered := r.watts()
	joules, counted := r.joules()
	now := r.sampler.Clock.Now().Sub(0)
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf("%v, %s, %d rows", now.Round(time.Second), r.what(), r.rows)
	if powered {
		line += fmt.Sprintf(", %.0f W", watts)
	}
	if counted {
		line += fmt.Sprintf(", %.4g kJ so far", joules/1e3)
	}
	if r.until > now {
		line += fmt.Sprintf(", %v left", (r.until - now).Round(time.Second))
	}
	if waiting := r.waiting.Load(); waiting > 0 {
		line += fmt.Sprintf(", %.1f MiB wait for a full disk", float64(waiting)/(1<<20))
	}
	return line
}

// watts is what all GPUs drew at their latest readings, if any told.
func (r *recording) watts() (watts float64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.devices {
		if r.known[i].Scope == sample.ScopeGPU {
			watts += h.watts
			known = known || h.known
		}
	}
	return watts, known
}

// joules is by how much the counters of all GPUs grew, where all that tell their power
// have one.
func (r *recording) joules() (joules float64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.devices {
		if r.known[i].Scope != sample.ScopeGPU {
			continue
		}
		if h.known && !h.counted {
			return 0, false
		}
		joules += h.joules
		known = known || h.counted
	}
	return joules, known
}

const noDevice = "no device"

// what says of how many devices the recording is. r.mu is held.
func (r *recording) what() string {
	gpus, others := 0, 0
	for _, d := range r.known {
		switch d.Scope {
		case sample.ScopeGPU:
			gpus++
		case sample.ScopeRun:
		default:
			others++
		}
	}
	var parts []string
	count := func(n int, one, many string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, fmt.Sprint(n, " ", many))
		}
	}
	count(gpus, "GPU", "GPUs")
	count(others, "other sensor", "other sensors")
	if parts == nil {
		return noDevice
	}
	return strings.Join(parts, " and ")
}

// summarise says how the recording went.
func (r *recording) summarise() {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	share := func(d time.Duration) string {
		return fmt.Sprintf("%v (%.1f %%)", d.Round(100*time.Microsecond), 100*d.Seconds()/max(r.length.Seconds(), 1e-9))
	}
	r.env.Summaryf("%d rows of %s in %v, %d of %d ticks missed, jitter p99 %v, inside the driver %s, own CPU %s",
		s.Rows, r.what(), r.length.Round(time.Millisecond), s.Missed, s.Ticks+s.Missed,
		s.LatenessP99.Round(time.Microsecond), share(s.Read), share(s.CPU))
}

// incomplete says which devices could not be read all the time.
func (r *recording) incomplete() error {
	var lines []string
	for i, d := range r.known {
		if h := r.devices[i]; h.failed > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d of %d readings failed: %s", d.ID, h.failed, h.rows, h.status))
		}
	}
	if r.parts.lost > 0 {
		lines = append(lines, fmt.Sprintf("%d rows were lost while the disk was full: the recording says when", r.parts.lost))
	}
	if n := r.sampler.Inbox.LeftOut(); n > 0 {
		lines = append(lines, fmt.Sprintf("%d readings were left out: a recording has room for %d devices, and the sources told of more", n, telemetry.MaxDevices))
	}
	for _, u := range r.stats.Units {
		if u.Stuck {
			lines = append(lines, fmt.Sprintf("%s: the last call of its driver has not returned", u.Devices[0].ID))
		}
	}
	lines = append(lines, r.failed...)
	if lines == nil && r.what() == noDevice {
		lines = append(lines, "nothing was recorded: no source told of a device")
	}
	if len(lines) == 0 {
		return nil
	}
	return cli.Incompletef("%s", strings.Join(lines, "\n"))
}
