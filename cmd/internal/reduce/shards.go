package reduce

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"wattrace/formats/logs"
	"wattrace/formats/plan"
	"wattrace/formats/requests"
	"wattrace/reduce"
	"wattrace/trace"
)

// run is one run of a log, or a shard of one that was split over clients.
type run struct {
	log    *logFile
	number int       // of all runs, in the order of time
	pos    trace.Pos // of its run line
	shard  requests.Shard
	whole  string // what the shards of one run have in common
	clocks trace.Clocks
	last   trace.Time // the latest instant that is known of it
	phases []*runPhase
	byName map[string]*runPhase // those that have started
	joint  joint                // moves its times to the common clock

	plan   map[string]*trace.Phase // what phases were to be, by name
	facts  reduce.Run
	client []reduce.ClientReading
}

// runPhase is a phase of a run, on its own clock.
type runPhase struct {
	reduce.Span
	pos  trace.Pos
	span int // index of the span that it is, or is a part of
}

// surveyLogs finds the phases of all runs. The common clock is that of the
// earliest run.
func (s *job) surveyLogs() ([]reduce.Span, error) {
	seen := map[trace.Clock]string{} // the files of the runs: no two have one anchor
	for _, l := range s.logs {
		err := l.surveyLines(func(rec *requests.Record) error {
			if rec.Type == requests.TypeRun {
				if before, twice := seen[rec.Run.Clock]; twice {
					return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("this run was read before, in %s: the same log twice", before)}
				}
				seen[rec.Run.Clock] = rec.Pos.File
				if c := rec.Run.Clock; c.Anchor.UnixNanos == 0 && c.BootID == "" && len(s.tele)+len(s.logs) > 1 {
					return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("the run names neither a boot nor a wall clock: it can only be reduced alone")}
				}
			}
			return l.survey(rec)
		})
		if err != nil {
			return nil, err
		}
		s.runs = append(s.runs, l.runs...)
	}
	if len(s.runs) == 0 {
		return nil, nil
	}
	s.common = slices.MinFunc(s.runs, func(a, b *run) int { return compareClocks(a.clocks.Clock, b.clocks.Clock) }).clocks
	for _, r := range s.runs {
		r.joint = s.join(r.log.in.Name(), r.clocks, r.first(), r.last)
	}
	slices.SortStableFunc(s.runs, func(a, b *run) int {
		return cmp.Or(cmp.Compare(a.start(), b.start()), compareClocks(a.clocks.Clock, b.clocks.Clock))
	})
	for i, r := range s.runs {
		r.number = i
	}
	// What is written of single requests does not depend on the order of the operands.
	slices.SortStableFunc(s.logs, func(a, b *logFile) int { return cmp.Compare(a.number(), b.number()) })
	return s.spans()
}

// number is that of its first run; a log without one has none to come before.
func (l *logFile) number() int {
	if len(l.runs) == 0 {
		return 0
	}
	return l.runs[0].number
}

// first returns when the first phase starts.
func (r *run) first() trace.Time {
	if len(r.phases) == 0 {
		return 0
	}
	return r.phases[0].Start
}

// start is first on the common clock.
func (r *run) start() trace.Time { return r.first().Add(r.joint.Offset) }

// survey takes a line that is no request.
func (l *logFile) survey(rec *requests.Record) error {
	if rec.Type == requests.TypeRun {
		l.runs = append(l.runs, newRun(l, rec))
		return nil
	}
	r := l.runs[len(l.runs)-1]
	switch rec.Type {
	case requests.TypeClock:
		r.clocks.Snapshots = append(r.clocks.Snapshots, rec.Clock)
		r.last = max(r.last, rec.Clock.At)
	case requests.TypeClient:
		c := rec.Client
		r.client = append(r.client, reduce.ClientReading{At: c.At, CPUSeconds: c.CPUSeconds, InFlight: c.InFlight})
	case requests.TypeClose:
		l.interrupted = l.interrupted || !rec.Close.Clean
		l.saturated = l.saturated || rec.Close.Client.Verdict == requests.ClientSaturated
	case requests.TypePhase:
		r.last = max(r.last, rec.Phase.At)
		return r.phase(rec)
	}
	return nil
}

