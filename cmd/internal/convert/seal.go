package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/aiperf"
	"wattrace/formats/parquet"
	"wattrace/formats/telemetries"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// batchRows is the rows of a batch of a sealed recording.
const batchRows = 64 << 10

// rowWriter takes the rows of a recording, in large batches.
type rowWriter interface {
	Write(b *sample.Batch) error
	Close() error
}

// openRows begins a sealed recording.
type openRows func(w io.Writer, s telemetry.Summary, compress bool) (rowWriter, error)

// noSelf is what the formats of rows alone leave out.
const noSelf = "what the recording says of itself"

var sealForms = []form{
	{of: ofRecording, name: "parquet", doc: "all rows in one file of one schema, zstd", binary: true, write: sealAs(newParquet)},
	{
		of: ofRecording, name: "arrow", doc: "all rows in one Arrow file (Feather V2), which `reduce` reads", binary: true, flags: []string{"compress"},
		write: sealAs(func(w io.Writer, s telemetry.Summary, compress bool) (rowWriter, error) {
			return telemetry.NewFileWriter(w, s, compress)
		}),
	},
	{
		of: ofRecording, name: "csv", doc: "the rows, a column for each metric", lost: noSelf,
		write: sealAs(func(w io.Writer, s telemetry.Summary, _ bool) (rowWriter, error) { return telemetry.NewCSVWriter(w, s) }),
	},
	{
		of: ofRecording, name: "jsonl", doc: "the rows, an object each", lost: noSelf,
		write: sealAs(func(w io.Writer, s telemetry.Summary, _ bool) (rowWriter, error) {
			return telemetry.NewJSONLWriter(w, s), nil
		}),
	},
	{
		of: ofRecording, name: "aiperf", doc: "aiperf's gpu_telemetry_export.jsonl: a line for each reading of a GPU",
		lost: "devices that are no GPU, second sources, metrics that aiperf has no name for, what the recording says of itself",
		write: sealAs(func(w io.Writer, s telemetry.Summary, _ bool) (rowWriter, error) {
			return aiperf.NewTelemetryWriter(w, s.Head.Devices, s.Head.Clock.Anchor.UnixNanos), nil
		}),
	},
}

// parquetWriter is the Arrow table of a recording, as Parquet.
type parquetWriter struct {
	*parquet.Writer
	table *telemetry.Table
}

func newParquet(w io.Writer, s telemetry.Summary, _ bool) (rowWriter, error) {
	table, err := telemetry.NewTable(s)
	if err != nil {
		return nil, err
	}
	p, err := parquet.NewWriter(w, table.Schema())
	return parquetWriter{p, table}, err
}

func (w parquetWriter) Write(b *sample.Batch) error {
	record, err := w.table.Record(b)
	if err != nil {
		return err
	}
	defer record.Release()
	return w.Writer.Write(record)
}

// sealing is one run of the tool on a recording.
type sealing struct {
	ctx       context.Context
	env       *cli.Env
	keepGoing bool
	inputs    telemetries.Options

	parts   []*part // in the order of time
	summary telemetry.Summary
	faults  []error // why it is incomplete
	skipped int64   // rows that cannot be read
	left    int64   // rows that the form has no place for

	seen, rows atomic.Int64                  // read so far by the first pass; written
	writing    atomic.Int64                  // when that began, Unix nanoseconds
	only       atomic.Pointer[formats.Input] // the input, where there is one
}

// part is one file of the recording.
type part struct {
	*recordingFile
	headed bool // its head could be read
	clock  trace.Clock
	first  trace.Time // of its first row, or of its head where it has none
	rows   int64      // that can be read, and are sealed
	places []int32    // of its devices in the summary

	head      telemetry.Head
	snapshots []trace.ClockSnapshot
	holes     []telemetry.Hole
	end       *telemetry.End
	marks     bool
}

