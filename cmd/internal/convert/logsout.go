package convert

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/logs"
	"wattrace/formats/logtable"
	"wattrace/formats/parquet"
	"wattrace/formats/requests"
	"wattrace/trace"
)

const noClient = "what the client said of itself, requests that had not ended"

var logForms = []form{
	{
		of: ofLog, name: "parquet", doc: "a row for each request, zstd", lost: noClient, binary: true,
		write: tableTo(func(w io.Writer, t *logtable.Table, _ bool) (recordWriter, error) {
			return parquet.NewWriter(w, t.Schema())
		}),
	},
	{
		of: ofLog, name: "arrow", doc: "the same as an Arrow file (Feather V2)", lost: noClient, binary: true, flags: []string{"compress"},
		write: tableTo(func(w io.Writer, t *logtable.Table, compress bool) (recordWriter, error) {
			return logtable.NewFileWriter(w, t, compress)
		}),
	},
	{
		of: ofLog, name: "csv", doc: "the same without events of streams", lost: noClient + ", events, what the log says of itself",
		write: tableTo(func(w io.Writer, t *logtable.Table, _ bool) (recordWriter, error) {
			return logtable.NewCSVWriter(w, t), nil
		}),
	},
	{of: ofLog, name: "jsonl", doc: "a log of ours, which `reduce` reads", write: (*job).rewrite},
}

// recordWriter takes the rows of a table.
type recordWriter interface {
	Write(arrow.Record) error
	Close() error
}

// What a record of a table holds at most: a record is held in memory.
const (
	tableRows   = 64 << 10
	tableChunks = 1 << 20
)

// openLog opens a log with the file beside it.
func (j *job) openLog(path string) (*logFile, error) {
	in, err := j.open(path)
	if err != nil {
		return nil, err
	}
	return j.openLogInput(in)
}

// openLogInput opens a log that is opened as an input.
func (j *job) openLogInput(in *formats.Input) (_ *logFile, err error) {
	l := &logFile{job: j, in: in}
	codec, ok := logs.ByKind(in.Kind())
	if !ok {
		l.close()
		return nil, fmt.Errorf("%s: is a %s, not a request log", in.Name(), in.Kind())
	}
	if codec.Beside != nil && in.Name() != "-" {
		if path := codec.Beside(in.Name()); path != "" {
			if beside, err := formats.Open(path, nil); err == nil {
				l.beside = beside
				j.env.Reads(path)
			}
		}
	}
	if l.log, err = codec.Open(in, l.beside); err != nil {
		l.close()
		return nil, err
	}
	if why := unplaced(l.log); why != "" {
		l.close()
		return nil, cli.Hint(fmt.Errorf("%s: %s", in.Name(), why), "reduce takes it as it is")
	}
	return l, nil
}

// unplaced says why a log has no place in time, which everything that is written has: "" is
// that it has one.
func unplaced(l *logs.Log) string {
	switch {
	case !l.Requests:
		return "holds no requests, only what its tool states of them"
	case l.Time == logs.Unplaced, l.Time == logs.Framed:
		return "does not say when requests were sent"
	case l.Time == logs.Steady:
		return "has times since the start of a host that it does not name, not those of a clock"
	}
	return ""
}

// logFile is a log that is read, as often as is wanted, as one of ours.
type logFile struct {
	*job
	in, beside *formats.Input
	log        *logs.Log

	skipped atomic.Int64 // lines, in the last pass
	rows    atomic.Int64 // requests, in the last pass
	cut     error        // where it breaks off
}

func (l *logFile) close() {
	if l.beside != nil {
		l.beside.Close()
	}
	l.in.Close()
}

func (l *logFile) status() string {
	return fmt.Sprintf("%d requests, %d lines skipped%s", l.rows.Load(), l.skipped.Load(), left(l.in))
}

// each passes all lines on; without requests, those alone that are no requests.
func (l *logFile) each(withRequests bool, use func(*requests.Record) error) error {
	l.skipped.Store(0)
	l.rows.Store(0)
	l.cut = nil
	text, err := l.log.Reader()
	if err != nil {
		return err
	}
	r := requests.NewReader(&interruptible{ctx: l.ctx, r: text}, l.in.Name())
	r.SkipRequests = !withRequests
	var rec requests.Record
	for {
		err := r.Read(&rec)
		var syntax *trace.SyntaxError
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, requests.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
			l.cut = err
			return nil
		case errors.As(err, &syntax) && l.o.keepGoing:
			if n := l.skipped.Add(1); withRequests {
				showSkipped(l.env, n, err)
			}
			continue
		case err != nil:
			return err
		}
		if rec.Type == requests.TypeRequest {
			l.rows.Add(1)
		}
		if err := use(&rec); err != nil {
			return err
		}
	}
}

