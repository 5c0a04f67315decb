package formats

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync/atomic"
	"time"
)

// maxHead is how much of the content is looked at to find the kind out: a
// first object longer than that is judged by the keys that it begins with.
const maxHead = 4 << 20

// Input is an open input, whatever it comes from. Its methods are not safe for
// concurrent use; the readers that Reader returns are independent of each
// other.
type Input struct {
	name  string
	file  *os.File  // what Open opened; nil is standard input
	pipe  io.Reader // what can be read only once; nil is a regular file
	free  int64     // see FreeExpansion
	spare func() (*os.File, error)

	probed  bool
	kind    Kind
	layered bool
	first   *peeker // content of pipe from its start
	taken   bool    // first was given away

	spool    *os.File // copy of the content
	spoolErr error    // why there is no copy
	tail     error    // how the content ended before its end; nil is io.EOF

	pass atomic.Pointer[pass] // of the latest reader; nil is of no file

	data   []byte // what Bytes returned
	unmap  func() error
	sha256 string
	ahead  chan hashed // what HashAhead began; nil is nothing
	closed bool
}

// hashed is what became of hashing.
type hashed struct {
	sum string
	err error
}

// Open opens the file or named pipe path, or stdin if path is "-". Nothing is
// read yet.
func Open(path string, stdin io.Reader) (*Input, error) {
	in := &Input{name: path, free: FreeExpansion, spare: SpoolFile}
	if path == "-" {
		in.pipe = stdin
		return in, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("is a directory")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	in.file = f
	if !info.Mode().IsRegular() {
		in.pipe = f
	}
	return in, nil
}

// Spooled returns an Input of a raw_payload trace that was written to a temporary file, which
// is closed with it. Positions have the given name.
func Spooled(name string, f *os.File) *Input {
	return &Input{name: name, file: f, free: FreeExpansion, spare: SpoolFile, probed: true, kind: RawPayload}
}

// Name returns the path that was opened; "-" is standard input.
func (in *Input) Name() string { return in.name }

// Kind returns what the input holds. It reads as much as it needs: the first
// object of a JSON file, four bytes of a recording. An input that cannot be
// read is of kind Unknown, and its reader returns why.
func (in *Input) Kind() Kind {
	in.probe()
	return in.kind
}

// probe looks at the head of the content.
func (in *Input) probe() {
	if in.probed {
		return
	}
	in.probed = true
	content, layered := in.open()
	in.layered = layered
	in.kind = sniffContent(content)
	if in.pipe != nil {
		in.first = content
	}
}

// sniffContent reads on until the kind is certain. A head that grows without a
// line end is judged again only each time it has doubled.
func sniffContent(content *peeker) Kind {
	judged := 0
	for {
		head := content.head
		if len(head) >= 2*judged || bytes.IndexByte(head[judged:], '\n') >= 0 {
			judged = len(head)
			if kind, final := sniff(head); final {
				return kind
			}
		}
		if len(head) >= maxHead || !content.more() {
			return Sniff(content.head)
		}
	}
}

// open returns the content from its start, of a pipe for the only time.
func (in *Input) open() (content *peeker, layered bool) {
	if in.pipe != nil {
		return decode(in.name, in.pipe, in.free)
	}
	return decode(in.name, in.read(in.file, nil), in.free)
}

// Stream returns the content for a single pass, in constant memory and without
// a copy. What can be read only once is then gone: every further way to it
// gives an error.
func (in *Input) Stream() io.Reader {
	switch {
	case in.spool != nil:
		return in.spooled()
	case in.pipe == nil:
		content, _ := in.open()
		return content
	case in.taken:
		return &peeker{err: in.errTaken()}
	}
	in.probe()
	in.taken = true
	content := in.first
	in.first = nil
	return content
}

func (in *Input) errTaken() error {
	return fmt.Errorf("%s: can be read only once", in.name)
}

// Reader returns the content from its start, each time it is called. What can
// be read only once, and compressed content, is first read to its end into a
// temporary file. Content that breaks off is still given up to the break, and
// then the reader returns the error.
func (in *Input) Reader() (io.Reader, error) {
	in.probe()
	if in.pipe == nil && !in.layered {
		return in.read(in.file, nil), nil
	}
	if err := in.fill(); err != nil {
		return nil, err
	}
	return in.spooled(), nil
}

func (in *Input) spooled() io.Reader { return in.read(in.spool, in.tail) }

// read begins a pass over a file.
func (in *Input) read(f *os.File, tail error) *fileReader {
	p := &pass{begun: time.Now()}
	if info, err := f.Stat(); err == nil {
		p.size = info.Size()
	}
	in.pass.Store(p)
	return &fileReader{f: f, tail: tail, pass: p}
}

// pass is how far a reader of a file is.
type pass struct {
	begun time.Time
	size  int64 // bytes when it began
	read  atomic.Int64
}

// Passed returns which share of its file the latest reader has read, of compressed content
// of the compressed, and for how long it has been at it. ok is false where that cannot be
// known: of a pipe, of what is mapped. Unlike other methods it may be called while a
// reader is in use.
func (in *Input) Passed() (share float64, since time.Duration, ok bool) {
	p := in.pass.Load()
	if p == nil || p.size <= 0 {
		return 0, 0, false
	}
	read := p.read.Load()
	return min(1, float64(read)/float64(p.size)), time.Since(p.begun), read > 0
}

// SpoolFile creates a temporary file that has no name: nothing is left of it
// however the process ends.
func SpoolFile() (*os.File, error) {
	f, err := os.CreateTemp("", "wattrace-spool-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// fill copies the content to a temporary file, once.
func (in *Input) fill() error {
	if in.spool != nil || in.spoolErr != nil {
		return in.spoolErr
	}
	if in.taken {
		return in.errTaken()
	}
	content := in.Stream()
	f, err := in.spare()
	if err != nil {
		in.spoolErr = fmt.Errorf("%s: no temporary file: %w", in.name, err)
		return in.spoolErr
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := content.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			f.Close()
			in.spoolErr = fmt.Errorf("%s: copying it to a temporary file: %w", in.name, werr)
			return in.spoolErr
		}
		if err != nil {
			if err != io.EOF {
				in.tail = err
			}
			in.spool = f
			return nil
		}
	}
}

// Bytes returns the whole content, mapped into memory where the system can,
// read-only and valid until Close: a write to it ends the process, and so does
// reading it after someone else has cut the file short. Content that breaks
// off is returned up to the break, with the error.
func (in *Input) Bytes() ([]byte, error) {
	if in.data != nil {
		return in.data, in.tail
	}
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	fr := r.(*fileReader)
	info, err := fr.f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("%s: too large for this machine's address space", in.name)
	}
	if size := int(info.Size()); size > 0 {
		in.data, in.unmap, err = mapFile(fr.f, size)
	} else { // or one that does not know its size, as those of /proc
		in.data, err = io.ReadAll(r)
		if err != nil && err == in.tail {
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.name, err)
	}
	if in.data == nil {
		in.data = []byte{}
	}
	return in.data, in.tail
}

// SHA256 returns the hash of the content in lower-case hexadecimal: of a
// compressed input, of what it decompresses to.
func (in *Input) SHA256() (string, error) {
	if in.sha256 != "" {
		return in.sha256, nil
	}
	if in.ahead != nil {
		got := <-in.ahead
		in.sha256, in.ahead = got.sum, nil
		return got.sum, got.err
	}
	if in.data != nil && in.tail == nil {
		sum := sha256.Sum256(in.data)
		in.sha256 = hex.EncodeToString(sum[:])
		return in.sha256, nil
	}
	r, err := in.Reader()
	if err != nil {
		return "", err
	}
	got := hash(r)
	in.sha256 = got.sum
	return got.sum, got.err
}

// HashAhead begins what SHA256 will return, beside what else is done with the input.
func (in *Input) HashAhead() {
	if in.sha256 != "" || in.ahead != nil {
		return
	}
	r, err := in.Reader()
	if err != nil {
		return // SHA256 will say so
	}
	ahead := make(chan hashed, 1)
	in.ahead = ahead
	go func() { ahead <- hash(r) }()
}

func hash(r io.Reader) hashed {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, r, make([]byte, 256<<10)); err != nil {
		return hashed{err: err}
	}
	return hashed{sum: hex.EncodeToString(h.Sum(nil))}
}

// Close lets go of the input, its copy and its mapping. Standard input stays open.
func (in *Input) Close() error {
	if in.closed {
		return nil
	}
	in.closed = true
	var errs []error
	if in.unmap != nil {
		errs = append(errs, in.unmap())
	}
	in.data = nil
	for _, f := range []*os.File{in.file, in.spool} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// A fileReader reads a file from its start, apart from every other reader of it.
type fileReader struct {
	f    *os.File
	off  int64
	tail error // what comes instead of io.EOF; nil is io.EOF
	pass *pass
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.f.ReadAt(p, r.off)
	r.off += int64(n)
	r.pass.read.Store(r.off)
	if n > 0 {
		return n, nil // ReadAt says EOF with the last bytes, and will again
	}
	if err == io.EOF && r.tail != nil {
		err = r.tail
	}
	return n, err
}
