package convert

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync/atomic"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/perfetto"
	"wattrace/formats/requests"
	"wattrace/formats/telemetries"
	"wattrace/sample"
	"wattrace/trace"
)

// perfettoOf is the form of Perfetto's traces, which logs and recordings go into together.
func perfettoOf(of family) form {
	f := form{of: of, name: "perfetto", binary: true, write: (*job).perfetto, flags: flagsOf[ofRecording]}
	if of == ofLog {
		f.doc = "a trace for ui.perfetto.dev, with recordings beside logs: phases, a track for each request, tokens/s, requests in flight"
		f.lost = "events of streams, but for their rate; connections, bodies, messages of errors, what server and client said of themselves"
		return f
	}
	f.doc = "the same: a counter for each metric of each device, the power of all of them"
	f.lost = "that a reading failed, marks, how long readings took, and of energy what was before"
	return f
}

// timeline is one run of the tool that makes a trace of Perfetto's.
type timeline struct {
	*job
	w      *perfetto.Writer
	inputs telemetries.Options
	logs   []*timedLog
	tele   []*timedRecording
	common trace.Clocks

	faults  []error
	skipped atomic.Int64
	spans   int64
	rows    atomic.Int64
}

// timedLog is a log with the clocks of its runs.
type timedLog struct {
	*logFile
	runs []*timedRun
}

type timedRun struct {
	clocks   trace.Clocks
	from, to trace.Time
	base     int64 // Unix nanoseconds of its time 0, on the common clock
}

// timedRecording is a recording with its clock.
type timedRecording struct {
	*recordingFile
	timedRun
	batches int // that can be read
	rows    int64
}

