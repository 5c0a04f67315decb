package record

import (
	"context"
	"fmt"
	"strings"
	"sync"
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
	out     *cli.Output
	w       *telemetry.Writer
	every   time.Duration // readClocksEvery
	clocks  func() trace.ClockSnapshot
	looked  trace.Time          // when the clocks were last read
	told    trace.ClockSnapshot // what the recording says of them
	stats   sample.Stats
	length  time.Duration

	mu      sync.Mutex // guards what progress shows
	rows    int64
	devices []health
}

// health is how the readings of a device went.
type health struct {
	gpu          bool    // of scope gpu
	rows, failed int64   // failed: neither power nor energy
	status       string  // of the latest that failed
	watts        float64 // latest
}

func newRecording(env *cli.Env, s *sample.Sampler, src *sources) (*recording, error) {
	out, err := env.Output(cli.OutputOptions{Binary: true, Log: true, Compress: true})
	if err != nil {
		return nil, err
	}
	r := &recording{env: env, sampler: s, out: out, every: readClocksEvery, clocks: s.Clock.Snapshot}
	r.told = r.clocks()
	head := telemetry.Head{
		Producer: cli.Producer(), Clock: s.Clock.Clock(), Info: src.infos[0], Devices: s.Devices(), Snapshot: r.told, Metrics: src.metrics(),
	}
	if len(src.infos) > 1 {
		head.Sources = src.infos
	}
	r.devices = make([]health, len(s.Devices()))
	r.w, err = telemetry.NewWriter(out, head)
	if err != nil {
		out.Abort()
		return nil, err
	}
	return r, nil
}

// run records until ctx ends and closes the output.
func (r *recording) run(ctx context.Context) error {
	begin := r.sampler.Clock.Now()
	var err error
	r.stats, err = r.sampler.Run(ctx, r.write)
	r.length = r.sampler.Clock.Now().Sub(begin)
	if err == nil {
		s := r.stats
		end := telemetry.End{
			Ticks: s.Ticks, Missed: s.Missed, LatenessP50: s.LatenessP50, LatenessP99: s.LatenessP99, LatenessMax: s.LatenessMax,
			Read: s.Read, CPU: s.CPU, Clean: true, Snapshot: r.sampler.Clock.Snapshot(),
		}
		for _, u := range s.Units {
			e := telemetry.UnitEnd{Ticks: u.Ticks, Missed: u.Missed, LatenessP99: u.LatenessP99, LatenessMax: u.LatenessMax, Read: u.Read, ReadMax: u.ReadMax}
			for _, d := range u.Devices {
				e.Devices = append(e.Devices, d.ID)
			}
			end.Units = append(end.Units, e)
		}
		err = r.w.Close(end)
	}
	if err != nil {
		r.out.Abort()
		return err
	}
	return r.out.Close()
}

// write is the sampler's sink.
func (r *recording) write(b *sample.Batch) error {
	if now := r.sampler.Clock.Now(); now.Sub(r.looked) >= r.every {
		r.looked = now
		if s := r.clocks(); s.Stepped(r.told) {
			if err := r.w.NewStream(s); err != nil {
				return err
			}
			r.told = s
		}
	}
	if err := r.w.Write(b); err != nil {
		return err
	}
	r.count(b)
	return nil
}

func (r *recording) count(b *sample.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows += int64(b.Len())
	for len(r.devices) < len(b.Devices) {
		r.devices = append(r.devices, health{})
	}
	for i, d := range b.Device {
		h := &r.devices[d]
		h.rows++
		h.gpu = b.Devices[d].Scope == sample.ScopeGPU
		watts, power := b.Float(sample.PowerWatts, i)
		_, energy := b.Float(sample.EnergyJoules, i)
		if power {
			h.watts = watts
		}
		if !power && !energy && b.Status[i] != "" {
			h.failed++
			h.status = b.Status[i]
		}
	}
}

// progress is the line that is shown while recording.
func (r *recording) progress() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	watts := 0.0
	for _, h := range r.devices {
		if h.gpu {
			watts += h.watts
		}
	}
	return fmt.Sprintf("%v, %s, %d rows, %.0f W", r.sampler.Clock.Now().Sub(0).Round(time.Second), gpus(r.gpus()), r.rows, watts)
}

// gpus counts the GPUs that have readings.
func (r *recording) gpus() (n int) {
	for _, h := range r.devices {
		if h.gpu {
			n++
		}
	}
	return n
}

func gpus(n int) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprint(n, " GPUs")
}

// summarise says how the recording went.
func (r *recording) summarise() {
	s := r.stats
	share := func(d time.Duration) string {
		return fmt.Sprintf("%v (%.1f %%)", d.Round(100*time.Microsecond), 100*d.Seconds()/max(r.length.Seconds(), 1e-9))
	}
	r.env.Summaryf("%d rows of %s in %v, %d of %d ticks missed, jitter p99 %v, inside the driver %s, own CPU %s",
		s.Rows, gpus(r.gpus()), r.length.Round(time.Millisecond), s.Missed, s.Ticks+s.Missed,
		s.LatenessP99.Round(time.Microsecond), share(s.Read), share(s.CPU))
}

// incomplete says which devices could not be read all the time.
func (r *recording) incomplete() error {
	var lines []string
	for i, d := range r.sampler.Devices() {
		if h := r.devices[i]; h.failed > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d of %d readings failed: %s", d.ID, h.failed, h.rows, h.status))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return cli.Incompletef("%s", strings.Join(lines, "\n"))
}
