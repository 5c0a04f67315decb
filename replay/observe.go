package replay

import (
	"math"
	"runtime"
	rtmetrics "runtime/metrics"
	"sync/atomic"
	"time"

	"wattrace/trace"
)

// Use is what the client itself used and how late it was, at an instant. What is
// said to be of the interval is of the time since the Use before, which is a
// second but where the sink was slow.
type Use struct {
	At       trace.Time
	CPU      trace.Opt[time.Duration] // of the process so far, user and system
	InFlight int                      // requests
	Held     int                      // requests that wait for a gate of the plan

	// How much later than due the requests of the interval were sent. Where the
	// plan held a request at a gate, or a slot was not free, it was not due before.
	LatenessP50, LatenessP99, LatenessMax trace.Opt[time.Duration]

	GCPause trace.Opt[time.Duration] // in which the garbage collector stopped the process so far, to a tenth or so
	// SchedP99 is how long goroutines that could run waited for a processor in the
	// interval.
	SchedP99 trace.Opt[time.Duration]

	Queue      int           // calls of the sink that waited for it, at most, in the interval
	LogBlocked time.Duration // that slots waited for the sink so far, added up

	Goroutines trace.Opt[int] // that there are, of all the process
}

// ClientVerdict says whether the client can have distorted what it measured.
type ClientVerdict string

// The verdicts on the client.
const (
	ClientOK        ClientVerdict = "ok"
	ClientLate      ClientVerdict = "late"      // it sent too late
	ClientSaturated ClientVerdict = "saturated" // it lacked processor time
)

// The bounds of the verdict.
const (
	// LeastBound is below what lateness is never held against the client, and
	// GapShare the share of the mean time between two events of an answer that
	// takes its place where it is longer.
	LeastBound = time.Millisecond
	GapShare   = 0.01

	// BusyCPU is the share of the processor time that it may have from which on
	// the client counts as busy, and BusySeconds the share of the time that it
	// may be.
	BusyCPU     = 0.9
	BusySeconds = 0.05
)

// Judgement is a verdict on the client, and what decides it. Requests of phases
// that measure are judged; where no phase does, all are.
type Judgement struct {
	Verdict     ClientVerdict
	LatenessP50 trace.Opt[time.Duration] // by how much requests were sent later than due
	LatenessP99 trace.Opt[time.Duration]
	LatenessMax trace.Opt[time.Duration] // of all requests
	MeanGap     trace.Opt[time.Duration] // between two events with output of an answer
	Bound       time.Duration            // of LatenessP99 and SchedP99
	SchedP99    trace.Opt[time.Duration] // see Use; while requests were in flight
	CPUShare    trace.Opt[float64]       // of the processor time that it may have, used while requests were in flight
	BusyShare   trace.Opt[float64]       // of that time, in which it was busy
	LogBlocked  time.Duration            // see Use
	Held        int64                    // requests that waited for a gate
}

// judge gives the verdict.
func (j *Judgement) judge() {
	j.Bound = max(LeastBound, time.Duration(GapShare*float64(j.MeanGap.Or(0))))
	switch {
	case j.BusyShare.Or(0) > BusySeconds, j.SchedP99.Or(0) > j.Bound:
		j.Verdict = ClientSaturated
	case j.LatenessP99.Or(0) > j.Bound:
		j.Verdict = ClientLate
	default:
		j.Verdict = ClientOK
	}
}

// observer watches the client during a run. The counters are for any goroutine;
// the rest is for the one that writes.
type observer struct {
	lateness histogram // of all requests
	measured histogram // of those of phases that measure
	waiting  atomic.Int64
	held     atomic.Int64
	blocked  atomic.Int64 // ns

	capacity float64 // processors that the client may use
	samples  [3]rtmetrics.Sample
	last     Use
	sched    []uint64 // counts of the scheduler's histogram at last
	before   counts   // of lateness at last
	sent     bool     // there was load at last
	max      int64    // the longest lateness, ns

	loaded     time.Duration // intervals with load, where CPU time is known
	cpu        time.Duration // used in them
	busy       time.Duration // those of them in which the client was busy
	loadedWait []uint64      // the scheduler's histogram over intervals with load
	bounds     []float64     // of its buckets, s

	gaps int64 // between events with output
	span time.Duration
}

func newObserver(now trace.Time) *observer {
	o := &observer{capacity: ThisMachine().Capacity()}
	o.samples[0].Name = "/sched/latencies:seconds"
	o.samples[1].Name = "/sched/pauses/total/gc:seconds"
	o.samples[2].Name = "/sched/goroutines:goroutines"
	o.use(now, 0, 0)
	return o
}

// sending notes by how much a request is late.
func (o *observer) sending(late time.Duration, measure bool) {
	o.lateness.add(late)
	if measure {
		o.measured.add(late)
	}
}

// answered notes the events of an answer.
func (o *observer) answered(q *trace.Request) {
	n := int64(0)
	for i := range q.Chunks {
		if q.Chunks[i].Kind.Output() {
			n++
		}
	}
	if n > 1 && q.FirstToken.OK && q.LastToken.OK {
		o.gaps += n - 1
		o.span += q.LastToken.V.Sub(q.FirstToken.V)
	}
}

