package measure

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/sibling"
	"wattrace/formats/plan"
	"wattrace/formats/summary"
	"wattrace/reduce"
	"wattrace/trace"
)

// mostUnready is how often in a row a server may fail to become ready: it would the next
// time, too, and each time may take half an hour.
const mostUnready = 2

// sweep does all runs that are not finished. One that fails does not end it.
func (s *session) sweep(points []point, before *summary.Summary) error {
	sum := s.head(summary.Sweep)
	if before != nil {
		if err := s.mayResume(before, summary.Sweep); err != nil {
			return err
		}
		sum.Start = before.Start
	}
	for _, p := range points {
		sum.Runs = append(sum.Runs, summary.RunOf{Directory: p.name, Concurrency: p.concurrency, Repeat: p.repeat})
	}
	todo, err := s.unfinished(points, sum, before != nil)
	if err != nil {
		return err
	}
	if err := writeSummary(s.o.out, sum); err != nil {
		return err
	}
	if s.o.trace != "" && !s.o.restart && len(todo) > 1 {
		s.env.Summaryf("the runs share a server and a trace: if it keeps prefixes, only the first finds the cache empty (--restart starts it anew, --set cache_salt or --replay-flag cache-salt=N keep runs apart)")
	}
	var now atomic.Pointer[run]
	stop := s.env.Progress(func() string {
		if r := now.Load(); r != nil {
			return r.progress()
		}
		return "starting"
	})
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	begun, unready := false, 0
	for i, p := range points {
		if !todo[i] || s.soft.Err() != nil {
			continue
		}
		s.place = i
		r, err := s.beginRun(p)
		if err != nil {
			return err
		}
		now.Store(r)
		if begun {
			r.awaitCool(s.soft)
		}
		begun = true
		s.env.Summaryf("%d of %d: %s", i+1, len(points), p.name)
		if err := r.do(); err != nil {
			return err
		}
		if s.o.restart && s.server != nil {
			s.server.stop(s.hard)
			if err := s.ended(r); err != nil {
				return err
			}
		}
		note(&sum.Runs[i], r.sum)
		if err := s.writeSweep(sum); err != nil {
			return err
		}
		if unready++; !r.unready {
			unready = 0
		} else if unready == mostUnready && s.soft.Err() == nil {
			s.env.Printf("there was no server %d times in a row: the other runs are not begun; --resume does them", unready)
			break
		}
	}
	stop()
	stopped = true
	if s.server != nil {
		s.server.stop(s.hard)
	}
	s.conclude(sum)
	s.draw(sum)
	if err := s.writeSweep(sum); err != nil {
		return err
	}
	return s.tell(sum)
}

