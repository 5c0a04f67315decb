package convert

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"wattrace/formats/aiperf"
	"wattrace/formats/requests"
	"wattrace/reduce/peers"
	"wattrace/trace"
)

var aiperfForm = form{
	of: ofLog, name: "aiperf", dir: true, flags: []string{"model"},
	doc:   "a directory with profile_export.jsonl and profile_export_aiperf.json, which `aiperf plot` reads",
	lost:  "connections, bodies, what server and client said of themselves, names of phases, classes of errors, requests that had not ended, and of events those without output",
	write: (*job).aiperf,
}

// aiperf writes a log as aiperf's directory.
func (j *job) aiperf() error {
	path, err := j.one()
	if err != nil {
		return err
	}
	dir, err := newFileSet(j.env, aiperf.RecordsName, aiperf.ConfigName)
	if err != nil {
		return err
	}
	defer dir.abort()
	l, err := j.openLog(path)
	if err != nil {
		return err
	}
	defer l.close()
	x := &aiperfRun{Summary: aiperf.Summary{Model: j.o.Model}}
	records, err := dir.create(aiperf.RecordsName)
	if err != nil {
		return err
	}
	stopProgress := j.env.Progress(l.status)
	err = x.read(l, records)
	stopProgress()
	if err != nil {
		return err
	}
	summary, err := dir.create(aiperf.ConfigName)
	if err != nil {
		return err
	}
	x.sumUp()
	if err := aiperf.WriteSummary(summary, &x.Summary); err != nil {
		return err
	}
	if err := dir.close(); err != nil {
		return err
	}
	j.lost(j.form.lost)
	return l.report(!x.closed || x.incomplete)
}

// aiperfRun is what is known of a log while its requests are written.
type aiperfRun struct {
	aiperf.Summary
	export             peers.AIPerfExport
	clock              trace.Clock
	run                int
	kinds              map[string]trace.PhaseKind
	measured           bool
	closed, incomplete bool
}

func (x *aiperfRun) read(l *logFile, out io.Writer) error {
	w := aiperf.NewWriter(out)
	x.run = -1
	var metrics []aiperf.Metric
	err := l.each(true, func(rec *requests.Record) error {
		switch rec.Type {
		case requests.TypeRun:
			return x.begin(l, &rec.Run)
		case requests.TypePhase:
			x.kinds[rec.Phase.Phase] = rec.Phase.Kind
		case requests.TypeClose:
			x.closed = true
			x.Cancelled = x.Cancelled || !rec.Close.Clean
		case requests.TypeRequest:
			q := &rec.Request
			kind := x.kinds[q.Phase]
			counts := kind == trace.Measure || kind == ""
			metrics = metrics[:0]
			for _, m := range x.export.Record(q, counts) {
				metrics = append(metrics, aiperf.Metric(m))
			}
			if counts {
				x.span(q)
			}
			return w.Write(&aiperf.Record{Request: q, Run: x.run, Clock: x.clock, Kind: kind, Metrics: metrics})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if x.run < 0 {
		return fmt.Errorf("%s: the log has no run line", l.in.Name())
	}
	return w.Flush()
}

// begin begins a run. Totals are of one.
func (x *aiperfRun) begin(l *logFile, r *requests.Run) error {
	if x.run++; x.run > 0 {
		return fmt.Errorf("%s: holds several runs; aiperf's directory is of one", l.in.Name())
	}
	x.clock, x.kinds = r.Clock, map[string]trace.PhaseKind{}
	for _, ph := range r.Plan.Phases {
		x.kinds[ph.Name] = ph.Kind
	}
	x.Producer, x.URLs, x.Phases = r.Producer, slices.Clone(r.Targets), slices.Clone(r.Plan.Phases)
	return nil
}

// span widens the time of what is measured.
func (x *aiperfRun) span(q *trace.Request) {
	sent, done := x.clock.Wall(q.Sent), x.clock.Wall(q.Done)
	if !x.measured || sent.Before(x.Start) {
		x.Start = sent
	}
	if !x.measured || done.After(x.End) {
		x.End = done
	}
	x.measured = true
}

// sumUp makes the metrics of the run.
func (x *aiperfRun) sumUp() {
	for _, m := range x.export.Summary() {
		s := aiperf.Stats{Tag: m.Tag, Unit: m.Unit, Of: []aiperf.Stat{{Name: "avg", Value: m.Avg}}}
		if m.Distribution {
			for i, p := range peers.Percents {
				s.Of = append(s.Of, aiperf.Stat{Name: fmt.Sprintf("p%v", p), Value: m.Percentiles[i]})
			}
			s.Of = append(s.Of, aiperf.Stat{Name: "min", Value: m.Min}, aiperf.Stat{Name: "max", Value: m.Max}, aiperf.Stat{Name: "std", Value: m.Std},
				aiperf.Stat{Name: "count", Value: float64(m.Count)}, aiperf.Stat{Name: "sum", Value: m.Sum})
		}
		x.Metrics = append(x.Metrics, s)
	}
	slices.SortFunc(x.Metrics, func(a, b aiperf.Stats) int { return cmp.Compare(a.Tag, b.Tag) })
}
