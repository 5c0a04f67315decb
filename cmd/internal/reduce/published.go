package reduce

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/amdsmi"
	"wattrace/formats/energymetrics"
	"wattrace/formats/inferencex"
	"wattrace/formats/logs"
	"wattrace/reduce"
	"wattrace/trace"
)

// publish gives the phases of logs what their tools wrote of them, in the log itself and in
// files beside it.
func (s *job) publish(env *cli.Env) error {
	for _, l := range s.logs {
		if kind := l.in.Kind(); kind == formats.BenchServe || kind == formats.GuideLLMReport {
			l.publishStated()
		}
	}
	s.publishReport()
	for _, l := range slices.Clone(s.logs) {
		if l.in.Kind() == formats.BenchServe && l.published != nil && len(l.content.Frames) == 1 {
			if err := s.openBesideResult(env, l); err != nil {
				return err
			}
		}
	}
	s.bindInferenceX()
	return s.meter()
}

// add adds figures to those that a tool published of a phase.
func (l *logFile) add(phase, tool string, figures map[string]float64, notes ...string) *reduce.Published {
	if l.published == nil {
		l.published = map[string][]reduce.Published{}
	}
	i := slices.IndexFunc(l.published[phase], func(p reduce.Published) bool { return p.Tool == tool })
	if i < 0 {
		i = len(l.published[phase])
		l.published[phase] = append(l.published[phase], reduce.Published{Tool: tool, Figures: map[string]float64{}})
	}
	p := &l.published[phase][i]
	for name, v := range figures {
		p.Figures[name] = v
	}
	p.Notes = append(p.Notes, notes...)
	return p
}

// publishStated takes what the results of serving benchmarks say of themselves. What
// InferenceX's says beside power is by the formulas of vLLM, of whose benchmark it is a copy.
func (l *logFile) publishStated() {
	for _, st := range l.content.Stated {
		phase := cmp.Or(st.Run, logs.DefaultPhase)
		all, power := map[string]float64{}, map[string]float64{}
		tool := st.Tool
		for _, f := range st.Figures {
			if tool == "inferencex" && inferencex.IsPower(f.Name) {
				power[f.Name] = f.Value
			} else {
				all[f.Name] = f.Value
			}
		}
		if tool == "inferencex" {
			l.add(phase, tool, power)
			tool = "vllm"
		}
		if tool != "" {
			l.add(phase, tool, all)
		}
	}
}

// publishReport gives the only request log of trtllm-bench what the only report of it says.
func (s *job) publishReport() {
	var log, report *logFile
	for _, l := range s.logs {
		into := map[formats.Kind]**logFile{formats.TRTLLMRequests: &log, formats.TRTLLMReport: &report}[l.in.Kind()]
		switch {
		case into == nil:
		case *into != nil:
			return
		default:
			*into = l
		}
	}
	if log == nil || report == nil {
		return
	}
	figures := map[string]float64{}
	for _, f := range report.content.Stated[0].Figures {
		figures[f.Name] = f.Value
	}
	log.add(logs.DefaultPhase, "trtllm", figures)
}

// openBesideResult opens what InferenceX has beside a result, unless it was named.
func (s *job) openBesideResult(env *cli.Env, l *logFile) error {
	dir, base := filepath.Split(l.in.Name())
	if base == "-" {
		return nil
	}
	stem, _, _ := strings.Cut(base, ".json")
	for _, c := range []struct {
		prefix string
		kind   formats.Kind
	}{{inferencex.AggregatePrefix, formats.InferenceXAggregate}, {inferencex.AuditPrefix, formats.InferenceXAudit}} {
		name := filepath.Join(dir, c.prefix+stem+".json")
		if slices.ContainsFunc(s.logs, func(o *logFile) bool { return o.in.Name() == name }) {
			continue
		}
		in, err := formats.Open(name, env.Stdin)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.inputs = append(s.inputs, in)
		if in.Kind() != c.kind {
			return fmt.Errorf("%s: is a %s, not the %s that %s should have beside it", name, in.Kind(), c.kind, l.in.Name())
		}
		codec, _ := logs.ByKind(in.Kind())
		beside := &logFile{in: in, codec: codec}
		s.logs = append(s.logs, beside)
		if err := s.openLog(env, beside); err != nil {
			return err
		}
	}
	return nil
}

