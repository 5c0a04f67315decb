package sample

import (
	"context"
	"fmt"
	"time"

	"wattrace/trace"
)

// The defaults of a [Sampler].
const (
	DefaultInterval     = 50 * time.Millisecond
	DefaultSlowInterval = time.Second
)

// Sampler reads the devices of its sources again and again. Scans begin on
// ticks of the steady clock, a whole number of intervals after the first, so
// that delays do not add up. A tick that passes while a scan is still running
// is missed and counted; it is never caught up. The zero value of each option
// is its default.
type Sampler struct {
	Sources       []Source
	Clock         *trace.SteadyClock // stamps the rows
	Interval      time.Duration      // between ticks; 0 is DefaultInterval
	SlowInterval  time.Duration      // between two readings of a device's slow metrics; 0 is DefaultSlowInterval
	FlushInterval time.Duration      // between two batches for the sink; 0 is one second
	MaxPending    int                // rows that may wait for a slow sink before ticks are missed; 0 is 131,072

	hooks *hooks // nil in production
}

// hooks are what a Sampler needs of its host, so that tests can stand in.
type hooks struct {
	now    func() trace.Time
	wait   func(ctx context.Context, until trace.Time) // returns at until, or soon after ctx is done
	thread func()                                      // makes the calling goroutine's thread fit for sampling
	// CPU time of the process and of the thread; nil where the host cannot tell.
	processCPU, threadCPU func() time.Duration
}

// Stats say how well a run of a Sampler kept time, and what it cost.
type Stats struct {
	Rows        int64
	Ticks       int64         // scans of all devices that were done
	Missed      int64         // ticks without a scan
	LatenessP50 time.Duration // of the scans: started minus due; percentiles are good to 2 %
	LatenessP99 time.Duration
	LatenessMax time.Duration
	Read        time.Duration // time inside the sources' calls
	CPU         time.Duration // CPU time of the process outside those calls; 0 where the host cannot tell
}

// Devices returns the devices of all sources, as the batches index them.
func (s *Sampler) Devices() []Device {
	var all []Device
	for _, src := range s.Sources {
		all = append(all, src.Devices()...)
	}
	return all
}

