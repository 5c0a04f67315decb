package reduce

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/srtslurm"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// mark is what a recorder was told of a phase, on the common clock.
type mark struct {
	sample.Mark
	at     trace.Time
	spread time.Duration // at may be wrong by this, either way
}

// takeMarks keeps the marks of a batch.
func (r *recording) takeMarks(b *batch, offset time.Duration) {
	for i := range b.Mark {
		if m := b.Mark[i]; m.Event == sample.MarkStart || m.Event == sample.MarkEnd {
			half := b.Took[i] / 2
			r.marks = append(r.marks, mark{m, b.Time[i].Add(offset + half), half})
		}
	}
}

// markedPhase is a phase by the marks of a recording.
type markedPhase struct {
	name       string
	start, end trace.Time
	spread     [2]time.Duration // of both
	open       bool             // no mark ends it
	from       *recording
}

// span returns the phase for package reduce.
func (p *markedPhase) span() reduce.Span {
	span := reduce.Span{Name: p.name, Kind: string(trace.Measure), Start: p.start, EdgeSpread: p.spread}
	switch kind := trace.PhaseKind(p.name); kind {
	case trace.Idle, trace.Warmup, trace.Cooldown:
		span.Kind = string(kind)
	}
	if !p.open {
		span.End = trace.Some(p.end)
	}
	return span
}

// overlaps reports whether two phases share more time than their ends leave open.
func (p *markedPhase) overlaps(q *markedPhase) bool {
	before := func(a, b *markedPhase) bool {
		return !a.open && a.end <= b.start.Add(a.spread[1]+b.spread[0])
	}
	return !before(p, q) && !before(q, p)
}

// phases pairs the marks of a recording: a start and the next end of its name, or the
// next start of it. Two lines of a command that follow each other and both begin a phase
// would leave one that may have no length at all: it goes on instead. An end without a
// start is returned by its name.
func (r *recording) phases() (list []*markedPhase, strays []string) {
	open := map[string]*markedPhase{}
	for _, m := range r.marks {
		p := open[m.Phase]
		if p != nil {
			p.end, p.spread[1], p.open = m.at, m.spread, false
			delete(open, m.Phase)
		} else if m.Event == sample.MarkEnd {
			strays = append(strays, m.Phase)
		}
		if m.Event != sample.MarkStart {
			continue
		}
		p = lastOf(list, m.Phase)
		if p != nil && p.end == m.at && p.end.Sub(p.start) <= p.spread[0]+p.spread[1] {
			p.open = true
		} else {
			p = &markedPhase{name: m.Phase, start: m.at, spread: [2]time.Duration{m.spread}, open: true, from: r}
			list = append(list, p)
		}
		open[m.Phase] = p
	}
	return list, strays
}

// lastOf returns the last phase of a name; nil is none.
func lastOf(list []*markedPhase, name string) *markedPhase {
	for _, p := range slices.Backward(list) {
		if p.name == name {
			return p
		}
	}
	return nil
}