func newRun(l *logFile, rec *requests.Record) *run {
	r := &run{
		log: l, pos: rec.Pos, shard: rec.Run.Shard, whole: whole(&rec.Run), clocks: trace.Clocks{Clock: rec.Run.Clock},
		byName: map[string]*runPhase{}, plan: map[string]*trace.Phase{}, facts: facts(&rec.Run),
	}
	for i := range rec.Run.Plan.Phases {
		ph := &rec.Run.Plan.Phases[i]
		r.plan[ph.Name] = ph
	}
	return r
}

// facts writes up what a run line says of how its requests were made.
func facts(r *requests.Run) reduce.Run {
	out := reduce.Run{Overlays: r.Overlays, Targets: r.Targets}
	if r.Trace.SHA256 != "" {
		out.Trace = &reduce.RunTrace{Path: r.Trace.Path, SHA256: r.Trace.SHA256, Turns: r.Trace.Turns, Format: r.Trace.Format, SourceSHA256: r.Trace.SourceSHA256, Like: r.Trace.Like}
	}
	if len(r.Plan.Phases) > 0 {
		out.Plan = plan.AppendJSON(nil, &r.Plan)
	}
	if seed, ok := r.Seed.Get(); ok {
		out.Seed = &seed
	}
	for _, s := range r.Servers {
		out.Servers = append(out.Servers, reduce.RunServer{Target: s.Target, Version: s.Version})
	}
	if r.Shard.Count > 1 {
		out.Shards = r.Shard.Count
	}
	return out
}

// describeRuns fills in what the logs say of their runs, in the order of time. Shards of
// one are one, whose plan is that of the first shard.
func (s *job) describeRuns(rep *reduce.Report) {
	var known []string
	for _, r := range s.runs {
		if r.shard.Count > 1 {
			if slices.Contains(known, r.whole) {
				continue
			}
			known = append(known, r.whole)
		}
		rep.Runs = append(rep.Runs, r.facts)
	}
}

// whole is the same text for all shards of a run. Of the plan it has what the
// clients do not share out among them.
func whole(r *requests.Run) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %d %v %q", r.Trace.SHA256, r.Shard.Count, r.Seed, r.Overlays)
	for _, ph := range r.Plan.Phases {
		fmt.Fprintf(&s, " %q %s %d %d %t", ph.Name, ph.Kind, ph.Duration, ph.Grace, ph.Handover)
	}
	return s.String()
}

// phase takes the start or the end of a phase.
func (r *run) phase(rec *requests.Record) error {
	p := rec.Phase
	fail := func(what string) error {
		return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("phase %q %s", p.Phase, what)}
	}
	ph, started := r.byName[p.Phase]
	switch {
	case p.Start && started:
		return fail("starts twice")
	case p.Start:
		ph = &runPhase{pos: rec.Pos, Span: reduce.Span{
			Name: p.Phase, Kind: string(p.Kind), Start: p.At, Concurrency: p.Concurrency,
		}}
		if content := r.log.content; content != nil {
			d, ok := content.Lengths[p.Phase]
			ph.Unplaced = content.Time == logs.Unplaced || content.Time == logs.Framed
			ph.Stated = trace.Opt[time.Duration]{V: time.Duration(d), OK: ok}
			if t, ok := content.Totals[p.Phase]; ok {
				ph.Totals = (*reduce.Totals)(&t)
			}
			ph.Doubles = content.Doubles
			ph.Published, ph.Metered = r.log.published[p.Phase], r.log.metered
		}
		if plan := r.plan[p.Phase]; plan != nil {
			kind := plan.LoadKind()
			ph.Handover, ph.Open = plan.Handover, kind == trace.OpenLoop || kind == trace.TraceTimes
			ph.Gated = plan.Prefills > 0 || ph.Open && plan.Concurrency > 0
		}
		r.byName[p.Phase] = ph
		r.phases = append(r.phases, ph)
	case !started:
		return fail("ends but did not start")
	case p.At < ph.Start:
		return fail("ends before it starts")
	default:
		ph.End = trace.Some(p.At)
	}
	return nil
}

