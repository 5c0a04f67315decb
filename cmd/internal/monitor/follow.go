package monitor

import (
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

// errReplaced is what the reader of a file gets that was cut short or replaced by another.
var errReplaced = errors.New("the file was replaced")

// follower reads a file that grows. At its end it waits for more, until stop is closed or
// over says that there is no more to come: then it returns io.EOF.
type follower struct {
	path string
	f    *os.File
	over func() bool // asked at the end of the file
	stop <-chan struct{}
	wait func(stop <-chan struct{}) // lookEvery, or less
	at   int64
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
	input, err := formats.Open("-", in)
	if err != nil {
		return err
	}
	defer input.Close()
	var r *telemetry.Reader
	var rows int64
	return f.read(input.Stream(), name, &r, &rows)
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
	input, err := formats.Open("-", content)
	if err != nil {
		return err
	}
	defer input.Close()
	err = f.read(input.Stream(), path, &r, &rows)
	if ctx.Err() != nil && (errors.Is(err, telemetry.ErrTruncated) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil // whoever wrote it goes on
	}
	return err
}
