package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// OutputOptions says how an output behaves.
type OutputOptions struct {
	Binary bool // refuse to write to a terminal
	Atomic bool // the file appears whole, by a rename in Close, or not at all
	Log    bool // the file appears at once, so that what a killed run left can be read

	Compress   bool          // a file whose name ends in .zst is compressed
	FrameEvery time.Duration // it has a new frame, with a checksum, each time this has passed; 0 is one

	// Patient keeps what a full disk does not take, and tries again with each
	// Write, so that every Write succeeds. Of more than so many bytes Crowded
	// warns. 0 is not at all. Full is told when the disk becomes full, and when
	// it took all that was kept.
	Patient int
	Full    func(full bool)
}

// Output is where a tool writes its result: standard output, or a file that
// appears with the first byte. An existing file is refused without --force.
type Output struct {
	Path   string // "-" is standard output
	Stdout bool

	opt    OutputOptions
	force  bool
	inputs []string
	w      io.Writer
	f      *os.File
	layer  *compressed // nil without one

	regular bool   // it is a file on a disk
	kept    []byte // what a full disk has not taken
	full    bool
}

// Output opens the output that -o names.
func (env *Env) Output(opt OutputOptions) (*Output, error) {
	return env.OutputTo(env.output, opt)
}

// OutputPath returns what -o says; "-" is standard output.
func (env *Env) OutputPath() string { return env.output }

// Force reports whether --force was given.
func (env *Env) Force() bool { return env.force }

// OutputTo opens an output by path, with the tool's --force.
func (env *Env) OutputTo(path string, opt OutputOptions) (*Output, error) {
	written := env.written
	o := &Output{Path: path, opt: opt, force: env.force, inputs: env.Inputs()}
	if path == "" || path == "-" {
		o.Path, o.Stdout, o.w = "-", true, env.Stdout
		if opt.Binary && IsTerminal(env.Stdout) {
			return nil, Hint(Usagef("binary output to a terminal"), "name a file with -o, or pipe it")
		}
		return o, env.onlyOnce("standard output", "-")
	}
	if err := o.refuseExisting(); err != nil {
		return nil, err
	}
	if err := inDirectory(path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() { // a device takes any number
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		if err := env.onlyOnce(path, abs); err != nil {
			return nil, err
		}
	}
	if opt.Compress && strings.HasSuffix(path, ".zst") {
		var err error
		if o.layer, err = newCompressed(writer(o.write), opt.FrameEvery); err != nil {
			return nil, err
		}
	}
	if opt.Log {
		err := o.create()
		if err != nil {
			env.written = written // it may be tried again
		}
		return o, err
	}
	return o, nil
}

// onlyOnce refuses an output that is one already: each would spoil the other.
func (env *Env) onlyOnce(name, path string) error {
	if slices.Contains(env.written, path) {
		return Usagef("%s is named as an output twice", name)
	}
	env.written = append(env.written, path)
	return nil
}

// inDirectory says at once that an output has no directory to be in, not when all is computed.
func inDirectory(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Hint(&fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}, "mkdir -p %s", dir)
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	return nil // what else is wrong shows when it is created
}

func (o *Output) refuseExisting() error {
	info, err := os.Stat(o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s: is a directory", o.Path)
	case info.Mode().IsRegular() && o.isInput(info):
		return fmt.Errorf("%s: is an input", o.Path)
	case info.Mode().IsRegular() && !o.force:
		return Hint(fmt.Errorf("%s: exists already", o.Path), "--force replaces it")
	}
	return nil
}

// isInput reports whether the file is one that the tool reads: writing would
// destroy what is to be read, --force or not.
func (o *Output) isInput(info fs.FileInfo) bool {
	return slices.ContainsFunc(o.inputs, func(path string) bool {
		in, err := os.Stat(path)
		return err == nil && os.SameFile(in, info)
	})
}