// useMarks makes the phases of recordings without a request log from their marks. With
// one, which knows better, it compares.
func (s *job) useMarks(spans []reduce.Span) error {
	var all [][]*markedPhase // of each recording that has any, that of the common clock first
	for _, r := range s.recordings {
		list, strays := r.phases()
		for _, name := range strays {
			if len(s.logs) == 0 {
				s.r.Warn(reduce.WarnNoStart, "", "", "%s: a mark ends the phase %q, which none begins: it is left out", r.name(), name)
			}
		}
		if len(list) > 0 {
			all = append(all, list)
		}
	}
	slices.SortStableFunc(all, func(a, b []*markedPhase) int {
		other := func(list []*markedPhase) int {
			if list[0].from.files[0].head.Clock.Same(s.common.Clock) {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(other(a), other(b)), cmp.Compare(a[0].start, b[0].start), strings.Compare(a[0].from.name(), b[0].from.name()))
	})
	if len(s.logs) > 0 {
		for _, list := range all {
			s.compareMarks(list, spans)
		}
		return nil
	}
	merged, err := s.mergeMarks(all)
	if err != nil || len(merged) == 0 {
		return err
	}
	names := map[string]int{}
	var marked []reduce.Span
	for _, p := range merged {
		span := p.span()
		names[p.name]++
		if n := names[p.name]; n > 1 {
			span.Name = fmt.Sprintf("%s (%d)", p.name, n)
		}
		marked = append(marked, span)
	}
	s.r.Marked(marked)
	return nil
}

// markSkew is by how much several hosts may mark the same phase at other times: each saw
// it begin by itself, as the ranks of one job do.
const markSkew = time.Second

// mergeMarks makes one list of phases, in the order of time, of those of several
// recordings. The first has its say of those that are the same: what the others say
// else is what its ends may be wrong by.
func (s *job) mergeMarks(all [][]*markedPhase) ([]*markedPhase, error) {
	var merged []*markedPhase
	for _, list := range all {
		var others, fresh []*markedPhase
		others = append(others, merged...)
		shared, most := map[*recording]int{}, time.Duration(0)
		for _, p := range list {
			k := slices.IndexFunc(others, func(q *markedPhase) bool { return q.from != p.from && s.same(p, q) })
			if k < 0 {
				fresh = append(fresh, p)
				continue
			}
			q := others[k]
			others = slices.Delete(others, k, k+1)
			shared[q.from]++
			most = max(most, q.join(p))
		}
		for _, p := range fresh {
			for _, q := range merged {
				if p.overlaps(q) {
					return nil, cli.Hint(fmt.Errorf("the marks of two recordings contradict each other: %s has %s, and %s has %s",
						q.from.name(), s.when(q), p.from.name(), s.when(p)), "mark the phases in one recording only, or give the request log, whose phases count")
				}
			}
			clock := s.spreadOf(p.from)
			p.spread[0], p.spread[1] = p.spread[0]+clock, p.spread[1]+clock
		}
		for _, r := range s.recordings {
			if n := shared[r]; n > 0 {
				s.r.Warn(reduce.WarnMarksShared, "", "", "%s and %s mark the same phases (%d), at most %v apart: they are taken once, as the former has them",
					r.name(), list[0].from.name(), n, most)
			}
		}
		merged = append(merged, fresh...)
	}
	slices.SortStableFunc(merged, func(a, b *markedPhase) int { return cmp.Compare(a.start, b.start) })
	return merged, nil
}

// same reports whether two recordings mean the same phase.
func (s *job) same(p, q *markedPhase) bool {
	clocks := markSkew + s.spreadOf(p.from) + s.spreadOf(q.from)
	return p.name == q.name && p.start.Sub(q.start).Abs() <= clocks+p.spread[0]+q.spread[0] &&
		(p.open || q.open || p.end.Sub(q.end).Abs() <= clocks+p.spread[1]+q.spread[1])
}

// join takes what another recording says of a phase, and returns by how much it differs.
func (p *markedPhase) join(q *markedPhase) time.Duration {
	start := p.start.Sub(q.start).Abs()
	p.spread[0] = max(p.spread[0], start)
	switch {
	case p.open:
		p.end, p.spread[1], p.open = q.end, q.spread[1], q.open
	case !q.open:
		end := p.end.Sub(q.end).Abs()
		p.spread[1] = max(p.spread[1], end)
		return max(start, end)
	}
	return start
}

// spreadOf is by how much the times of a recording may be wrong on the common clock.
func (s *job) spreadOf(r *recording) time.Duration { return r.files[0].joint.Spread }

// when says when a phase was, for people.
func (s *job) when(p *markedPhase) string {
	const layout = "15:04:05.000Z"
	text := fmt.Sprintf("%q from %s", p.name, s.common.Wall(p.start).Format(layout))
	if !p.open {
		text += " to " + s.common.Wall(p.end).Format(layout)
	}
	return text
}

// compareMarks warns where the marks of a recording differ from the phases of the
// request log, which count, by more than is not known of both.
func (s *job) compareMarks(list []*markedPhase, spans []reduce.Span) {
	r := list[0].from
	if pkg := r.files[0].pkg; pkg != nil {
		s.compareWindows(list, pkg, spans)
		return
	}
	clocks := s.spreadOf(r) + s.logSpread()
	var says []string
	taken := map[int]bool{}
	for _, p := range list {
		i := slices.IndexFunc(spans, func(span reduce.Span) bool {
			base, _, _ := strings.Cut(span.Name, " (")
			return base == p.name || span.Name == p.name
		})
		for i >= 0 && taken[i] {
			next := slices.IndexFunc(spans[i+1:], func(span reduce.Span) bool {
				base, _, _ := strings.Cut(span.Name, " (")
				return base == p.name
			})
			if next < 0 {
				i = -1
				break
			}
			i += 1 + next
		}
		if i < 0 {
			says = append(says, fmt.Sprintf("%q is no phase of the log", p.name))
			continue
		}
		taken[i] = true
		span := &spans[i]
		if by := p.start.Sub(span.Start); by.Abs() > clocks+p.spread[0] {
			says = append(says, fmt.Sprintf("%q begins %s", p.name, later(by)))
		}
		if end, ok := span.End.Get(); ok && !p.open {
			if by := p.end.Sub(end); by.Abs() > clocks+p.spread[1] {
				says = append(says, fmt.Sprintf("%q ends %s", p.name, later(by)))
			}
		}
	}
	s.warnMarks(r, says)
}

// warnMarks warns of where marks differ from the request log.
func (s *job) warnMarks(r *recording, says []string) {
	const most = 4
	if n := len(says); n > most {
		says = append(says[:most], fmt.Sprintf("and %d differences more", n-most))
	}
	if len(says) > 0 {
		s.r.Warn(reduce.WarnMarksDiffer, "", "", "%s: the request log's phases count, and the marks say something else: %s", r.name(), strings.Join(says, ", "))
	}
}

// compareWindows warns where the windows of a power package differ from the phases of the
// request logs, whose names are others: they are compared by when they were. A log may be of
// one of many benchmarks. A result of a serving benchmark has the window itself; others
// begin and end with their requests, by as much as srt-slurm lets two clocks differ.
func (s *job) compareWindows(list []*markedPhase, pkg *srtslurm.Package, spans []reduce.Span) {
	r := list[0].from
	clocks := s.spreadOf(r) + s.logSpread()
	var says []string
	matched := false
	for _, p := range list {
		span := alike(p, spans)
		if span == nil {
			continue
		}
		matched = true
		slack := clocks
		if length := p.end.Sub(p.start); !span.Unplaced {
			slack += max(500*time.Millisecond, length/100)
		}
		if by := p.start.Sub(span.Start); by.Abs() > slack {
			says = append(says, fmt.Sprintf("%q begins %s than %q", p.name, later(by), span.Name))
		}
		if by := p.end.Sub(span.End.V); by.Abs() > slack {
			says = append(says, fmt.Sprintf("%q ends %s than %q", p.name, later(by), span.Name))
		}
		for _, w := range pkg.Windows {
			if w.Name == p.name && w.Concurrency > 0 && span.Concurrency > 0 && w.Concurrency != span.Concurrency {
				says = append(says, fmt.Sprintf("%q has a concurrency of %d, and %q of %d", p.name, w.Concurrency, span.Name, span.Concurrency))
			}
		}
	}
	if !matched {
		says = append(says, "none of its windows is of the time of a phase")
	}
	s.warnMarks(r, says)
}

// alike returns the measured phase that has the most time in common with a marked one; nil
// is that none has any.
func alike(p *markedPhase, spans []reduce.Span) (best *reduce.Span) {
	most := time.Duration(0)
	for i := range spans {
		end, ok := spans[i].End.Get()
		if !ok || p.open || spans[i].Kind != string(trace.Measure) {
			continue
		}
		if common := min(end, p.end).Sub(max(spans[i].Start, p.start)); common > most {
			best, most = &spans[i], common
		}
	}
	return best
}

func later(by time.Duration) string {
	if by < 0 {
		return fmt.Sprintf("%v earlier", -by)
	}
	return fmt.Sprintf("%v later", by)
}
