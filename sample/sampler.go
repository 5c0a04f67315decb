package sample

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wattrace/trace"
)

// The defaults of a [Sampler].
const (
	DefaultInterval     = 50 * time.Millisecond
	DefaultSlowInterval = time.Second
)

// maxPending is the default of MaxPending.
const maxPending = 128 << 10

// cpuEvery is of how many readings of a unit the CPU time of one is measured.
const cpuEvery = 8

// endPatience is how long the end of a run waits for a call that does not
// return, as one to a driver that hangs.
const endPatience = 5 * time.Second

// Sampler reads the devices of its sources again and again, and takes what its
// feeds bring. A device whose calls are slow is read by a goroutine of its own, so
// that it does not delay the others. Readings begin on ticks of the steady
// clock, a whole number of intervals after the first, so that delays do not
// add up. A tick that passes while a unit is still being read is missed and
// counted; it is never caught up. The zero value of each option is its default.
type Sampler struct {
	Sources       []Source
	Feeds         []Feed
	Clock         *trace.SteadyClock // stamps the rows
	Interval      time.Duration      // between ticks; 0 is DefaultInterval
	SlowInterval  time.Duration      // between two readings of a device's slow metrics; 0 is DefaultSlowInterval
	FlushInterval time.Duration      // between two batches for the sink; 0 is one second
	MaxPending    int                // rows that may wait for a slow sink before ticks are missed; 0 is 131,072
	Failed        func(Feed, error)  // told when a feed ends with an error, which ends nothing else; may be nil
	Inbox         Inbox              // takes rows of the caller's own, as marks, beside those of the feeds

	scans atomic.Int64        // how often Scan was called
	run   atomic.Pointer[run] // the current or latest
	hooks *hooks              // nil in production
}

// hooks are what a Sampler needs of its host, so that tests can stand in.
type hooks struct {
	now func() trace.Time
	// wait makes, for one goroutine, a function that returns at an instant, or
	// soon after ctx is done, and one to call when it is needed no more.
	wait func(ctx context.Context) (wait func(until trace.Time), done func())
	// CPU time of the process and of the thread; nil where the host cannot tell.
	processCPU, threadCPU func() time.Duration
}

// goTimer waits with Go's timers.
func goTimer(ctx context.Context, clock *trace.SteadyClock) (wait func(trace.Time), done func()) {
	return func(until trace.Time) {
		timer := time.NewTimer(until.Sub(clock.Now()))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}, func() {}
}

// Stats say how well a run of a Sampler kept time, and what it cost.
type Stats struct {
	Rows        int64
	Ticks       int64         // readings of a unit that were due and done
	Missed      int64         // readings of a unit that were due and left out
	LatenessP50 time.Duration // of the readings: started minus due; percentiles are good to 2 %
	LatenessP99 time.Duration
	LatenessMax time.Duration
	Read        time.Duration // time inside the sources' calls, summed over the units
	CPU         time.Duration // CPU time of the process outside those calls; 0 where the host cannot tell
	Units       []UnitStats   // in the order of the sources
}

// UnitStats say the same of one unit.
type UnitStats struct {
	Devices       []Device
	Ticks, Missed int64
	LatenessP99   time.Duration
	LatenessMax   time.Duration
	Read          time.Duration // in all
	ReadMax       time.Duration // the longest call
	Stuck         bool          // its last call had not returned when the run ended
}

// Devices returns the devices of all sources, as the batches index them. Those
// of feeds come after them, as they become known.
func (s *Sampler) Devices() []Device {
	var all []Device
	for _, src := range s.Sources {
		all = append(all, src.Devices()...)
	}
	return all
}

// Scan has every unit read in full, the slow metrics with the others, at its
// next tick. It may be called at any time of a run.
func (s *Sampler) Scan() { s.scans.Add(1) }

// Stats returns how the run has gone so far, or went. It may be called at any
// time; the zero Stats before the first run.
func (s *Sampler) Stats() Stats {
	if r := s.run.Load(); r != nil {
		return r.stats()
	}
	return Stats{}
}

