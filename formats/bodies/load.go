package bodies

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"wattrace/formats"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// A Trace is a trace of another tool as bodies. Each Turn has the position of its row.
// SHA256 is that of the raw_payload file that convert would write.
type Trace struct {
	trace.Trace
	Format       string // the codec's name
	SourceSHA256 string // of what was read, decompressed
	Lost         string // what of the format does not get into a trace; "" is nothing
	Omissions    []formats.Omission
}

// LeftOut says what was left out of the trace; "" is nothing.
func (t *Trace) LeftOut() string { return Omitted(t.Omissions) }

// Omitted lists omissions, as "3 conversations without a question, 1 paths".
func Omitted(all []formats.Omission) string {
	var parts []string
	for _, o := range all {
		if o.N > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", o.N, o.What))
		}
	}
	return strings.Join(parts, ", ")
}

// ErrNoRows is the fault of a trace in which there is no request.
var ErrNoRows = errors.New("no row to convert")

// Load makes all bodies of an input in the format of codec. They are kept in a temporary file
// without a name, which is mapped into memory: payloads are valid until the closer, which is
// never nil without an error, is closed. The input may be closed before.
//
// The first fault of a row ends it. progress, if it is not nil, is told of each request.
func Load(in *formats.Input, codec traces.Codec, m *Maker, progress func()) (*Trace, io.Closer, error) {
	f, err := formats.SpoolFile()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: no temporary file for its bodies: %w", in.Name(), err)
	}
	l := &loader{name: in.Name(), m: m, out: trace.NewWriter(f), hash: sha256.New(), seen: map[seat]bool{}, side: trace.NewTimingWriter(io.Discard)}
	if err := l.read(in, codec, progress); err != nil {
		f.Close()
		return nil, nil, err
	}
	return l.trace(f, codec)
}

// Faults returns the faults of an input's rows, those that Load would end with one after another.
func Faults(in *formats.Input, codec traces.Codec, m *Maker) (all []error) {
	l := &loader{name: in.Name(), m: m, out: trace.NewWriter(io.Discard), hash: sha256.New(), seen: map[seat]bool{}, side: trace.NewTimingWriter(io.Discard)}
	l.fault = func(err error) { all = append(all, err) }
	l.read(in, codec, nil) // the error is among them, or there is none of a row
	return all
}

// A loader makes the bodies of a trace.
type loader struct {
	name  string
	m     *Maker
	out   *trace.Writer
	side  *trace.TimingWriter // checks what a side file would say
	hash  hash.Hash           // of the input
	fault func(error)         // told of each row's fault; nil ends with the first

	turns     []trace.Turn
	sizes     []int // of their bodies
	seen      map[seat]bool
	omissions []formats.Omission
}

// seat is a turn's place in its conversation.
type seat struct {
	conversation string
	turn         int
}

// read reads the input to its end.
func (l *loader) read(in *formats.Input, codec traces.Codec, progress func()) error {
	content := io.TeeReader(in.Stream(), l.hash)
	r := codec.Open(content, l.name, l.m.Codec())
	var row formats.Request
	var body, ids = []byte(nil), []int32(nil)
	for {
		row.IDs = ids[:0]
		err := r.Read(&row)
		if cap(row.IDs) > cap(ids) {
			ids = row.IDs
		}
		if err == io.EOF {
			break
		}
		if err == nil {
			body, err = l.row(body[:0], &row)
		}
		var syntax *trace.SyntaxError
		if errors.As(err, &syntax) && l.fault != nil {
			l.fault(err)
			continue
		}
		if err != nil {
			return err
		}
		if progress != nil {
			progress()
		}
	}
	if _, err := io.Copy(io.Discard, content); err != nil { // what stands behind a document
		return err
	}
	l.omissions = l.m.Omissions()
	if o, ok := r.(formats.Omitter); ok {
		l.omissions = append(o.Omissions(), l.omissions...)
	}
	left := Omitted(l.omissions)
	switch {
	case len(l.turns) == 0 && left != "":
		return fmt.Errorf("%s: no request is left: %s", l.name, left)
	case len(l.turns) == 0:
		return fmt.Errorf("%s: %w", l.name, ErrNoRows)
	}
	return l.out.Flush()
}

// row makes the body of a row and a turn of it.
func (l *loader) row(body []byte, row *formats.Request) ([]byte, error) {
	body, err := l.m.Append(body, row)
	if err != nil {
		return body, err
	}
	endpoint, err := trace.CheckPayload(body)
	if err == nil {
		err = l.side.Write(trace.TimingEntry{Line: int64(len(l.turns)) + 1, Conversation: row.Conversation, Turn: row.Turn, Timing: row.Timing})
		if err != nil {
			return body, FaultOf(row, err)
		}
		err = l.out.Copy(body)
	}
	if err != nil {
		return body, Unwritten(row, false, err)
	}
	if row.Conversation != "" {
		s := seat{row.Conversation, row.Turn}
		if l.seen[s] {
			return body, FaultOf(row, fmt.Errorf("turn %d of this conversation was there before", row.Turn+1))
		}
		l.seen[s] = true
	}
	l.turns = append(l.turns, trace.Turn{Endpoint: endpoint, Pos: row.Pos, Conversation: row.Conversation, Index: row.Turn, Timing: row.Timing})
	l.sizes = append(l.sizes, len(body))
	return body, nil
}

// trace maps the bodies, which are in f, into memory.
func (l *loader) trace(f *os.File, codec traces.Codec) (*Trace, io.Closer, error) {
	made := formats.Spooled(l.name, f)
	data, err := made.Bytes()
	if err == nil {
		var sum string
		sum, err = made.SHA256()
		if err == nil {
			for i, n := range l.sizes {
				l.turns[i].Payload = data[:n:n]
				data = data[n+1:]
			}
			return &Trace{
				Trace:  trace.Trace{Path: l.name, SHA256: sum, Turns: l.turns},
				Format: codec.Name, SourceSHA256: hex.EncodeToString(l.hash.Sum(nil)), Lost: codec.Lost, Omissions: l.omissions,
			}, made, nil
		}
	}
	made.Close()
	return nil, nil, err
}
