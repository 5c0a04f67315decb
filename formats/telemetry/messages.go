package telemetry

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

const (
	continuation = 0xFFFFFFFF
	fileMagic    = "ARROW1"
	fileHead     = "ARROW1\x00\x00"
	maxFooter    = 64 << 20
)

// messages takes the bytes of a file apart into Arrow messages and verifies
// each before arrow/go sees it. It is the ipc.MessageReader of one stream after
// another.
type messages struct {
	r      *bufio.Reader
	offset int64   // bytes taken so far
	start  int64   // offset of the latest message
	inFile bool    // the current stream is inside an Arrow file, with a footer after it
	first  bool    // the next message is the first of its stream
	schema message // of the current stream
	dicts  int     // dictionaries that must come next
	err    error   // why Message last failed, but for io.EOF
	meta   []byte
	body   bytes.Buffer
	msg    *ipc.Message
}

func newMessages(r io.Reader) *messages {
	return &messages{r: bufio.NewReaderSize(r, 64<<10)}
}

// Retain and Release do nothing: the garbage collector owns all buffers.
func (m *messages) Retain()  {}
func (m *messages) Release() {}

// begin finds the next stream. At the end of the file it returns io.EOF.
func (m *messages) begin() error {
	m.start, m.first = m.offset, true
	head, err := m.r.Peek(8)
	if len(head) == 0 && errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil && !isCut(err) {
		return &readError{err}
	}
	switch {
	case bytes.Equal(head, []byte(fileHead)):
		m.inFile = true
		m.discard(8)
		return nil
	case len(head) >= 4 && binary.LittleEndian.Uint32(head) == continuation:
		m.inFile = false
		return nil
	case len(head) < 8 && (bytes.HasPrefix([]byte(fileHead), head) || allBytes(head, 0xFF)):
		return cut("it ends inside the start of a stream")
	case allBytes(head, 0):
		return m.zeros()
	}
	return errors.New("no Arrow stream begins here")
}

func (m *messages) discard(n int) {
	k, _ := m.r.Discard(n)
	m.offset += int64(k)
}

// Message returns the next message of the stream, io.EOF at its end marker, and
// any other error also in m.err.
func (m *messages) Message() (*ipc.Message, error) {
	msg, err := m.next()
	if err != nil && err != io.EOF {
		m.err = err
	}
	return msg, err
}

func (m *messages) next() (*ipc.Message, error) {
	m.start = m.offset
	var word [4]byte
	if err := m.full(word[:], "it ends where a message should begin"); err != nil {
		return nil, err
	}
	prefix := binary.LittleEndian.Uint32(word[:])
	if prefix != continuation && m.inFile {
		// Some writers, arrow/go v17 among them, set no end marker before the
		// footer of a file.
		return nil, m.footer(word[:])
	}
	if prefix != continuation {
		if prefix == 0 {
			return nil, m.zeros()
		}
		return nil, errors.New("no Arrow message begins here")
	}
	if err := m.full(word[:], "it ends inside a message's length"); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(word[:])
	if length == 0 {
		if m.inFile {
			return nil, m.footer(nil)
		}
		return nil, io.EOF
	}
	if length > maxMetadata {
		return nil, fmt.Errorf("metadata of %d bytes; at most %d are read", length, maxMetadata)
	}
	return m.read(int(length))
}

// read reads the metadata and the body of a message, verified. The buffers are
// reused: arrow/go copies what it keeps.
func (m *messages) read(length int) (*ipc.Message, error) {
	// A message that was handed out may share m.meta only until now.
	m.meta = append(m.meta[:0], make([]byte, length)...)
	if err := m.full(m.meta, "it ends inside a message's metadata"); err != nil {
		return nil, err
	}
	info, err := verify(m.meta)
	if err != nil {
		return nil, err
	}
	if err := m.order(info); err != nil {
		return nil, err
	}
	m.body.Reset()
	n, err := io.CopyN(&m.body, m.r, info.body) // grows with what is there, not with what is claimed
	m.offset += n
	if err != nil {
		if isCut(err) {
			return nil, cut("it ends inside a message's body")
		}
		return nil, &readError{err}
	}
	if err := verifyBody(info, m.body.Bytes()); err != nil {
		return nil, err
	}
	m.msg = ipc.NewMessage(memory.NewBufferBytes(m.meta), memory.NewBufferBytes(m.body.Bytes()))
	return m.msg, nil
}

// order checks a message against its schema: that every dictionary comes before
// the first rows (arrow/go v17 takes whatever comes there for a dictionary),
// and that a batch has what its columns need.
func (m *messages) order(info message) error {
	want, first := m.schema.columns, m.first
	m.first = false
	if first != (info.kind == headerSchema) {
		return errors.New("a stream has one schema, before everything else")
	}
	switch info.kind {
	case headerSchema:
		m.schema, m.dicts = info, len(info.dictionaries)
		return nil
	case headerDictionary:
		var ok bool
		if want, ok = m.schema.dictionaries[info.dictionary]; !ok {
			return errors.New("a dictionary that no column has")
		}
		m.dicts = max(0, m.dicts-1)
	case headerRecord:
		if m.dicts > 0 {
			return errors.New("rows come before their dictionaries")
		}
	}
	if info.nodes < want.nodes || len(info.buffers) < want.buffers {
		return errors.New("a batch with fewer columns than the schema")
	}
	return nil
}

// footer skips the footer of an Arrow file, of which the first bytes have been
// read. Its content repeats what the messages said. It returns io.EOF.
func (m *messages) footer(read []byte) error {
	footer := bytes.Clone(read)
	for {
		// The footer ends with its own length and the magic.
		if n := len(footer) - len(fileMagic) - 4; n >= 0 && bytes.HasSuffix(footer, []byte(fileMagic)) &&
			int(binary.LittleEndian.Uint32(footer[n:])) == n {
			return io.EOF
		}
		if len(footer) == maxFooter {
			return errors.New("the footer of the Arrow file has no end")
		}
		c, err := m.r.ReadByte()
		if err != nil {
			if isCut(err) {
				return cut("it ends inside the footer of the Arrow file")
			}
			return &readError{err}
		}
		m.offset++
		footer = append(footer, c)
	}
}

// zeros tells a tail of zeros, as some file systems leave after a crash, from
// damage in the middle.
func (m *messages) zeros() error {
	for {
		c, err := m.r.ReadByte()
		switch {
		case err != nil && isCut(err):
			return cut("only zeros follow")
		case err != nil:
			return &readError{err}
		case c != 0:
			return errors.New("zeros where a message should begin")
		}
		m.offset++
	}
}

// full fills p. A file that ends first is cut, for the reason given.
func (m *messages) full(p []byte, reason string) error {
	n, err := io.ReadFull(m.r, p)
	m.offset += int64(n)
	switch {
	case err == nil:
		return nil
	case isCut(err):
		return cut("%s", reason)
	}
	return &readError{err}
}

// A readError is an error of the underlying reader.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// isCut reports whether a read failed because there is no more; a compressed
// layer around the recording says it as io.ErrUnexpectedEOF.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func allBytes(p []byte, c byte) bool {
	for _, b := range p {
		if b != c {
			return false
		}
	}
	return true
}