// bindInferenceX gives results of InferenceX what it published of them. An audit tells of
// which run it is by its window; an aggregate by its name, else by there being one of each.
func (s *job) bindInferenceX() {
	var results []*logFile
	aggregates := 0
	for _, l := range s.logs {
		if len(l.content.Frames) == 1 {
			results = append(results, l)
		}
		if l.content.Aggregate != nil {
			aggregates++
		}
	}
	for _, l := range s.logs {
		switch c := l.content; {
		case c.Audit != nil:
			s.bindAudit(l, results)
		case c.Aggregate != nil:
			s.bindAggregate(l, results, aggregates)
		}
	}
}

// phaseOf returns the only phase of a result, and when it was.
func phaseOf(l *logFile) (name string, frame [2]int64) {
	for name, frame = range l.content.Frames {
	}
	return name, frame
}

func (s *job) limits(format string, args ...any) {
	s.doubts = append(s.doubts, doubt{reduce.WarnLogLimits, fmt.Sprintf(format, args...)})
}

func (s *job) bindAudit(l *logFile, results []*logFile) {
	a := l.content.Audit
	i := slices.IndexFunc(results, func(r *logFile) bool {
		_, frame := phaseOf(r)
		return a.Start.OK && a.End.OK && frame == [2]int64{a.Start.V, a.End.V}
	})
	if i < 0 {
		if len(results) > 0 {
			s.limits("%s: its benchmark_window is that of no result here: what it says is given as it stands, and compared with nothing", l.in.Name())
		}
		return
	}
	phase, _ := phaseOf(results[i])
	figures := map[string]float64{}
	for _, f := range a.Figures {
		figures[f.Name] = f.Value
	}
	if a.Valid.OK {
		figures["power_valid"] = 0
		if a.Valid.V {
			figures["power_valid"] = 1
		}
	}
	p := results[i].add(phase, "inferencex", nil)
	for name, v := range figures { // the aggregate's are rounded as ours
		if _, ok := p.Figures[name]; !ok {
			p.Figures[name] = v
		}
	}
	if len(a.Reasons) > 0 {
		p.Notes = append(p.Notes, "it withheld its figures itself: "+strings.Join(a.Reasons, ", "))
	}
	p.GPUs = map[int]map[string]float64{}
	for gpu, joules := range a.GPUs {
		p.GPUs[gpu] = map[string]float64{"per_gpu_energy_j": joules}
	}
	if a.Expected.OK {
		s.expect = max(s.expect, a.Expected.V)
	}
}

func (s *job) bindAggregate(l *logFile, results []*logFile, aggregates int) {
	a := l.content.Aggregate
	base := filepath.Base(l.in.Name())
	i := slices.IndexFunc(results, func(r *logFile) bool { return inferencex.AggregatePrefix+filepath.Base(r.in.Name()) == base })
	if i < 0 && len(results) == 1 && aggregates == 1 {
		i = 0
	}
	switch {
	case len(results) == 0:
		return
	case i < 0:
		s.limits("%s: is of no result here by its name: what it says is given as it stands, and compared with nothing", l.in.Name())
		return
	case a.Concurrency.OK && results[i].content.Parallel > 0 && a.Concurrency.V != float64(results[i].content.Parallel):
		s.limits("%s: is of a run with a concurrency of %v, and %s of one with %d: it is compared with nothing", l.in.Name(), a.Concurrency.V, results[i].in.Name(), results[i].content.Parallel)
		return
	case a.Version != 2 && slices.ContainsFunc(a.Figures, func(f inferencex.Figure) bool { return inferencex.IsPower(f.Name) }):
		s.limits("%s: its power is not of power_metric_schema_version 2, before which joules_per_* meant something else: it is compared with nothing", l.in.Name())
		return
	}
	phase, _ := phaseOf(results[i])
	figures := map[string]float64{}
	for _, f := range a.Figures {
		if inferencex.IsPower(f.Name) {
			figures[f.Name] = f.Value
		}
	}
	results[i].add(phase, "inferencex", figures)
}

