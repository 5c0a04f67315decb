package requests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"wattrace/trace"
)

// Reader reads logs, one or many after another. It is not safe for concurrent
// use.
type Reader struct {
	// SkipRequests passes over the lines of requests, sent and ended, without
	// looking into them: what else a log holds is a thousandth of it.
	SkipRequests bool

	lines      lines
	name       string
	p          parser
	targets    int // of the current run
	runs       int
	open       bool
	incomplete int
	usage      []byte // a buffer that waits for the next usage object
	metrics    []byte // the same for server_metrics
	kinds      []byte // chunk_kinds of the line
	tokens     []byte // chunk_tokens of the line
	nanos      []byte // chunk_nanos of the line
}

// NewReader returns a Reader of r; name is the file's, for messages.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{lines: lines{r: r}, name: name, targets: -1}
}

// Incomplete returns how many of the logs read so far had no close line. A log
// that is being read counts once the next one has begun or Read has returned
// io.EOF.
func (r *Reader) Incomplete() int { return r.incomplete }

// Runs returns how many logs have begun in what was read so far.
func (r *Reader) Runs() int { return r.runs }

// Read reads the next line of a known type into rec; lines of other types are
// skipped. Slices of rec are reused: they are valid until the next Read into the
// same rec. The error is io.EOF at the end, *trace.SyntaxError for a line that
// is wrong, after which reading can go on, and otherwise the reader's. A last
// line that was cut off is a *trace.SyntaxError that wraps ErrTruncated.
func (r *Reader) Read(rec *Record) error {
	for {
		line, ended, err := r.lines.next()
		if err == io.EOF {
			r.ends()
			return io.EOF
		}
		if err != nil && err != errLong {
			return err
		}
		rec.Pos = trace.Pos{File: r.name, Line: r.lines.line}
		if err == errLong {
			return &trace.SyntaxError{Pos: rec.Pos, Err: err}
		}
		if len(bytes.TrimSpace(line)) == 0 || r.SkipRequests && ended && r.targets >= 0 && isRequest(line) {
			continue
		}
		known, err := r.parse(line, rec)
		if err != nil && !ended {
			err = ErrTruncated
		}
		if err != nil {
			pos := rec.Pos
			if err != ErrTruncated {
				pos.Col = r.p.at + 1
			}
			return &trace.SyntaxError{Pos: pos, Err: err}
		}
		if known {
			return nil
		}
	}
}

// isRequest reports whether a line is plainly one of a request.
func isRequest(line []byte) bool {
	return bytes.HasPrefix(line, []byte(`{"type":"request",`)) || bytes.HasPrefix(line, []byte(`{"type":"sent",`))
}

// ends notes that a log is over.
func (r *Reader) ends() {
	if r.open {
		r.incomplete++
	}
	r.open = false
}

// parse reads one line; it reports whether its type is known.
func (r *Reader) parse(line []byte, rec *Record) (known bool, err error) {
	p := &r.p
	p.reset(line)
	if !utf8.Valid(line) {
		p.fail(invalid(line), "invalid UTF-8")
		return false, p.err
	}
	rec.Type = r.typeOf()
	p.i = 0
	if p.err == nil && r.targets < 0 && rec.Type != TypeRun {
		switch {
		case r.runs == 0:
			p.fail(0, "%w", errNoRun)
		case slices.Contains(types, rec.Type):
			p.fail(0, "%w", errNoNextRun)
		}
	}
	known = true
	if p.err == nil {
		known = r.read(rec)
	}
	p.end()
	if p.err != nil {
		if rec.Type == TypeRun { // whose clock is not known, and the one before it is another
			r.ends()
			r.targets = -1
		}
		return false, p.err
	}
	switch rec.Type {
	case TypeRun:
		r.ends()
		r.open, r.targets = true, len(rec.Run.Targets)
		r.runs++
	case TypeClose:
		r.open, r.targets = false, -1
	}
	return known, nil
}

// read reads the line of rec.Type into its member.
func (r *Reader) read(rec *Record) bool {
	p := &r.p
	switch rec.Type {
	case TypeRequest:
		r.request(&rec.Request)
	case TypeSent:
		p.sent(&rec.Sent)
	case TypePhase:
		p.phase(&rec.Phase)
	case TypeRun:
		p.run(&rec.Run)
	case TypeClock:
		rec.Clock = trace.ClockSnapshot{}
		p.snapshot("the line", &rec.Clock, 1<<kAt)
	case TypeClient:
		p.client(&rec.Client)
	case TypeClose:
		p.close(&rec.Close)
	default:
		p.skip()
		return false
	}
	return true
}

// types are those that are known, the most frequent first.
var types = []Type{TypeRequest, TypeSent, TypePhase, TypeClock, TypeClient, TypeClose, TypeRun}

// typeOf returns the type of the line: the first key, but where another
// program has sorted the keys.
func (r *Reader) typeOf() Type {
	const head = `{"type":"`
	p := &r.p
	if bytes.HasPrefix(p.b, []byte(head)) {
		rest := p.b[len(head):]
		for _, t := range types {
			if len(rest) > len(t) && rest[len(t)] == '"' && string(rest[:len(t)]) == string(t) {
				return t
			}
		}
	}
	var t Type
	p.object("the line", []string{"type"}, 1, func(int) { t = Type(p.text("type")) })
	return t
}

// invalid returns the index of the first byte that is not UTF-8.
func invalid(b []byte) int {
	for i := 0; i < len(b); {
		c, n := utf8.DecodeRune(b[i:])
		if c == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return 0
}

// checkSchema refuses other schemas and later versions of ours.
func checkSchema(s string) error {
	number, ok := strings.CutPrefix(s, "wattrace.requests/")
	n, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil || n < 1:
		return fmt.Errorf("the schema is not that of a request log (%s)", Schema)
	case n > 1:
		return fmt.Errorf("the log has schema %s%d; this program reads up to %s", "wattrace.requests/", n, Schema)
	}
	return nil
}

var (
	errNoRun     = errors.New("the log does not begin with a run line")
	errNoNextRun = errors.New("the run line before this line is missing or damaged, and so its clock is not known")
)

var errOverflow = errors.New("the times of the chunks are out of range")

const (
	any64 = math.MinInt64
	max64 = math.MaxInt64
	max53 = 1 << 53 // counts: exact in every reader

	maxInstant = 1<<61 - 1 // 73 years
)
