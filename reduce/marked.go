package reduce

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Marked gives a recording without a log its phases, after the first pass over the
// telemetry and before Start, in order of their starts. One without an end lasts as
// long as the recording.
func (r *Reducer) Marked(spans []Span) { r.marked = spans }

// markedPhases makes the phases that were given by Marked, and of what the recording
// covers besides the time outside of them.
func (r *Reducer) markedPhases() {
	from, to, covered := r.covered()
	if !covered {
		from, to = math.MaxInt64, math.MinInt64
	}
	reach := from
	outside := func(start, end trace.Time) {
		if start < end {
			r.outside = append(r.outside, &phase{Span: Span{Name: "outside", Kind: "window", Start: start, End: trace.Some(end)}})
		}
	}
	for _, span := range r.marked {
		if !span.End.OK {
			if to > span.Start {
				span.End = trace.Some(to)
				r.Warn(WarnNoEnd, span.Name, "", "no mark ends it: it is taken to last as long as the recording")
			} else {
				r.Warn(WarnNoEnd, span.Name, "", "no mark ends it, and it begins where the recording ends: no energy and no power")
			}
		}
		outside(reach, min(span.Start, to))
		reach = max(reach, span.Start, span.End.V)
		r.phases = append(r.phases, &phase{Span: span})
	}
	outside(reach, to)
}

// uncertain returns the instants between which the ends of windows are only known to be,
// moved by what clocks may be wrong.
func (r *Reducer) uncertain(spreads ...time.Duration) (list []trace.Time) {
	add := func(windows ...*phase) {
		for _, w := range windows {
			for i, at := range []trace.Time{w.Start, w.End.V} {
				if by := w.EdgeSpread[i]; by > 0 && w.End.OK {
					list = append(list, at.Add(-by), at.Add(by))
				}
				if w.EdgeSpread != [2]time.Duration{} && w.End.OK {
					list = append(list, at)
				}
			}
		}
	}
	for _, ph := range r.phases {
		add(ph)
		add(ph.slices...)
	}
	if len(spreads) > 0 {
		return shifted(list, spreads...)
	}
	return list
}

// warnOutside says what of a recording with marks is no phase's.
func (r *Reducer) warnOutside() {
	if len(r.gpus) == 0 {
		return
	}
	var seconds, joules, all float64
	whole := 0
	for _, w := range r.outside {
		seconds += w.End.V.Sub(w.Start).Seconds()
		gpus := 0
		for _, s := range r.gpus {
			if d := s.during(&w.Span); d.whole {
				joules += d.joules
				gpus++
			}
		}
		if gpus == len(r.gpus) {
			whole++
		}
	}
	if from, to, ok := r.covered(); ok {
		all = to.Sub(from).Seconds()
	}
	if seconds == 0 {
		return
	}
	energy := fmt.Sprintf("%.6g J of %s", joules, plural(len(r.gpus), "GPU", "GPUs"))
	if whole < len(r.outside) {
		energy = "at least " + energy
	}
	r.Warn(WarnOutsidePhases, "", "", "%.3f s of the recording's %.3f s are outside of the phases that are marked: %s are no phase's", seconds, all, energy)
}

// Hole is a span of time whose rows a recorder read and could not keep.
type Hole struct {
	From, To trace.Time // of the first row that was lost, and the last, on the common clock
	Rows     int64
	Reason   string
	Host     string // of the recorder
}

// Hole notes a hole of a recording, before Report.
func (r *Reducer) Hole(h Hole) { r.holes = append(r.holes, h) }

// xid is a critical error that the driver reported.
type xid struct {
	at     trace.Time
	code   uint64
	device sample.Device
}

// warnEvents says what befell a recorder or a device in each phase.
func (r *Reducer) warnEvents() {
	for _, h := range r.holes {
		host := h.Host
		if host != "" {
			host += ": "
		}
		for _, ph := range r.phases {
			if end, ok := ph.End.Get(); ok && h.From < end && h.To >= ph.Start {
				r.doubt(ph, WarnHole, "", "%s%s of %v lost: %s", host, plural(int(h.Rows), "row", "rows"), h.To.Sub(h.From), cmp.Or(h.Reason, "the recorder does not say why"))
			}
		}
	}
	type event struct {
		device, what string
		code         uint64
	}
	warn := func(phase string, within func(trace.Time) bool) {
		counts := map[event]map[sample.SourceName]int{} // several sources tell of one error
		var order []event
		for _, x := range r.xids {
			if !within(x.at) {
				continue
			}
			e := event{x.device.ID, deviceName(x.device), x.code}
			if counts[e] == nil {
				counts[e] = map[sample.SourceName]int{}
				order = append(order, e)
			}
			counts[e][x.device.Source]++
		}
		slices.SortStableFunc(order, func(a, b event) int {
			return cmp.Or(strings.Compare(a.what, b.what), strings.Compare(a.device, b.device), cmp.Compare(a.code, b.code))
		})
		for _, e := range order {
			n := 0
			for _, count := range counts[e] {
				n = max(n, count)
			}
			r.Warn(WarnXID, phase, e.device, "%s: the driver reported XID %d, a critical error, %s", e.what, e.code, times(int64(n)))
		}
	}
	for _, ph := range r.phases {
		if end, ok := ph.End.Get(); ok {
			warn(ph.Name, func(at trace.Time) bool { return at >= ph.Start && at < end })
		}
	}
	warn("", func(at trace.Time) bool {
		return !slices.ContainsFunc(r.phases, func(ph *phase) bool { return ph.End.OK && at >= ph.Start && at < ph.End.V })
	})
}