// meter gives the only run what saved answers of /energy_metrics say of it.
func (s *job) meter() error {
	type answer struct {
		energymetrics.Answer
		from string
	}
	var all []answer
	var run *logFile
	runs := 0
	for _, l := range s.logs {
		for _, a := range l.content.Answers {
			all = append(all, answer{a, l.in.Name()})
		}
		if l.content.Requests {
			run, runs = l, runs+1
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b answer) int { return cmp.Compare(a.Seconds, b.Seconds) })
	first, last := all[0], all[len(all)-1]
	m := reduce.Metered{Joules: last.Joules - first.Joules, Seconds: last.Seconds - first.Seconds}
	switch {
	case len(all) == 1:
		s.limits("%s: is one answer of /energy_metrics, of which only differences mean something: there is none from before the run, or from after it", first.from)
		return nil
	case len(all) > 2:
		return cli.Hint(fmt.Errorf("%s: %d answers of /energy_metrics in all", last.from, len(all)), "name two: that before the run and that after it")
	case m.Seconds == 0:
		return fmt.Errorf("%s: is the same answer of /energy_metrics as %s", last.from, first.from)
	case m.Joules < 0:
		return fmt.Errorf("%s: total_energy_j is less than in %s, which was earlier: the server was started anew in between", last.from, first.from)
	}
	span := fmt.Sprintf("%s and %s are %.6g J and %.6g s apart, %.6g W", first.from, last.from, m.Joules, m.Seconds, m.Joules/m.Seconds)
	length, known := time.Duration(0), false
	if runs == 1 && len(run.content.Lengths) == 1 {
		for _, d := range run.content.Lengths {
			length, known = time.Duration(d), true
		}
	}
	const slack = 500 * time.Millisecond
	between := time.Duration(min(m.Seconds, 1e9) * 1e9)
	switch {
	case !known:
		s.limits("%s: no single run is here that they could be of", span)
		return nil
	case between < length-max(slack, length/100):
		s.limits("%s: the run took %v, so that they are not from before it and after it: they are not used", span, length)
		return nil
	case between > length+max(5*time.Second, length/10):
		s.limits("%s: the run took %v, and what was drawn before and after it is in their energy", span, length)
	default:
		s.limits("%s, around the run of %v", span, length)
	}
	run.metered = trace.Some(m)
	return nil
}

// openAccumulators reads the counters that InferenceX has read before and after the log of
// amd-smi, where there is one such log.
func (s *job) openAccumulators(env *cli.Env, ro *reduce.Options) error {
	var log *teleFile
	for _, t := range s.tele {
		if t.in.Kind() != formats.AMDSMI {
			continue
		}
		if log != nil {
			return nil
		}
		log = t
	}
	if log == nil {
		return nil
	}
	stem, ok := strings.CutSuffix(log.in.Name(), ".csv")
	if !ok {
		return nil
	}
	var ends [2]map[int]float64
	for i, suffix := range []string{"_energy_start.csv", "_energy_end.csv"} {
		b, name, err := s.readBeside(env, stem+suffix, "amd-smi energy csv")
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		if ends[i], err = amdsmi.Energies(b, name); err != nil {
			return err
		}
	}
	switch {
	case ends[0] == nil && ends[1] == nil:
		return nil
	case ends[0] == nil || ends[1] == nil:
		s.limits("%s: of the counters before and after it only those of one moment are there: they are not used", log.in.Name())
		return nil
	}
	ro.Accumulated = map[int]float64{}
	st := reduce.Statement{Tool: "amd-smi", Path: stem + "_energy_end.csv", Figures: []reduce.StatedFigure{}}
	total := 0.0
	for _, gpu := range slices.Sorted(maps.Keys(ends[1])) {
		before, ok := ends[0][gpu]
		if !ok {
			continue
		}
		ro.Accumulated[gpu] = ends[1][gpu] - before
		total += ro.Accumulated[gpu]
		st.Figures = append(st.Figures, reduce.StatedFigure{Name: fmt.Sprintf("total_energy_consumption since energy_start, GPU %d", gpu), Unit: "J", Value: ro.Accumulated[gpu]})
	}
	if len(st.Figures) > 1 {
		st.Figures = append(st.Figures, reduce.StatedFigure{Name: "total_energy_consumption since energy_start, all GPUs", Unit: "J", Value: total})
	}
	s.stated = append(s.stated, st)
	return nil
}
