package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"wattrace/formats"
	"wattrace/formats/telemetry"
	"wattrace/sample"
)

// lookEvery is how often the end of a file that is followed is looked at.
const lookEvery = 100 * time.Millisecond

// hintAfter is how many looks at the end of a file that has no whole head yet pass before
// it is said what is waited for.
const hintAfter = int(5 * time.Second / lookEvery)

// errNoRecording is what the reader of bytes gets that no recording begins with, whatever
// comes after them.
var errNoRecording = errors.New("no recording begins like this")

// heads are the first bytes of a recording: of an Arrow stream, of an Arrow file, and of a
// layer of gzip or zstd around it, which may begin with a frame to skip.
var heads = [][]byte{{0xff, 0xff, 0xff, 0xff}, []byte("ARROW1\x00\x00"), {0x1f, 0x8b}, {0x28, 0xb5, 0x2f, 0xfd}}

// mayBegin reports whether a recording may begin with these bytes.
func mayBegin(head []byte) bool {
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return true
	}
	for _, h := range heads {
		if n := min(len(h), len(head)); bytes.Equal(h[:n], head[:n]) {
			return true
		}
	}
	return len(head) < 4 && head[0]&0xf0 == 0x50
}

// headed refuses what can't become a recording at its first bytes: a file that is followed,
// or a pipe, may never have as many as its format is told by.
type headed struct {
	io.Reader
	head []byte
}

func (h *headed) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if most := 8; len(h.head) < most && n > 0 {
		h.head = append(h.head, p[:min(n, most-len(h.head))]...)
		if !mayBegin(h.head) {
			return 0, errNoRecording
		}
	}
	return n, err
}

// errReplaced is what the reader of a file gets that was cut short or replaced by another.
var errReplaced = errors.New("the file was replaced")

// follower reads a file that grows. At its end it waits for more, until stop is closed or
// over says that there is no more to come: then it returns io.EOF.
type follower struct {
	path  string
	f     *os.File
	over  func() bool // asked at the end of the file
	stop  <-chan struct{}
	wait  func(stop <-chan struct{}) // lookEvery, or less
	hint  func(size int64)           // called once, when there is no whole head for long; nil is never
	head  func() bool                // whether there is one
	at    int64
	looks int
}

func pause(stop <-chan struct{}) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}

func (f *follower) Read(p []byte) (int, error) {
	for stopping := false; ; {
		n, err := f.f.Read(p)
		f.at += int64(n)
		if n > 0 || err != nil && err != io.EOF {
			return n, err
		}
		if f.over() || stopping {
			return 0, io.EOF
		}
		if err := f.replaced(); err != nil {
			return 0, err
		}
		select {
		case <-f.stop:
			stopping = true // what was written until then is still read
			continue
		default:
		}
		if f.looks++; f.looks == hintAfter && f.hint != nil && !f.head() {
			f.hint(f.at)
		}
		f.wait(f.stop)
	}
}

// replaced looks whether the file is still the one that has its name. One that was
// removed is: its writer may go on.
func (f *follower) replaced() error {
	own, err := f.f.Stat()
	if err != nil {
		return err
	}
	if own.Size() < f.at {
		return errReplaced
	}
	if named, err := os.Stat(f.path); err == nil && !os.SameFile(own, named) {
		return errReplaced
	}
	return nil
}

// feeder reads recordings into the model.
type feeder struct {
	model  *model
	screen *screen // nil without one
	taken  []func(*sample.Batch, *telemetry.Reader)
	say    func(format string, args ...any)
	wait   func(stop <-chan struct{}) // nil is pause
}

// read reads one recording to its end.
func (f *feeder) read(content io.Reader, name string, reader **telemetry.Reader, rows *int64) error {
	defer f.screen.guard()
	r, err := telemetry.NewReader(content, name)
	if err != nil {
		return err
	}
	*reader = r
	var b sample.Batch
	for {
		if err := r.Read(&b); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		*rows += int64(b.Len())
		f.model.take(&b, r.Head().Clock.Wall)
		for _, taken := range f.taken {
			taken(&b, r)
		}
	}
}

// stream reads a recording that comes by a pipe.
func (f *feeder) stream(in io.Reader, name string) error {
	input, err := formats.Open("-", &headed{Reader: in})
	if err != nil {
		return err
	}
	defer input.Close()
	var r *telemetry.Reader
	var rows int64
	return named(f.read(input.Stream(), name, &r, &rows), name)
}

// named gives an error its file where it has none.
func named(err error, name string) error {
	if errors.Is(err, errNoRecording) {
		return fmt.Errorf("%s: %w", name, errNoRecording)
	}
	return err
}

// follow reads a file, and what is written to it, until it has its end or ctx is done. A
// file in its place is read after it.
func (f *feeder) follow(ctx context.Context, path string) error {
	for {
		err := f.followOne(ctx, path)
		if !errors.Is(err, errReplaced) {
			return err
		}
		f.say("%s: %v; the new one is followed", path, errReplaced)
	}
}

func (f *feeder) followOne(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	switch info, err := file.Stat(); {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s: is a directory", path)
	case !info.Mode().IsRegular(): // a named pipe ends by itself
		return f.stream(file, path)
	}
	var r *telemetry.Reader
	var rows int64
	content := &follower{path: path, f: file, stop: ctx.Done(), wait: f.wait, over: func() bool {
		if r == nil {
			return false
		}
		end, ended := r.End()
		return ended && end.Rows == rows // no other recording stands behind it
	}}
	if content.wait == nil {
		content.wait = pause
	}
	content.head = func() bool { return r != nil }
	content.hint = func(size int64) {
		if size == 0 {
			f.say("%s: is empty; a recording is waited for", path)
			return
		}
		f.say("%s: its %d bytes have not all of a recording's head; more is waited for", path, size)
	}
	input, err := formats.Open("-", &headed{Reader: content})
	if err != nil {
		return err
	}
	defer input.Close()
	err = f.read(input.Stream(), path, &r, &rows)
	if ctx.Err() != nil && (errors.Is(err, telemetry.ErrTruncated) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil // whoever wrote it goes on
	}
	return named(err, path)
}