// use returns what the client used, and adds the interval up.
func (o *observer) use(now trace.Time, inFlight, queue int) *Use {
	u := Use{
		At: now, CPU: CPUTime(), InFlight: inFlight, Queue: queue,
		Held: int(o.waiting.Load()), LogBlocked: time.Duration(o.blocked.Load()),
	}
	var sofar counts
	o.lateness.counts(&sofar)
	interval := sofar.since(&o.before)
	o.before = sofar
	longest := o.lateness.max.Swap(0)
	o.max = max(o.max, longest)
	if p, ok := interval.quantile(0.5); ok {
		u.LatenessP50 = trace.Some(min(p, time.Duration(longest)))
		p, _ = interval.quantile(0.99)
		u.LatenessP99, u.LatenessMax = trace.Some(min(p, time.Duration(longest))), trace.Some(time.Duration(longest))
	}
	loaded := inFlight > 0 || o.sent || u.LatenessP50.OK

	rtmetrics.Read(o.samples[:])
	if o.samples[1].Value.Kind() == rtmetrics.KindFloat64Histogram {
		u.GCPause = trace.Some(sum(o.samples[1].Value.Float64Histogram()))
	}
	if o.samples[0].Value.Kind() == rtmetrics.KindFloat64Histogram {
		h := o.samples[0].Value.Float64Histogram()
		u.SchedP99 = o.waits(h, loaded)
	}
	if o.samples[2].Value.Kind() == rtmetrics.KindUint64 {
		u.Goroutines = trace.Some(int(o.samples[2].Value.Uint64()))
	}
	if u.CPU.OK && o.last.CPU.OK && loaded {
		// What is short is the end of a run, or all of one, and no second.
		if d := now.Sub(o.last.At); d >= clientEvery/2 {
			used := u.CPU.V - o.last.CPU.V
			o.loaded, o.cpu = o.loaded+d, o.cpu+used
			if float64(used) > BusyCPU*o.capacity*float64(d) {
				o.busy += d
			}
		}
	}
	o.last, o.sent = u, inFlight > 0
	return &u
}

// waits returns the 99th percentile of how long goroutines waited since it was
// called last.
func (o *observer) waits(h *rtmetrics.Float64Histogram, loaded bool) (p99 trace.Opt[time.Duration]) {
	if o.sched == nil {
		o.sched, o.loadedWait = make([]uint64, len(h.Counts)), make([]uint64, len(h.Counts))
		o.bounds = h.Buckets
		copy(o.sched, h.Counts)
		return p99
	}
	interval := make([]uint64, len(h.Counts))
	for i, n := range h.Counts {
		interval[i] = n - o.sched[i]
		if loaded {
			o.loadedWait[i] += interval[i]
		}
	}
	copy(o.sched, h.Counts)
	return quantile(interval, h.Buckets, 0.99)
}

// quantile returns the upper bound of the bucket that has a quantile.
func quantile(n []uint64, bounds []float64, q float64) trace.Opt[time.Duration] {
	all := uint64(0)
	for _, v := range n {
		all += v
	}
	if all == 0 {
		return trace.Opt[time.Duration]{}
	}
	rank := uint64(q*float64(all-1)) + 1
	for i, v := range n {
		if rank <= v {
			return trace.Some(time.Duration(math.Round(finite(bounds, i+1) * 1e9)))
		}
		rank -= v
	}
	return trace.Opt[time.Duration]{}
}

// sum returns the sum of a histogram in seconds, each bucket at its middle.
func sum(h *rtmetrics.Float64Histogram) time.Duration {
	s := 0.0
	for i, n := range h.Counts {
		if n > 0 {
			s += float64(n) * (finite(h.Buckets, i) + finite(h.Buckets, i+1)) / 2
		}
	}
	return time.Duration(math.Round(s * 1e9))
}

// finite returns a bound of a bucket; the nearest that is a number, where it is
// infinite.
func finite(bounds []float64, i int) float64 {
	switch v := bounds[i]; {
	case math.IsInf(v, 1):
		return bounds[i-1]
	case math.IsInf(v, -1):
		return bounds[i+1]
	default:
		return v
	}
}

// judgement returns the verdict on all of the run.
func (o *observer) judgement() (j Judgement) {
	var all counts
	o.measured.counts(&all)
	if all.total() == 0 {
		o.lateness.counts(&all)
	}
	longest := time.Duration(max(o.max, o.lateness.max.Load()))
	if p, ok := all.quantile(0.5); ok {
		j.LatenessP50 = trace.Some(min(p, longest))
		p, _ = all.quantile(0.99)
		j.LatenessP99, j.LatenessMax = trace.Some(min(p, longest)), trace.Some(longest)
	}
	if o.gaps > 0 {
		j.MeanGap = trace.Some(o.span / time.Duration(o.gaps))
	}
	j.SchedP99 = quantile(o.loadedWait, o.bounds, 0.99)
	if o.loaded > 0 && o.capacity > 0 {
		j.CPUShare = trace.Some(float64(o.cpu) / (o.capacity * float64(o.loaded)))
		j.BusyShare = trace.Some(float64(o.busy) / float64(o.loaded))
	}
	j.LogBlocked, j.Held = time.Duration(o.blocked.Load()), o.held.Load()
	j.judge()
	return j
}

// Machine is what a client runs on.
type Machine struct {
	GOMAXPROCS int
	CPUs       trace.Opt[int]     // that the process may run on (its affinity)
	CPUQuota   trace.Opt[float64] // processors' worth of time that its cgroups allow it
	CPUModel   string             // "" is unknown
	Governor   string             // of the frequency of the first of its CPUs; "" is unknown
}

// ThisMachine looks at what this process runs on.
func ThisMachine() Machine {
	m := Machine{GOMAXPROCS: runtime.GOMAXPROCS(0)}
	m.look()
	return m
}

// Capacity returns how many processors' worth of time the client may use.
func (m Machine) Capacity() float64 {
	c := float64(m.GOMAXPROCS)
	if m.CPUs.OK {
		c = min(c, float64(m.CPUs.V))
	}
	if m.CPUQuota.OK {
		c = min(c, m.CPUQuota.V)
	}
	return c
}