// Run samples until ctx is done, which is its normal end, until all feeds are
// over if there are no sources, or until sink fails, whose error it returns. At
// the end every unit is read once more, in full, so that what ended just before
// is between two readings. Run calls sink as soon as all units were read once,
// or after FlushInterval, and then about once per FlushInterval, from the
// calling goroutine, with a batch that is sink's until it returns. A slow sink
// does not delay the readings: rows wait for it, at most MaxPending.
func (s *Sampler) Run(ctx context.Context, sink func(*Batch) error) (Stats, error) {
	r, err := s.newRun()
	if err != nil {
		return Stats{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.cpu = r.cpuTime()
	s.run.Store(r)
	ended := r.begin(ctx)
	flush := orDefault(s.FlushInterval, time.Second)
	// Between ticks, when no unit is likely to be read: those that change lanes
	// then miss none.
	due := r.start.Add(flush + min(flush, orDefault(s.Interval, DefaultInterval))/4)
	timer := time.NewTimer(due.Sub(r.now()))
	defer timer.Stop()
	for first := r.first; ; {
		over := false
		select {
		case <-ctx.Done():
			over = true
		case <-ended:
			over = true
		case <-first:
			first = nil
		case <-timer.C:
			r.plan()
			now := r.now()
			due = max(due.Add(flush), now)
			timer.Reset(due.Sub(now))
			first = nil
		}
		if over {
			break
		}
		if err = r.flush(sink); err != nil {
			break
		}
	}
	cancel()
	r.end(ended)
	if err == nil {
		err = r.flush(sink)
	}
	return r.stats(), err
}

// run is one run of a Sampler.
type run struct {
	hooks
	sampler *Sampler
	start   trace.Time
	workers []*worker
	lanes   lanes
	over    atomic.Bool   // what has not returned is stuck
	pending atomic.Int64  // rows of the workers that the sink has not had
	first   chan struct{} // closed when every worker has read once
	batch   *Batch        // for the sink
	inbox   *Batch        // the spare one
	devices int           // of the sources
	fed     []int         // places in the batch of the devices of the inbox
	rows    atomic.Int64
	cpu     time.Duration // of the process at the start
}

// worker reads one unit.
type worker struct {
	run      *run
	source   Source
	unit     int
	devices  []int // places in the batch
	slowDue  trace.Time
	slowTurn trace.Time // when the slow metrics are due for the second time
	scans    int64      // what Sampler.scans was
	scratch  *Batch     // of one call
	rows     []Row

	// Guarded by run.lanes.mu:
	lane  *lane
	busy  bool       // it is being read
	since trace.Time // if it is
	tick  trace.Time // of its latest reading

	// Of whoever has claimed the unit:
	lastRead time.Duration // how long its latest reading took
	reads    int

	mu      sync.Mutex // guards what follows
	full    *Batch     // what the sink has not had
	spare   *Batch
	stats   UnitStats
	late    lateness
	longest time.Duration // call since the last plan
	cpu     time.Duration // of the thread, inside the calls
}

func (s *Sampler) newRun() (*run, error) {
	if s.Interval < 0 || s.SlowInterval < 0 || s.FlushInterval < 0 || s.MaxPending < 0 {
		return nil, errors.New("sampler: an option is negative")
	}
	r := &run{sampler: s, batch: &Batch{}, inbox: &Batch{}, first: make(chan struct{})}
	if s.hooks != nil {
		r.hooks = *s.hooks
	} else {
		r.hooks = hostHooks(s.Clock)
	}
	r.start = r.now()
	all := s.Devices()
	r.batch.Devices = all
	for _, src := range s.Sources {
		devices := src.Devices()
		seen := make([]bool, len(devices))
		for unit, places := range src.Units() {
			w := &worker{run: r, source: src, unit: unit, tick: -1, scans: s.scans.Load(), scratch: &Batch{Devices: all}, full: &Batch{}, spare: &Batch{}}
			for _, i := range places {
				if i < 0 || i >= len(devices) || seen[i] {
					return nil, fmt.Errorf("sampler: unit %d of a source has no device %d, or not alone", unit, i)
				}
				seen[i] = true
				w.devices = append(w.devices, r.devices+i)
				w.stats.Devices = append(w.stats.Devices, devices[i])
			}
			r.workers = append(r.workers, w)
		}
		if i := slices.Index(seen, false); i >= 0 {
			return nil, fmt.Errorf("sampler: device %d of a source is in no unit", i)
		}
		r.devices += len(devices)
	}
	slow := trace.Time(orDefault(s.SlowInterval, DefaultSlowInterval))
	for k, w := range r.workers {
		// After the first reading the units take turns, so that slow calls do
		// not pile up.
		w.slowTurn = r.start + slow*trace.Time(k+1)/trace.Time(len(r.workers))
	}
	return r, nil
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

func (r *run) cpuTime() time.Duration {
	if r.processCPU == nil || r.threadCPU == nil {
		return 0
	}
	return r.processCPU()
}

// begin starts workers and feeds. ended is closed when all of them are over.
func (r *run) begin(ctx context.Context) (ended <-chan struct{}) {
	var firsts sync.WaitGroup
	r.lanes.ctx = ctx
	r.lanes.mu.Lock()
	for _, w := range r.workers {
		firsts.Add(1)
		r.openLane([]*worker{w}, 0, firsts.Done)
	}
	r.lanes.mu.Unlock()
	go func() {
		firsts.Wait()
		close(r.first)
	}()
	for _, f := range r.sampler.Feeds {
		r.lanes.all.Go(func() {
			if err := f.Run(ctx, &r.sampler.Inbox); err != nil && r.sampler.Failed != nil {
				r.sampler.Failed(f, err)
			}
		})
	}
	over := make(chan struct{})
	if len(r.workers)+len(r.sampler.Feeds) > 0 {
		go func() {
			r.lanes.all.Wait()
			close(over)
		}()
	}
	return over
}

// end waits for workers and feeds, but not for ever.
func (r *run) end(ended <-chan struct{}) {
	defer r.over.Store(true)
	if len(r.workers)+len(r.sampler.Feeds) == 0 {
		return
	}
	timer := time.NewTimer(endPatience)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}

// count notes ticks that were done, and missed.
func (w *worker) count(done, missed int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Ticks += done
	w.stats.Missed += missed
}

// readTick makes the reading that was due so long ago.
func (w *worker) readTick(late time.Duration) {
	at := w.run.now()
	w.mu.Lock()
	w.late.add(late)
	w.mu.Unlock()
	slow := at >= w.slowDue
	if slow {
		interval := trace.Time(orDefault(w.run.sampler.SlowInterval, DefaultSlowInterval))
		if w.slowDue = w.slowTurn; w.slowDue <= at {
			w.slowDue += (at - w.slowDue + interval) / interval * interval
		}
	}
	if scans := w.run.sampler.scans.Load(); scans != w.scans {
		w.scans, slow = scans, true
	}
	w.read(slow)
}

// read reads the unit. Nothing is locked meanwhile: a call that does not return
// must not hold up the others.
func (w *worker) read(slow bool) {
	r := w.run
	var cpu time.Duration
	// The thread's CPU time costs two system calls: one reading in cpuEvery stands
	// for all.
	measured := r.threadCPU != nil && w.reads%cpuEvery == 0
	w.reads++
	if measured {
		runtime.LockOSThread() // whose CPU time is read
		defer runtime.UnlockOSThread()
		cpu = r.threadCPU()
	}
	w.scratch.Reset()
	w.rows = w.rows[:0]
	at := r.now()
	for _, d := range w.devices {
		w.rows = append(w.rows, w.scratch.Append(d, at, 0))
	}
	w.source.Read(w.unit, slow, w.rows)
	took := r.now().Sub(at)
	if measured {
		cpu = cpuEvery * (r.threadCPU() - cpu)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, row := range w.rows {
		if row.Took() == 0 { // a source that knows better has set it
			row.SetTook(took)
		}
		w.full.AppendFrom(w.scratch, i, w.devices[i])
	}
	r.pending.Add(int64(len(w.rows)))
	w.cpu += cpu
	w.stats.Read += took
	w.stats.ReadMax = max(w.stats.ReadMax, took)
	w.longest, w.lastRead = max(w.longest, took), took
}

// take exchanges the rows for an empty batch.
func (w *worker) take() *Batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full, w.spare = w.spare, w.full
	w.full.Reset()
	return w.spare
}

// flush gives the sink what has come, in the order of time.
func (r *run) flush(sink func(*Batch) error) error {
	type place struct {
		from   *Batch
		row    int
		device int // place in the batch's devices
	}
	var rows []place
	taken := 0
	for _, w := range r.workers {
		b := w.take()
		taken += b.Len()
		for i := range b.Len() {
			rows = append(rows, place{b, i, int(b.Device[i])})
		}
	}
	defer r.pending.Add(-int64(taken))
	fed := r.sampler.Inbox.take(r.inbox)
	r.inbox = fed
	grown := r.know(fed.Devices)
	for i := range fed.Len() {
		rows = append(rows, place{fed, i, r.fed[fed.Device[i]]})
	}
	if len(rows) == 0 && !grown {
		return nil
	}
	slices.SortStableFunc(rows, func(a, b place) int {
		return int(max(-1, min(1, a.from.Time[a.row]-b.from.Time[b.row])))
	})
	r.batch.Reset()
	for _, p := range rows {
		r.batch.AppendFrom(p.from, p.row, p.device)
	}
	r.rows.Add(int64(len(rows)))
	return sink(r.batch)
}

// know finds the places of the inbox's devices. A feed may have rows of a
// source's device, as the errors of a GPU: others join the batch's devices.
func (r *run) know(fed []Device) (grown bool) {
	for _, d := range fed[len(r.fed):] {
		i := slices.Index(r.batch.Devices[:r.devices], d)
		if i < 0 {
			if !grown {
				r.batch.Devices, grown = slices.Clone(r.batch.Devices), true // the sink may have kept them
			}
			i = len(r.batch.Devices)
			r.batch.Devices = append(r.batch.Devices, d)
		}
		r.fed = append(r.fed, i)
	}
	return grown
}

// stats sums up.
func (r *run) stats() Stats {
	s := Stats{Rows: r.rows.Load()}
	var all lateness
	var inside time.Duration
	for _, w := range r.workers {
		w.mu.Lock()
		u := w.stats
		u.LatenessP99, u.LatenessMax = w.late.quantile(0.99), w.late.max
		all.merge(&w.late)
		inside += w.cpu
		w.mu.Unlock()
		r.lanes.mu.Lock()
		u.Stuck = w.busy && r.over.Load()
		r.lanes.mu.Unlock()
		s.Ticks, s.Missed, s.Read = s.Ticks+u.Ticks, s.Missed+u.Missed, s.Read+u.Read
		s.Units = append(s.Units, u)
	}
	s.LatenessP50, s.LatenessP99, s.LatenessMax = all.quantile(0.5), all.quantile(0.99), all.max
	s.CPU = max(0, r.cpuTime()-r.cpu-inside)
	return s
}