func (o *Output) create() (err error) {
	switch info, statErr := os.Stat(o.Path); {
	case statErr == nil && !info.Mode().IsRegular(): // a device or a named pipe
		o.f, err = os.OpenFile(o.Path, os.O_WRONLY, 0)
		o.opt.Atomic = false
	case o.opt.Atomic:
		o.f, err = os.CreateTemp(filepath.Dir(o.Path), "."+filepath.Base(o.Path)+".*")
	case o.force:
		o.f, err = os.Create(o.Path)
	default:
		o.f, err = os.OpenFile(o.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	}
	o.w = o.f
	if err == nil {
		info, statErr := o.f.Stat()
		o.regular = statErr == nil && info.Mode().IsRegular()
	}
	return o.named(err)
}

// named is an error of the system that names the output by its path: nobody gave the name
// that it has until it is whole.
func (o *Output) named(err error) error {
	if !o.opt.Atomic || o.Stdout {
		return err
	}
	switch e := err.(type) {
	case *fs.PathError:
		if e.Path == o.Path {
			return err
		}
		return &fs.PathError{Op: e.Op, Path: o.Path, Err: e.Err}
	case *os.LinkError:
		return &fs.PathError{Op: e.Op, Path: o.Path, Err: e.Err}
	}
	return err
}

// Write writes p, and creates the file before the first byte.
func (o *Output) Write(p []byte) (int, error) {
	if o.layer != nil {
		return o.layer.Write(p)
	}
	return o.write(p)
}

// writer is an io.Writer by its method.
type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func (o *Output) write(p []byte) (int, error) {
	if o.w == nil {
		if err := o.create(); err != nil {
			return 0, err
		}
	}
	if o.opt.Patient == 0 || !o.regular {
		n, err := o.w.Write(p)
		return n, o.named(err)
	}
	if err := o.push(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// push writes what is kept, and p. What a full disk does not take is kept: a
// part that it took is not written again.
func (o *Output) push(p []byte) error {
	data := p
	if len(o.kept) > 0 {
		o.kept = append(o.kept, p...)
		data = o.kept
	}
	n, err := 0, error(nil)
	if len(data) > 0 {
		n, err = o.w.Write(data)
	}
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	if err != nil && !full {
		return o.named(err)
	}
	o.kept = append(o.kept[:0], data[n:]...)
	if full != o.full {
		o.full = full
		if o.opt.Full != nil {
			o.opt.Full(full)
		}
	}
	return nil
}

// Waiting returns how many bytes wait for a full disk. A Write of nothing tries
// again.
func (o *Output) Waiting() int { return len(o.kept) }

// Crowded reports whether so much waits for a full disk that nothing should be
// written until it is gone.
func (o *Output) Crowded() bool { return o.full && len(o.kept) >= o.opt.Patient }

// Close ends a whole output. Its error must be checked: a full disk may show
// only here.
func (o *Output) Close() error {
	var err error
	if o.layer != nil {
		err = o.layer.Close()
	}
	if o.f == nil {
		return err
	}
	if err == nil && len(o.kept) > 0 {
		_, err = o.w.Write(o.kept)
	}
	err = errors.Join(o.named(err), o.named(o.f.Close()))
	if !o.opt.Atomic {
		return err
	}
	if err == nil {
		err = o.named(os.Chmod(o.f.Name(), 0o666&^umask()))
	}
	if err == nil {
		err = o.publish()
	}
	if err != nil {
		os.Remove(o.f.Name())
	}
	return err
}

// publish gives the whole file its name.
func (o *Output) publish() error {
	if err := o.refuseExisting(); err != nil {
		return err
	}
	return o.named(os.Rename(o.f.Name(), o.Path))
}

// Abort ends an output that is not whole: an atomic one disappears.
func (o *Output) Abort() {
	if o.f == nil {
		return
	}
	o.f.Close()
	if o.opt.Atomic {
		os.Remove(o.f.Name())
	}
}