// unfinished finds the runs that are to be done, and notes those that are finished.
func (s *session) unfinished(points []point, sum *summary.Summary, resumed bool) (todo map[int]bool, err error) {
	todo = map[int]bool{}
	for i, p := range points {
		todo[i] = true
		if !resumed {
			continue
		}
		of, err := readSummary(filepath.Join(s.o.out, p.name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case of.Status.Finished():
			todo[i] = false
			note(&sum.Runs[i], of)
		}
	}
	if resumed {
		s.env.Summaryf("%d of %d runs are finished", len(points)-count(todo), len(points))
	}
	return todo, nil
}

func count(todo map[int]bool) (n int) {
	for _, is := range todo {
		if is {
			n++
		}
	}
	return n
}

// beginRun makes the directory of a run; what an unfinished one left there goes.
func (s *session) beginRun(p point) (*run, error) {
	dir := filepath.Join(s.o.out, p.name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	if err := clean(dir); err != nil {
		return nil, err
	}
	return s.newRun(p, dir)
}

// note takes a run's summary into the sweep's.
func note(to *summary.RunOf, of *summary.Summary) {
	to.Status, to.Reason = of.Status, of.Reason
	if ph := of.Headline(); ph != nil {
		to.Phase, to.Metrics = ph.Name, ph.Metrics
	}
}

// writeSweep writes the sweep's summary, and its table.
func (s *session) writeSweep(sum *summary.Summary) error {
	sum.Points = pointsOf(sum.Runs)
	sum.Artifacts = map[string]string{"table": "table.txt"}
	if _, err := os.Stat(filepath.Join(s.o.out, sweepPage)); err == nil {
		sum.Artifacts["page"] = sweepPage
	}
	text := table(sum)
	err := writeWhole(filepath.Join(s.o.out, "table.txt"), func(f *os.File) error {
		_, err := f.Write(text)
		return err
	})
	return errors.Join(err, writeSummary(s.o.out, sum))
}

// sweepPage is what plot makes of the reports of a sweep.
const sweepPage = "sweep.html"

// draw has plot draw the reports of a sweep, if there is one and there are several.
func (s *session) draw(sum *summary.Summary) {
	page := filepath.Join(s.o.out, sweepPage)
	args := []string{"--force", "-o", page}
	reports := 0
	for _, r := range sum.Runs {
		if path := filepath.Join(s.o.out, r.Directory, "report.json"); r.Status.Finished() {
			if _, err := os.Stat(path); err == nil {
				args = append(args, path)
				reports++
			}
		}
	}
	if s.tools.Paths["plot"] == "" || reports < 2 || s.hard.Err() != nil {
		return
	}
	p, err := sibling.Begin("plot", exec.Command(s.tools.Paths["plot"], args...), nil)
	if err == nil {
		select {
		case <-p.Done:
		case <-s.hard.Done():
			p.Stop(0, nil)
		}
		if p.Status() != 0 && p.Status() != cli.ExitIncomplete {
			err = p.Fault()
		}
	}
	if err != nil {
		s.env.Printf("no %s: %v", page, err)
	}
}

// conclude gives a sweep its status.
func (s *session) conclude(sum *summary.Summary) {
	sum.End = stamp(time.Now())
	counts := map[summary.Status]int{}
	for _, r := range sum.Runs {
		counts[r.Status]++
	}
	all := len(sum.Runs)
	switch {
	case s.soft.Err() != nil:
		sum.Status, sum.Reason = summary.Interrupted, errStopped.Error()
	case counts[summary.Complete] == all:
		sum.Status = summary.Complete
	default:
		sum.Status = summary.Incomplete
		if counts[summary.Complete]+counts[summary.Incomplete] == 0 {
			sum.Status = summary.Failed
		}
		sum.Reason = fmt.Sprintf("of %d runs %d are complete, %d incomplete, %d failed", all, counts[summary.Complete], counts[summary.Incomplete], counts[summary.Failed])
		if n := counts[""]; n > 0 {
			sum.Reason += fmt.Sprintf(", %d not begun", n)
		}
	}
}

// pointsOf describes the finished runs of each concurrency.
func pointsOf(runs []summary.RunOf) (points []summary.Point) {
	var order []int
	values, units, n := map[int]map[string][]float64{}, map[string]string{}, map[int]int{}
	for _, r := range runs {
		if values[r.Concurrency] == nil {
			values[r.Concurrency] = map[string][]float64{}
			order = append(order, r.Concurrency)
		}
		if !r.Status.Finished() {
			continue
		}
		n[r.Concurrency]++
		for tag, m := range r.Metrics {
			v := m.Value
			if v == nil {
				v = m.Mean
			}
			if v != nil {
				values[r.Concurrency][tag] = append(values[r.Concurrency][tag], *v)
				units[tag] = m.Unit
			}
		}
	}
	for _, c := range order {
		p := summary.Point{Concurrency: c, Runs: n[c], Metrics: map[string]summary.Statistic{}}
		for tag, list := range values[c] {
			mean, std, least, most := reduce.Sampled(list)
			st := summary.Statistic{Unit: units[tag], Mean: mean, Min: least, Max: most, Count: len(list)}
			if v, ok := std.Get(); ok {
				st.Std = &v
			}
			p.Metrics[tag] = st
		}
		points = append(points, p)
	}
	return points
}

// columns are what the tables show.
var columns = []struct{ tag, title, unit string }{
	{"total_gpu_power", "power", "W"},
	{"total_gpu_energy", "energy", "J"},
	{"output_tokens_per_joule", "tokens/J", ""},
	{"energy_per_user", "J/user", ""},
	{"output_token_throughput", "tokens/s", ""},
	{"time_to_first_token", "TTFT", "s"},
	{"inter_token_latency", "ITL", "s"},
}

// table is a summary for people.
func table(sum *summary.Summary) []byte {
	var b bytes.Buffer
	if len(sum.Phases)+len(sum.Runs) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	first := "phase\tkind\tseconds"
	if sum.Kind == summary.Sweep {
		first = "run\tstatus"
	}
	fmt.Fprint(t, first)
	for _, c := range columns {
		title := c.title
		if c.unit != "" {
			title += " " + c.unit
		}
		fmt.Fprint(t, "\t", title)
	}
	fmt.Fprintln(t)
	row := func(first string, metrics map[string]summary.Metric) {
		fmt.Fprint(t, first)
		for _, c := range columns {
			m := metrics[c.tag]
			v := m.Value
			if v == nil {
				v = m.Mean
			}
			fmt.Fprint(t, "\t", short(v))
		}
		fmt.Fprintln(t)
	}
	for _, ph := range sum.Phases {
		row(fmt.Sprintf("%s\t%s\t%s", ph.Name, ph.Kind, short(ph.DurationSeconds)), ph.Metrics)
	}
	for _, r := range sum.Runs {
		status := string(r.Status)
		if status == "" {
			status = "-"
		}
		row(r.Directory+"\t"+status, r.Metrics)
	}
	if slices.ContainsFunc(sum.Points, func(p summary.Point) bool { return p.Runs > 1 }) {
		for _, p := range sum.Points {
			name := "all"
			if p.Concurrency > 0 {
				name = fmt.Sprintf("c%d", p.Concurrency)
			}
			fmt.Fprintf(t, "%s\tmean of %d", name, p.Runs)
			for _, c := range columns {
				m, ok := p.Metrics[c.tag]
				text := "-"
				if ok {
					text = short(&m.Mean)
					if m.Std != nil {
						text += " ± " + strconv.FormatFloat(*m.Std, 'g', 2, 64)
					}
				}
				fmt.Fprint(t, "\t", text)
			}
			fmt.Fprintln(t)
		}
	}
	t.Flush()
	if c := sum.EnergyCheck; c != nil && c.DifferenceJoules != nil {
		fmt.Fprintf(&b, "energy check: the counters rose by %s J, the report has %s J (%+.2g J", short(c.CounterJoules), short(c.ReportJoules), *c.DifferenceJoules)
		if c.ResolutionJoules != nil {
			fmt.Fprintf(&b, "; the counters' steps are %s J", short(c.ResolutionJoules))
		}
		fmt.Fprintln(&b, ")")
	}
	return b.Bytes()
}

// short writes a figure with five digits; the files have all of them.
func short(v *float64) string {
	if v == nil {
		return "-"
	}
	if *v >= 1e5 || *v <= -1e5 {
		return strconv.FormatFloat(*v, 'f', 0, 64)
	}
	return strconv.FormatFloat(*v, 'g', 5, 64)
}

func planText(p *trace.Plan) string { return string(plan.AppendJSON(nil, p)) }
