package traces

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"wattrace/formats"
	"wattrace/trace"
)

// A RawReader reads a raw_payload trace with its side file in step, in the memory of
// a row. The side file must be in the order of the trace, which Load does not need.
type RawReader struct {
	lines  *trace.Reader
	turn   trace.Turn
	files  []string // conversations of a directory that are still to be read
	dir    string   // "" is a file
	closer io.Closer

	conversation string // of a directory, and its turns so far
	index        int

	side    *trace.TimingReader // nil without one
	entry   trace.TimingEntry
	waiting bool // entry belongs to this row or a later one
	sideEnd bool
	bad     map[place]bool // turns since the last good one that are none, whose entries go with them
}

// place is where a turn is: a line of a file, or a turn of a directory.
type place struct {
	line         int64
	conversation string
	turn         int
}

// NewRawReader returns a reader of the trace r and of its side file, which may be
// nil. Positions have the given names.
func NewRawReader(r io.Reader, name string, side io.Reader, sideName string) *RawReader {
	raw := &RawReader{lines: trace.NewReader(r, name)}
	raw.setSide(side, sideName)
	return raw
}

// NewDirectoryReader returns a reader of a directory of conversations.
func NewDirectoryReader(dir string, side io.Reader, sideName string) (*RawReader, error) {
	names, err := conversationFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: dir}, Err: errNoConversations}
	}
	raw := &RawReader{dir: dir, files: names}
	raw.setSide(side, sideName)
	return raw, nil
}

func (r *RawReader) setSide(side io.Reader, name string) {
	if side != nil {
		r.side = trace.NewTimingReader(side, name)
	}
}

var errNoConversations = errors.New("the directory has no *.jsonl")

// conversationFiles returns the names of a directory's conversations, as the shell's
// *.jsonl, in bytewise order.
func conversationFiles(dir string) (names []string, _ error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), conversationSuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			return nil, fmt.Errorf("%s: is no regular file", path) // reading a named pipe would wait for whoever writes
		}
		names = append(names, e.Name())
	}
	return names, nil
}

const conversationSuffix = ".jsonl"

// Read reads the next turn, as formats.RequestReader says. Its Body was checked.
func (r *RawReader) Read(dst *formats.Request) error {
	for {
		if r.lines == nil {
			if err := r.open(); err != nil {
				*dst = formats.Request{}
				return cmp.Or(r.leftover(err), err)
			}
		}
		err := r.lines.Read(&r.turn)
		*dst = formats.Request{Pos: r.turn.Pos}
		switch {
		case err == io.EOF && r.dir != "":
			r.Close()
			continue
		case err == io.EOF:
			return cmp.Or(r.leftover(err), err)
		case err != nil:
			r.spoil(err)
			return err
		}
		break
	}
	defer clear(r.bad)
	dst.Body, dst.Conversation = r.turn.Payload, r.conversation
	if r.dir != "" {
		dst.Turn = r.index
		r.index++
	}
	return r.timing(dst)
}

// spoil notes that a turn is none.
func (r *RawReader) spoil(err error) {
	if r.bad == nil {
		r.bad = map[place]bool{}
	}
	if r.dir != "" {
		r.bad[place{conversation: r.conversation, turn: r.index}] = true
		r.index++
		return
	}
	r.bad[place{line: int64(r.turn.Pos.Line)}] = true
	var syntax *trace.SyntaxError
	if errors.As(err, &syntax) {
		r.bad[place{line: int64(syntax.Pos.Line)}] = true
	}
}

// spoiled reports whether the entry is of a turn that is none.
func (r *RawReader) spoiled() bool {
	if r.dir != "" {
		return r.bad[place{conversation: r.entry.Conversation, turn: r.entry.Turn}]
	}
	return r.bad[place{line: r.entry.Line}]
}

// open opens the next conversation of a directory.
func (r *RawReader) open() error {
	if len(r.files) == 0 {
		return io.EOF
	}
	path := filepath.Join(r.dir, r.files[0])
	in, err := formats.Open(path, nil)
	if err != nil {
		return err
	}
	r.lines, r.closer = trace.NewReader(in.Stream(), path), in
	r.conversation, r.index = strings.TrimSuffix(r.files[0], conversationSuffix), 0
	r.files = r.files[1:]
	return nil
}

// Close closes the file of a directory that is open.
func (r *RawReader) Close() error {
	if r.closer == nil {
		return nil
	}
	err := r.closer.Close()
	r.closer, r.lines = nil, nil
	return err
}

// timing adds what the side file says of a row.
func (r *RawReader) timing(dst *formats.Request) error {
	if err := r.next(); err != nil || !r.waiting {
		return err
	}
	e := &r.entry
	order := 0
	switch {
	case r.dir == "" && e.Line == 0:
		return r.fault(`"line" is missing, by which the turns of a file go`)
	case r.dir != "" && e.Line != 0:
		return r.fault(`"line" in the side file of a directory, whose turns go by "conversation" and "turn"`)
	case r.dir == "":
		order = cmp.Compare(e.Line, int64(dst.Pos.Line))
	default: // files are in the order of their whole names
		order = cmp.Or(cmp.Compare(e.Conversation+conversationSuffix, dst.Conversation+conversationSuffix), cmp.Compare(e.Turn, dst.Turn))
	}
	switch {
	case order < 0 && r.spoiled():
		r.waiting = false
		return r.timing(dst)
	case order < 0:
		return r.fault("the trace has no such turn, or not in this order")
	case order > 0:
		return nil
	}
	r.waiting = false
	dst.Timing = e.Timing
	if r.dir == "" {
		dst.Conversation, dst.Turn = e.Conversation, e.Turn
	}
	return nil
}

// next reads the side file on, if nothing of it waits.
func (r *RawReader) next() error {
	if r.side == nil || r.waiting || r.sideEnd {
		return nil
	}
	err := r.side.Read(&r.entry)
	r.waiting, r.sideEnd = err == nil, err == io.EOF
	if err == io.EOF {
		return nil
	}
	return err
}

func (r *RawReader) fault(what string) error {
	r.waiting = false
	pos := r.entry.Pos
	pos.Col = 1
	return &trace.SyntaxError{Pos: pos, Err: errors.New(what)}
}

// leftover is the fault of a side file that says more than there is, at the end of
// the trace.
func (r *RawReader) leftover(err error) error {
	if err != io.EOF {
		return nil
	}
	if err := r.next(); err != nil || !r.waiting {
		return err
	}
	if r.spoiled() {
		r.waiting = false
		return r.leftover(err)
	}
	return r.fault("the trace has no such turn, or not in this order")
}

// OpenSide opens the side file of a trace: timing, or if that is "" the one beside
// path, if there is one; else the Input is nil.
func OpenSide(path, timing string, stdin io.Reader) (*formats.Input, string, error) {
	explicit := timing != ""
	if !explicit && path != "-" {
		timing = trace.TimingPath(path)
	}
	if timing == "" {
		return nil, "", nil
	}
	in, err := formats.Open(timing, stdin)
	if !explicit && errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	return in, timing, err
}

// IsConversations reports whether a directory has nothing but conversations.
func IsConversations(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), conversationSuffix) {
			return false, nil
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return false, err
		}
		head := make([]byte, 1)
		n, _ := f.Read(head)
		f.Close()
		if !bytes.Equal(head[:n], []byte("{")) {
			return false, nil
		}
	}
	return true, nil
}