// spans makes the spans of all runs, on the common clock. The shards of one run
// are one run. A name that an earlier run had gets a number.
func (s *job) spans() ([]reduce.Span, error) {
	var spans []reduce.Span
	var known []*shards
	names := map[string]int{}
	for _, r := range s.runs {
		set := &shards{phases: map[string]int{}, members: map[int]*run{}}
		if r.shard.Count > 1 {
			i := slices.IndexFunc(known, func(k *shards) bool { return k.whole == r.whole })
			if i < 0 {
				set.whole, i = r.whole, len(known)
				known = append(known, set)
			}
			set = known[i]
			if err := set.add(r); err != nil {
				return nil, err
			}
		}
		for _, ph := range r.phases {
			spans = set.join(spans, ph, r.joint, names)
		}
	}
	for _, k := range known {
		k.partition(spans)
	}
	s.sharded = known
	return spans, nil
}

// partition makes phases of a sharded run meet that overlap, because clients do not end
// a phase at the same instant: the earlier one ends where the first client begins the
// next, with requests of the others in flight.
func (k *shards) partition(spans []reduce.Span) {
	var list []*reduce.Span
	for _, i := range k.phases {
		list = append(list, &spans[i])
	}
	slices.SortFunc(list, func(a, b *reduce.Span) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Name, b.Name)) })
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		if end, ok := a.End.Get(); ok && b.Start > a.Start && end > b.Start && (!b.End.OK || end < b.End.V) {
			a.End, a.Handover = trace.Some(b.Start), true
		}
	}
}

// shards are the shards of one run that were found.
type shards struct {
	whole   string
	members map[int]*run // by index
	phases  map[string]int
}

func (k *shards) add(r *run) error {
	if twin := k.members[r.shard.Index]; twin != nil {
		return &trace.SyntaxError{Pos: r.pos, Err: fmt.Errorf(
			"shard %d of the run's %d was read before, in %s", r.shard.Index, r.shard.Count, twin.log.in.Name())}
	}
	k.members[r.shard.Index] = r
	return nil
}

// join puts a phase to that of the same name of another shard: from the earliest
// start to the latest end, with the users of both. Without one it is new.
func (k *shards) join(spans []reduce.Span, ph *runPhase, by joint, names map[string]int) []reduce.Span {
	span := ph.Span
	span.Start = span.Start.Add(by.Offset)
	if end, ok := span.End.Get(); ok {
		span.End = trace.Some(end.Add(by.Offset))
	}
	i, ok := k.phases[ph.Name]
	if !ok {
		names[ph.Name]++
		if n := names[ph.Name]; n > 1 {
			span.Name = fmt.Sprintf("%s (%d)", ph.Name, n)
		}
		ph.span = len(spans)
		k.phases[ph.Name] = ph.span
		return append(spans, span)
	}
	ph.span = i
	all := &spans[i]
	all.Start = min(all.Start, span.Start)
	all.End.OK = all.End.OK && span.End.OK
	all.End.V = max(all.End.V, span.End.V)
	all.Concurrency += span.Concurrency
	return spans
}

// warnShards warns of shards that are missing.
func (s *job) warnShards() {
	for _, k := range s.sharded {
		var missing []string
		count := 0
		for _, r := range k.members {
			count = r.shard.Count
		}
		for i := range count {
			if k.members[i] == nil && len(missing) < 8 {
				missing = append(missing, strconv.Itoa(i))
			}
		}
		if n := count - len(k.members); n > 0 {
			list := strings.Join(missing, ", ")
			if n > len(missing) {
				list += ", ..."
			}
			s.r.Warn(reduce.WarnMissingShard, "", "", "%d of the run's %d shards are missing (index %s): its requests, tokens and users are those of the others", n, count, list)
		}
	}
}

// compareClocks orders clocks by their anchors, so that no result depends on the
// order of the operands.
func compareClocks(a, b trace.Clock) int {
	return cmp.Or(
		cmp.Compare(a.Anchor.UnixNanos, b.Anchor.UnixNanos), cmp.Compare(a.Host, b.Host), cmp.Compare(a.BootID, b.BootID),
		cmp.Compare(a.Anchor.BootNanos, b.Anchor.BootNanos), cmp.Compare(a.Anchor.MonotonicNanos, b.Anchor.MonotonicNanos))
}