// Run samples until ctx is done, which is its normal end, or until sink fails,
// whose error it returns. It calls sink after the first scan and then about once per
// FlushInterval, from the calling goroutine, with a batch that is sink's until
// it returns. A slow sink
// does not delay the scans: rows wait for it, at most MaxPending.
func (s *Sampler) Run(ctx context.Context, sink func(*Batch) error) (Stats, error) {
	sc, err := s.scanner()
	if err != nil {
		return Stats{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Three batches: one is filled, one may wait, one may be with the sink.
	// The channels have room for all, so that handing over never blocks.
	full, free := make(chan *Batch, 3), make(chan *Batch, 3)
	for range 2 {
		free <- &Batch{Devices: sc.batch.Devices}
	}
	cpu := sc.cpuTime()
	go func() {
		defer close(full)
		sc.run(ctx, full, free)
	}()
	for b := range full {
		if err == nil {
			if err = sink(b); err != nil {
				cancel()
			}
		}
		b.Reset()
		free <- b
	}
	sc.stats.CPU = max(0, sc.cpuTime()-cpu-sc.readCPU)
	sc.stats.LatenessP50, sc.stats.LatenessP99 = sc.late.quantile(0.5), sc.late.quantile(0.99)
	sc.stats.LatenessMax = sc.late.max
	return sc.stats, err
}

// scanner is one run of a Sampler.
type scanner struct {
	hooks
	interval, slow, flush trace.Time
	maxPending            int
	targets               []target
	batch                 *Batch // being filled
	stats                 Stats
	late                  lateness
	readCPU               time.Duration
}

// target is a device of a source.
type target struct {
	source  Source
	device  int        // the source's place of it
	slowDue trace.Time // when its slow metrics are to be read next
}

func (s *Sampler) scanner() (*scanner, error) {
	sc := &scanner{
		interval: trace.Time(orDefault(s.Interval, DefaultInterval)), slow: trace.Time(orDefault(s.SlowInterval, DefaultSlowInterval)),
		flush: trace.Time(orDefault(s.FlushInterval, time.Second)), maxPending: s.MaxPending,
		batch: &Batch{Devices: s.Devices()},
	}
	if sc.maxPending == 0 {
		sc.maxPending = 128 << 10
	}
	if s.Interval < 0 || s.SlowInterval < 0 || s.FlushInterval < 0 || s.MaxPending < 0 {
		return nil, fmt.Errorf("sampler: an option is negative")
	}
	for _, src := range s.Sources {
		for i := range src.Devices() {
			sc.targets = append(sc.targets, target{source: src, device: i})
		}
	}
	if s.hooks != nil {
		sc.hooks = *s.hooks
	} else {
		sc.hooks = hostHooks(s.Clock)
	}
	return sc, nil
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

func (sc *scanner) cpuTime() time.Duration {
	if sc.processCPU == nil || sc.threadCPU == nil {
		return 0
	}
	return sc.processCPU()
}

// run scans until ctx is done and hands batches over. The last batch always
// goes to full.
func (sc *scanner) run(ctx context.Context, full chan<- *Batch, free <-chan *Batch) {
	if sc.thread != nil {
		sc.thread()
	}
	start := sc.now()
	flushDue := start // at once for the first scan: a sink that fails should do so early
	for tick := trace.Time(0); ; {
		due := start + tick*sc.interval
		sc.wait(ctx, due)
		if ctx.Err() != nil {
			break
		}
		if sc.batch.Len()+len(sc.targets) <= sc.maxPending {
			sc.late.add(sc.now().Sub(due))
			sc.scan(start)
			sc.stats.Ticks++
		} else {
			sc.stats.Missed++
		}
		if due >= flushDue {
			sc.handOver(full, free)
			flushDue = due + sc.flush
		}
		tick = sc.next(tick, start)
	}
	if sc.batch.Len() > 0 {
		full <- sc.batch
	}
}

// next returns the first tick after the given one that has not passed.
func (sc *scanner) next(tick, start trace.Time) trace.Time {
	tick++
	passed := (sc.now() - start + sc.interval - 1) / sc.interval
	if passed > tick {
		sc.stats.Missed += int64(passed - tick)
		tick = passed
	}
	return tick
}

// handOver gives the batch to the sink, unless that is behind: then the batch
// goes on growing.
func (sc *scanner) handOver(full chan<- *Batch, free <-chan *Batch) {
	select {
	case next := <-free:
		full <- sc.batch
		sc.batch = next
	default:
	}
}

// scan reads every device once. The first scan reads all slow metrics; after
// it the devices take turns, so that slow calls do not pile up in one scan.
func (sc *scanner) scan(start trace.Time) {
	for i := range sc.targets {
		t := &sc.targets[i]
		at := sc.now()
		slow := at >= t.slowDue
		switch {
		case !slow:
		case sc.stats.Ticks == 0:
			t.slowDue = start + sc.slow*trace.Time(i+1)/trace.Time(len(sc.targets))
		default:
			t.slowDue += (at - t.slowDue + sc.slow) / sc.slow * sc.slow
		}
		sc.read(t, i, slow)
	}
	sc.stats.Rows += int64(len(sc.targets))
}

func (sc *scanner) read(t *target, i int, slow bool) {
	var cpu time.Duration
	if sc.threadCPU != nil {
		cpu = sc.threadCPU()
	}
	at := sc.now()
	row := sc.batch.Append(i, at, 0)
	t.source.Read(t.device, slow, row)
	took := sc.now().Sub(at)
	if sc.batch.Took[row.i] == 0 { // a source that knows better has set it
		row.SetTook(took)
	}
	sc.stats.Read += took
	if sc.threadCPU != nil {
		sc.readCPU += sc.threadCPU() - cpu
	}
}