// report says what was done, and whether all of it was.
func (l *logFile) report(incomplete bool) error {
	what := fmt.Sprintf("%d requests", l.rows.Load())
	if n := l.skipped.Load(); n > 0 {
		what += fmt.Sprintf(", %d lines skipped", n)
	}
	switch {
	case l.cut != nil:
		return cli.Incompletef("%w; %s", l.cut, what)
	case incomplete:
		return cli.Incompletef("%s: the log is incomplete, it has no close line; %s", l.in.Name(), what)
	case l.skipped.Load() > 0:
		return cli.Incompletef("%s", what)
	}
	l.env.Summaryf("%s", what)
	return nil
}

// tableTo returns what writes a log as a table.
func tableTo(open func(io.Writer, *logtable.Table, bool) (recordWriter, error)) func(*job) error {
	return func(j *job) error {
		path, err := j.one()
		if err != nil {
			return err
		}
		out, err := j.output()
		if err != nil {
			return err
		}
		l, err := j.openLog(path)
		if err != nil {
			return err
		}
		defer l.close()
		stopProgress := j.env.Progress(l.status)
		head, err := l.table(out, open)
		stopProgress()
		if err != nil {
			out.Abort()
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
		j.lost(j.form.lost)
		return l.report(head.Incomplete)
	}
}

// table reads the log twice: for what it says of itself, then its requests.
func (l *logFile) table(out io.Writer, open func(io.Writer, *logtable.Table, bool) (recordWriter, error)) (*logtable.Head, error) {
	head := new(logtable.Head)
	if err := l.each(false, head.Add); err != nil {
		return nil, err
	}
	if err := head.End(); err != nil {
		return nil, fmt.Errorf("%s: %w", l.in.Name(), err)
	}
	t, err := logtable.New(head)
	if err != nil {
		return nil, err
	}
	w, err := open(out, t, l.o.compress)
	if err != nil {
		return nil, err
	}
	chunks := 0
	flush := func() error {
		chunks = 0
		record := t.Record()
		defer record.Release()
		return w.Write(record)
	}
	err = l.each(true, func(rec *requests.Record) error {
		if rec.Type == requests.TypeRequest {
			chunks += len(rec.Request.Chunks)
		}
		if err := t.Add(rec); err != nil {
			return fmt.Errorf("%s: %w", rec.Pos, err)
		}
		if t.Rows() >= tableRows || chunks >= tableChunks {
			return flush()
		}
		return nil
	})
	if err == nil && t.Rows() > 0 {
		err = flush()
	}
	if err != nil {
		return nil, err
	}
	return head, w.Close()
}

// rewrite writes a log of any format as one of ours.
func (j *job) rewrite() error {
	path, err := j.one()
	if err != nil {
		return err
	}
	out, err := j.output()
	if err != nil {
		return err
	}
	l, err := j.openLog(path)
	if err != nil {
		return err
	}
	defer l.close()
	w := requests.NewWriter(out)
	closed, incomplete, runs := false, false, 0
	stopProgress := j.env.Progress(l.status)
	err = l.each(true, func(rec *requests.Record) error {
		switch rec.Type {
		case requests.TypeRun:
			incomplete = incomplete || runs > 0 && !closed
			runs++
			closed = false
		case requests.TypeClose:
			closed = true
		}
		return write(w, rec)
	})
	stopProgress()
	if err == nil && runs == 0 {
		err = fmt.Errorf("%s: the log has no run line", l.in.Name())
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		out.Abort()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return l.report(incomplete || !closed)
}

// write writes a line of a log.
func write(w *requests.Writer, rec *requests.Record) error {
	switch rec.Type {
	case requests.TypeRun:
		return w.Run(&rec.Run)
	case requests.TypePhase:
		return w.Phase(&rec.Phase)
	case requests.TypeSent:
		return w.Sent(&rec.Sent)
	case requests.TypeRequest:
		return w.Request(&rec.Request)
	case requests.TypeClock:
		return w.Clock(rec.Clock)
	case requests.TypeClient:
		return w.Client(&rec.Client)
	}
	return w.Close(&rec.Close)
}