// sealAs returns what seals recordings.
func sealAs(open openRows) func(*job) error {
	return func(j *job) error {
		inputs, err := j.o.inputs()
		if err != nil {
			return err
		}
		out, err := j.output()
		if err != nil {
			return err
		}
		s := &sealing{ctx: j.ctx, env: j.env, keepGoing: j.o.keepGoing, inputs: inputs}
		defer s.close()
		stopProgress := j.env.Progress(s.status)
		err = s.read(j)
		if err == nil {
			err = s.write(out, open, j.o.compress)
		}
		stopProgress()
		if err != nil {
			out.Abort()
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
		j.lost(j.form.lost)
		return s.report()
	}
}

func (s *sealing) close() {
	for _, p := range s.parts {
		p.in.Close()
	}
}

func (s *sealing) status() string {
	if rows, all := s.rows.Load(), s.seen.Load(); rows > 0 {
		since := time.Since(time.Unix(0, s.writing.Load()))
		return fmt.Sprintf("%d of %d rows written, %v left", rows, all, time.Duration(float64(since)/float64(rows)*float64(max(0, all-rows))).Round(time.Second))
	}
	return fmt.Sprintf("%d rows read%s", s.seen.Load(), left(s.only.Load()))
}

// read reads all files once, for what the whole says of itself.
func (s *sealing) read(j *job) error {
	var files []*recordingFile
	for _, path := range j.paths {
		file, err := j.openRecording(path)
		if err != nil {
			return err
		}
		p := &part{recordingFile: file}
		if len(j.paths) == 1 {
			s.only.Store(file.in)
		}
		files = append(files, file)
		s.parts = append(s.parts, p)
		if err := s.survey(p); err != nil {
			return err
		}
	}
	if err := j.refuseUnwanted(files); err != nil {
		return err
	}
	whole := s.parts[:0:0]
	for _, p := range s.parts {
		if p.headed { // one that breaks off in its head adds nothing
			whole = append(whole, p)
		} else {
			p.in.Close()
		}
	}
	if s.parts = whole; len(whole) == 0 {
		return s.faults[0]
	}
	slices.SortStableFunc(whole, func(a, b *part) int { return cmp.Compare(a.first, b.first) })
	for i, p := range whole[1:] {
		before := whole[i]
		switch {
		case !p.clock.Same(before.clock):
			return cli.Hint(fmt.Errorf("%s: is of another recording than %s", p.in.Name(), before.in.Name()), "seal each on its own; files of one are those of record --rotate")
		case p.first == before.first && p.rows > 0 && before.rows > 0:
			return fmt.Errorf("%s: is the same recording as %s", p.in.Name(), before.in.Name())
		}
	}
	s.sumUp()
	return nil
}

// survey reads a file to its end.
func (s *sealing) survey(p *part) error {
	r, err := p.open(s.inputs)
	if err != nil && r == nil {
		return s.unopened(err)
	}
	var has [sample.NumMetrics]bool
	var last trace.Time
	for b := new(sample.Batch); ; {
		if s.ctx.Err() != nil {
			return cli.ErrInterrupted
		}
		if err = r.Read(b); err != nil {
			if telemetries.Judge(err) == telemetries.Skipped && s.skip(err) {
				continue
			}
			break
		}
		if p.rows == 0 && b.Len() > 0 {
			p.first = b.Time[0]
		}
		p.rows += int64(b.Len())
		s.seen.Add(int64(b.Len()))
		p.marks = p.marks || slices.ContainsFunc(b.Mark, func(m sample.Mark) bool { return m.Event != "" })
		for id := range b.Columns {
			has[id] = has[id] || slices.Contains(b.Columns[id].Valid, true)
		}
		for i, at := range b.Time {
			last = max(last, at.Add(b.Took[i]))
		}
	}
	if err != io.EOF {
		if err := s.broken(err); err != nil {
			return err
		}
	}
	first := r.Head().Clock
	if slices.ContainsFunc(r.Clocks(), func(c trace.Clocks) bool { return !c.Clock.Same(first) }) {
		return fmt.Errorf("%s: holds several recordings one after the other; one schema has one clock", p.in.Name())
	}
	p.clock, p.headed = first, true
	if own := telemetries.Own(r); own != nil {
		p.head, p.snapshots, p.holes = own.Head(), own.Snapshots(), own.Holes()
		if p.rows == 0 {
			p.first = p.snapshots[0].At
		}
		if end, ok := own.End(); ok {
			p.end = &end
		}
		return nil
	}
	if p.rows == 0 {
		return fmt.Errorf("%s: holds no rows", p.in.Name())
	}
	p.describe(r, has, last, err == io.EOF)
	return nil
}

// describe makes of what another tool's log says of itself what a recording would: there
// is no clock but the wall clock of its stamps.
func (p *part) describe(r telemetries.Reader, has [sample.NumMetrics]bool, last trace.Time, whole bool) {
	h := r.Head()
	start := trace.ClockSnapshot{UnixNanos: h.Clock.Anchor.UnixNanos}
	end := trace.ClockSnapshot{At: last, UnixNanos: start.UnixNanos + int64(last)}
	p.head = telemetry.Head{Producer: cli.Producer(), Clock: h.Clock, Info: h.Info, TimeSync: h.TimeSync, Devices: h.Devices, Snapshot: start}
	for id, ok := range has {
		if ok {
			p.head.Metrics = append(p.head.Metrics, sample.MetricID(id))
		}
	}
	p.snapshots = []trace.ClockSnapshot{start, end}
	if whole {
		p.end = &telemetry.End{Rows: p.rows, Clean: r.Clean(), Snapshot: end}
	}
}

// unopened decides what it means that a file cannot be read from its start.
func (s *sealing) unopened(err error) error {
	switch fault := telemetries.Judge(err); {
	case s.ctx.Err() != nil:
		return cli.ErrInterrupted
	case fault != telemetries.Truncated:
		return hinted(err)
	}
	s.faults = append(s.faults, err)
	return nil
}

// broken decides what it means that a file cannot be read on; nil is that what precedes
// it is sealed.
func (s *sealing) broken(err error) error {
	switch fault := telemetries.Judge(err); {
	case s.ctx.Err() != nil:
		return cli.ErrInterrupted
	case fault == telemetries.Damaged && s.keepGoing, fault == telemetries.Truncated:
		s.faults = append(s.faults, err)
		return nil
	}
	return hinted(err)
}

// skip leaves out a row that cannot be read, if that is wanted.
func (s *sealing) skip(err error) bool {
	if !s.keepGoing {
		return false
	}
	s.skipped++
	showSkipped(s.env, s.skipped, err)
	return true
}

// sumUp joins what the files say.
func (s *sealing) sumUp() {
	sum := telemetry.Summary{Head: s.parts[0].head}
	sum.Head.Devices, sum.Head.Metrics = nil, nil
	sum.End = s.parts[0].end
	for i, p := range s.parts {
		sum.Marks = sum.Marks || p.marks
		sum.Snapshots = append(sum.Snapshots, p.snapshots...)
		sum.Holes = append(sum.Holes, p.holes...)
		sum.Head.Metrics = append(sum.Head.Metrics, p.head.Metrics...)
		for _, d := range p.head.Devices {
			p.places = append(p.places, s.place(&sum.Head, d))
		}
		switch {
		case p.end == nil || sum.End == nil || len(s.faults) > 0 || s.skipped > 0:
			sum.End = nil
		case i > 0:
			end := sum.End.Join(*p.end)
			sum.End = &end
		}
	}
	slices.Sort(sum.Head.Metrics)
	sum.Head.Metrics = slices.Compact(sum.Head.Metrics)
	s.summary = sum
}

// place finds a device in the summary, or adds it. One schema has one description
// of each: the latest.
func (s *sealing) place(h *telemetry.Head, d sample.Device) int32 {
	i := slices.IndexFunc(h.Devices, func(e sample.Device) bool {
		return e.Host == d.Host && e.ID == d.ID && e.Source == d.Source && e.Scope == d.Scope
	})
	if i < 0 {
		h.Devices = append(h.Devices, d)
		return int32(len(h.Devices) - 1)
	}
	if h.Devices[i] != d {
		s.env.Printf("device %s: what is said of it changes; the latest is kept", d.ID)
		h.Devices[i] = d
	}
	return int32(i)
}

// write reads all files again, and writes their rows.
func (s *sealing) write(out io.Writer, open openRows, compress bool) error {
	w, err := open(out, s.summary, compress)
	if err != nil {
		return err
	}
	s.writing.Store(time.Now().UnixNano())
	full := &sample.Batch{Devices: s.summary.Head.Devices}
	flush := func() error {
		if full.Len() == 0 {
			return nil
		}
		err := w.Write(full)
		s.rows.Add(int64(full.Len()))
		full.Reset()
		return err
	}
	b := new(sample.Batch)
	for _, p := range s.parts {
		r, err := p.open(s.inputs)
		if err != nil {
			return err
		}
		// A file that grows meanwhile is sealed as it was.
		for left := p.rows; left > 0; left -= int64(b.Len()) {
			if s.ctx.Err() != nil {
				return cli.ErrInterrupted
			}
			err := r.Read(b)
			for err != nil && s.keepGoing && telemetries.Judge(err) == telemetries.Skipped {
				err = r.Read(b)
			}
			if err != nil {
				return fmt.Errorf("reading it again: %w", err)
			}
			for i, d := range b.Device {
				b.Device[i] = p.places[d]
			}
			for from := 0; from < b.Len(); {
				to := min(b.Len(), from+batchRows-full.Len())
				full.AppendRows(b, from, to)
				from = to
				if full.Len() == batchRows {
					if err := flush(); err != nil {
						return err
					}
				}
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if l, ok := w.(interface{ Left() int64 }); ok {
		s.left = l.Left()
	}
	return w.Close()
}

// report says what was done, and whether all of it was.
func (s *sealing) report() error {
	devices := "1 device"
	if n := len(s.summary.Head.Devices); n != 1 {
		devices = fmt.Sprintf("%d devices", n)
	}
	what := fmt.Sprintf("%d rows of %s", s.rows.Load(), devices)
	if s.left > 0 {
		what += fmt.Sprintf(", %d of them left out: they are of no GPU, of one that another source reads too, or without a value that the format has", s.left)
	}
	if s.skipped > 0 {
		what += fmt.Sprintf(", %d rows skipped", s.skipped)
	}
	switch {
	case len(s.faults) > 0:
		return cli.Incompletef("%w; %s", errors.Join(s.faults...), what)
	case s.skipped > 0:
		return cli.Incompletef("%s", what)
	}
	s.env.Summaryf("%s", what)
	return nil
}