func (j *job) perfetto() error {
	out, err := j.output()
	if err != nil {
		return err
	}
	inputs, err := j.o.inputs()
	if err != nil {
		return err
	}
	t := &timeline{job: j, inputs: inputs}
	defer t.close()
	stopProgress := j.env.Progress(func() string { return fmt.Sprintf("%d requests and readings", t.rows.Load()) })
	err = t.survey()
	if err == nil {
		t.join()
		err = t.draw(out)
	}
	stopProgress()
	if err != nil {
		out.Abort()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return t.report()
}

func (t *timeline) close() {
	for _, l := range t.logs {
		l.close()
	}
	for _, r := range t.tele {
		r.in.Close()
	}
}

// survey reads all inputs once, for their clocks.
func (t *timeline) survey() error {
	for _, path := range t.paths {
		file, err := t.openRecording(path)
		if err != nil {
			return err
		}
		in := file.in
		of, _ := familyOf(in.Kind())
		switch of {
		case ofLog:
			err = t.surveyLog(in)
		case ofRecording:
			err = t.surveyRecording(file)
		default:
			err = fmt.Errorf("%s: is a %s, which has no times", in.Name(), in.Kind())
			if in.Kind() == formats.Unknown {
				err = unknown(in)
			}
			in.Close()
		}
		if err != nil {
			return err
		}
	}
	var files []*recordingFile
	for _, r := range t.tele {
		files = append(files, r.recordingFile)
	}
	return t.refuseUnwanted(files)
}

func (t *timeline) surveyLog(in *formats.Input) error {
	file, err := t.openLogInput(in)
	if err != nil {
		return err
	}
	l := &timedLog{logFile: file}
	t.logs = append(t.logs, l)
	closed := true
	incomplete := false
	err = l.each(false, func(rec *requests.Record) error {
		if rec.Type == requests.TypeRun {
			incomplete = incomplete || !closed
			closed = false
			l.runs = append(l.runs, &timedRun{clocks: trace.Clocks{Clock: rec.Run.Clock}})
			return nil
		}
		r := l.runs[len(l.runs)-1]
		switch rec.Type {
		case requests.TypeClock:
			r.clocks.Snapshots = append(r.clocks.Snapshots, rec.Clock)
			r.to = max(r.to, rec.Clock.At)
		case requests.TypePhase:
			r.to = max(r.to, rec.Phase.At)
		case requests.TypeClose:
			closed = true
			r.to = max(r.to, rec.Close.At)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.cut != nil {
		t.faults = append(t.faults, l.cut)
	} else if incomplete || !closed {
		t.faults = append(t.faults, fmt.Errorf("%s: the log is incomplete, it has no close line", l.in.Name()))
	}
	if len(l.runs) == 0 {
		return fmt.Errorf("%s: the log has no run line", l.in.Name())
	}
	return nil
}

func (t *timeline) surveyRecording(file *recordingFile) error {
	r := &timedRecording{recordingFile: file}
	t.tele = append(t.tele, r)
	var last telemetries.Reader
	err := t.eachBatch(r, true, func(rd telemetries.Reader, b *sample.Batch) {
		last = rd
		if b.Len() == 0 {
			return
		}
		if r.rows == 0 {
			r.from = b.Time[0]
		}
		r.rows += int64(b.Len())
		r.to = b.Time[b.Len()-1]
	})
	if err != nil {
		return err
	}
	if last == nil {
		return fmt.Errorf("%s: holds no reading", r.in.Name())
	}
	if c := last.Clocks(); len(c) > 0 {
		r.clocks = c[0]
		r.clocks.Clock = last.Head().Clock
	}
	return nil
}

// eachBatch passes the batches of a recording on. What is wrong with it is noted where
// first says that it was not yet.
func (t *timeline) eachBatch(r *timedRecording, first bool, use func(telemetries.Reader, *sample.Batch)) error {
	rd, err := r.open(t.inputs)
	b := new(sample.Batch)
	for batches := 0; ; {
		if t.ctx.Err() != nil {
			return cli.ErrInterrupted
		}
		if err == nil {
			err = rd.Read(b)
		}
		if err == nil {
			// A file that grows meanwhile is drawn as it was.
			if batches++; !first && batches > r.batches {
				return nil
			} else if first {
				r.batches = batches
			}
			use(rd, b)
			continue
		}
		if err == io.EOF {
			return nil
		}
		fault := telemetries.Judge(err)
		switch {
		case fault == telemetries.Skipped && t.o.keepGoing && rd != nil:
			if first {
				showSkipped(t.env, t.skipped.Add(1), err)
			}
			err = nil
			continue
		case fault == telemetries.Truncated, fault == telemetries.Damaged && t.o.keepGoing:
			if first {
				t.faults = append(t.faults, err)
			}
			return nil
		}
		return hinted(err)
	}
}

// join places all inputs on the clock of the earliest.
func (t *timeline) join() {
	type placed struct {
		name string
		*timedRun
	}
	var all []placed
	for _, l := range t.logs {
		for _, r := range l.runs {
			all = append(all, placed{l.in.Name(), r})
		}
	}
	for _, r := range t.tele {
		all = append(all, placed{r.in.Name(), &r.timedRun})
	}
	t.common = slices.MinFunc(all, func(a, b placed) int {
		return int(min(max(a.clocks.Anchor.UnixNanos-b.clocks.Anchor.UnixNanos, -1), 1))
	}).clocks
	for _, p := range all {
		j := t.common.Join(p.clocks, p.from, p.to)
		p.base = t.common.Anchor.UnixNanos + int64(j.Offset)
		if !j.Exact {
			t.env.Summaryf("%s: placed by the wall clock, ± %v", p.name, j.Spread)
		}
	}
}

// draw reads all inputs again.
func (t *timeline) draw(out io.Writer) error {
	t.w = perfetto.NewWriter(out, t.common.Anchor.UnixNanos)
	for _, l := range t.logs {
		if err := t.drawLog(l); err != nil {
			return err
		}
	}
	for _, r := range t.tele {
		if err := t.drawRecording(r); err != nil {
			return err
		}
	}
	return t.w.Flush()
}

// drawnRun is a run while it is drawn.
type drawnRun struct {
	*timeline
	base           int64
	root, phases   perfetto.Track
	id             string
	running        string // phase
	flight, tokens grid
	last           int64
}

func (t *timeline) drawLog(l *timedLog) error {
	var d *drawnRun
	n := 0
	err := l.each(true, func(rec *requests.Record) error {
		switch rec.Type {
		case requests.TypeRun:
			if d != nil {
				d.end()
			}
			if n == len(l.runs) {
				return fmt.Errorf("%s: the log has grown meanwhile", l.in.Name())
			}
			d = t.beginRun(l, n)
			n++
		case requests.TypePhase:
			d.phase(&rec.Phase)
		case requests.TypeRequest:
			t.rows.Add(1)
			t.spans++
			d.request(&rec.Request)
		}
		return nil
	})
	if d != nil {
		d.end()
	}
	t.skipped.Add(l.skipped.Load())
	return err
}

func (t *timeline) beginRun(l *timedLog, n int) *drawnRun {
	name := filepath.Base(l.in.Name())
	if l.in.Name() == "-" {
		name = "requests"
	}
	if len(l.runs) > 1 {
		name = fmt.Sprintf("%s, run %d", name, n+1)
	}
	d := &drawnRun{timeline: t, base: l.runs[n].base, id: fmt.Sprintf("%s %d", l.in.Name(), n)}
	d.root, d.phases = perfetto.TrackOf(d.id), perfetto.TrackOf(d.id, "phases")
	t.w.Describe(d.root, perfetto.Description{Name: name, Rank: slices.Index(t.logs, l)})
	t.w.Describe(d.phases, perfetto.Description{Name: "phases", Parent: d.root})
	return d
}

func (d *drawnRun) at(t trace.Time) int64 {
	unix := d.base + int64(t)
	d.last = max(d.last, unix)
	return unix
}

func (d *drawnRun) phase(e *requests.PhaseEvent) {
	switch {
	case e.Start:
		if d.running != "" { // handed over: it ends here
			d.w.End(d.phases, d.at(e.At))
		}
		d.w.Begin(d.phases, d.at(e.At), e.Phase, perfetto.Note{Name: "kind", Value: string(e.Kind)})
		d.running = e.Phase
	case d.running == e.Phase:
		d.w.End(d.phases, d.at(e.At))
		d.running = ""
	}
}

// request draws a request on a track of its own.
func (d *drawnRun) request(q *trace.Request) {
	track := perfetto.TrackOf(d.id, "request", fmt.Sprint(q.Seq))
	d.w.Describe(track, perfetto.Description{Name: "requests", Parent: d.root, Rank: 3})
	name := "request"
	if q.Outcome != trace.Succeeded {
		name = "request " + string(q.Outcome)
	}
	d.w.Begin(track, d.at(q.Sent), name, notes(q)...)
	first, last := q.FirstToken, q.LastToken
	if first.OK {
		d.w.Begin(track, d.at(q.Sent), "prefill")
		d.w.End(track, d.at(first.V))
		if last.OK && last.V >= first.V {
			d.w.Begin(track, d.at(first.V), "decode")
			d.w.End(track, d.at(last.V))
		}
	}
	d.w.End(track, d.at(q.Done))
	d.flight.spread(d.base+int64(q.Sent), d.base+int64(q.Done), q.Done.Sub(q.Sent).Seconds())
	d.count(q)
}

// count puts the output tokens of a request where they arrived: by the events of its
// stream, else evenly.
func (d *drawnRun) count(q *trace.Request) {
	n, ok := q.OutputTokens.Get()
	if !ok || n == 0 {
		return
	}
	events := q.Outputs()
	switch {
	case q.ChunkTokens:
		for _, c := range q.Chunks {
			at := d.base + int64(c.At)
			d.tokens.spread(at, at, float64(c.Tokens))
		}
	case len(events) > 0:
		for _, c := range events {
			at := d.base + int64(c.At)
			d.tokens.spread(at, at, float64(n)/float64(len(events)))
		}
	case q.LastToken.OK:
		d.tokens.spread(d.base+int64(q.FirstToken.Or(q.Sent)), d.base+int64(q.LastToken.V), float64(n))
	}
}

// notes say of a request what the slices do not. None holds what was asked or answered.
func notes(q *trace.Request) []perfetto.Note {
	list := []perfetto.Note{
		{Name: "seq", Value: q.Seq}, {Name: "line", Value: q.Line}, {Name: "phase", Value: q.Phase}, {Name: "outcome", Value: string(q.Outcome)},
		{Name: "late_nanos", Value: int64(q.Lateness())},
	}
	number := func(name string, v trace.Opt[int64]) {
		if v.OK {
			list = append(list, perfetto.Note{Name: name, Value: v.V})
		}
	}
	text := func(name, s string) {
		if s != "" {
			list = append(list, perfetto.Note{Name: name, Value: s})
		}
	}
	number("input_tokens", q.InputTokens)
	number("output_tokens", q.OutputTokens)
	text("token_source", string(q.TokenSource))
	number("status", trace.Opt[int64]{V: int64(q.Status.V), OK: q.Status.OK})
	text("error_class", string(q.Error.Class))
	text("finish_reason", q.FinishReason)
	text("conversation", q.Conversation)
	number("turn", trace.Opt[int64]{V: int64(q.Turn), OK: q.Conversation != ""})
	return list
}

// end draws what is known only then.
func (d *drawnRun) end() {
	if d.running != "" {
		d.w.End(d.phases, d.last)
	}
	for i, c := range []struct {
		name, unit string
		g          *grid
	}{{"requests in flight", "requests", &d.flight}, {"output tokens", "tokens/s", &d.tokens}} {
		track := perfetto.TrackOf(d.id, c.name)
		d.w.Describe(track, perfetto.Description{Name: c.name, Parent: d.root, Rank: 1 + i, Counter: true, Unit: c.unit})
		c.g.each(func(unixNanos int64, perSecond float64) { d.w.Count(track, unixNanos, perSecond) })
	}
}

// drawnRecording is a recording while it is drawn.
type drawnRecording struct {
	*timeline
	base    int64
	id      string
	hosts   map[string]perfetto.Track
	devices []*drawnDevice
	totals  map[totalKey]*total
}

type drawnDevice struct {
	track   perfetto.Track
	metrics [sample.NumMetrics]struct {
		track perfetto.Track // 0 is none so far
		last  float64
		first float64 // of a counter of energy
	}
	total *total
}

// totalKey is whose power may be added up: readings of one source and scope.
type totalKey struct {
	host   string
	source sample.SourceName
	scope  sample.Scope
}

// total is the power of all devices of a source, scan by scan.
type total struct {
	track   perfetto.Track
	key     totalKey
	known   int             // devices
	scan    map[int]float64 // by device
	at      int64
	last    float64
	written bool
}

func (t *timeline) drawRecording(r *timedRecording) error {
	d := &drawnRecording{timeline: t, base: r.base, id: r.in.Name(), hosts: map[string]perfetto.Track{}, totals: map[totalKey]*total{}}
	err := t.eachBatch(r, false, func(_ telemetries.Reader, b *sample.Batch) {
		for i := range b.Len() {
			d.row(b, i)
		}
	})
	for _, s := range d.totals {
		d.scanned(s)
	}
	return errors.Join(err, t.w.Flush())
}

// row draws a reading, as far as it changes anything.
func (d *drawnRecording) row(b *sample.Batch, i int) {
	d.rows.Add(1)
	place := int(b.Device[i])
	for len(d.devices) <= place {
		d.devices = append(d.devices, nil)
	}
	if b.Devices[place].Scope == sample.ScopeRun {
		return
	}
	if d.devices[place] == nil {
		d.devices[place] = d.device(b.Devices[place])
	}
	dev := d.devices[place]
	at := d.base + int64(b.Time[i])
	for id := range sample.NumMetrics {
		v, ok := value(b, id, i)
		if !ok {
			continue
		}
		m := &dev.metrics[id]
		if id == sample.PowerWatts {
			d.power(dev.total, place, at, v)
		}
		if id == sample.EnergyJoules {
			if m.track == 0 {
				m.first = v
			}
			v -= m.first
		}
		if m.track != 0 && v == m.last {
			continue
		}
		if m.track == 0 {
			info := sample.Metrics[id]
			m.track = perfetto.TrackOf(d.id, fmt.Sprint(dev.track), info.Name)
			d.w.Describe(m.track, perfetto.Description{Name: info.Name, Parent: dev.track, Rank: int(id), Counter: true, Unit: info.Unit})
		}
		m.last = v
		d.w.Count(m.track, at, v)
	}
}

func value(b *sample.Batch, id sample.MetricID, i int) (float64, bool) {
	if sample.Metrics[id].Type == sample.Uint64 {
		v, ok := b.Uint(id, i)
		return float64(v), ok
	}
	return b.Float(id, i)
}

// device describes the tracks of a device, and of its host.
func (d *drawnRecording) device(info sample.Device) *drawnDevice {
	host, ok := d.hosts[info.Host]
	if !ok {
		host = perfetto.TrackOf("host", info.Host)
		d.hosts[info.Host] = host
		name := info.Host
		if name == "" {
			name = "a host without a name"
		}
		d.w.Describe(host, perfetto.Description{Name: name, Rank: len(d.logs)})
	}
	dev := &drawnDevice{track: perfetto.TrackOf(d.id, info.Host, info.ID, string(info.Source), string(info.Scope))}
	d.w.Describe(dev.track, perfetto.Description{
		Name: fmt.Sprintf("%s %d: %s (%s)", info.Scope, info.Index, info.ID, info.Source), Parent: host, Rank: 1000 + info.Index,
	})
	key := totalKey{info.Host, info.Source, info.Scope}
	if d.totals[key] == nil {
		d.totals[key] = &total{key: key, scan: map[int]float64{}}
	}
	dev.total = d.totals[key]
	dev.total.known++
	return dev
}

// power adds a reading to the scan of its source; one of a device that has one already
// begins the next.
func (d *drawnRecording) power(s *total, device int, at int64, watts float64) {
	if _, again := s.scan[device]; again {
		d.scanned(s)
	}
	s.scan[device], s.at = watts, at
}

// scanned draws the power of all devices, if all have a reading.
func (d *drawnRecording) scanned(s *total) {
	if len(s.scan) == s.known && s.known > 1 {
		sum := 0.0
		for _, place := range sortedKeys(s.scan) {
			sum += s.scan[place]
		}
		if s.track == 0 {
			s.track = perfetto.TrackOf(d.id, "total", s.key.host, string(s.key.source), string(s.key.scope))
			d.w.Describe(s.track, perfetto.Description{
				Name: fmt.Sprintf("power of all (%s, %s)", s.key.scope, s.key.source), Parent: d.hosts[s.key.host], Counter: true, Unit: "W",
			})
		}
		if sum != s.last || !s.written {
			d.w.Count(s.track, s.at, sum)
		}
		s.last, s.written = sum, true
	}
	clear(s.scan)
}

func sortedKeys(m map[int]float64) (keys []int) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (t *timeline) report() error {
	if len(t.logs) > 0 {
		t.lost(perfettoOf(ofLog).lost)
	}
	if len(t.tele) > 0 {
		t.lost(perfettoOf(ofRecording).lost)
	}
	rows := int64(0)
	for _, r := range t.tele {
		rows += r.rows
	}
	what := fmt.Sprintf("%d requests, %d readings", t.spans, rows)
	if n := t.skipped.Load(); n > 0 {
		what += fmt.Sprintf(", %d lines skipped", n)
	}
	switch {
	case len(t.faults) > 0:
		return cli.Incompletef("%w; %s", errors.Join(t.faults...), what)
	case t.skipped.Load() > 0:
		return cli.Incompletef("%s", what)
	}
	t.env.Summaryf("%s", what)
	return nil
}
