package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/sibling"
)

// endWithin is how long a record may take that was asked to end.
const endWithin = 10 * time.Second

// source is where readings come from.
type source struct {
	name string
	// read reads until there is no more, or soft is done: what is written until then is
	// read, too. hard gives that up.
	read func(soft, hard context.Context) error
	// piped: other programs of the pipeline are to end first, as by Ctrl-C.
	piped bool
}

// find says where readings come from: the operand, a pipe, or a record of our own.
func (o *options) find(env *cli.Env, f *feeder, line func(string)) (*source, error) {
	switch {
	case len(env.Operands) > 1:
		return nil, cli.Usagef("monitor follows one recording; %d are named", len(env.Operands))
	case len(env.Operands) == 1 && o.recorderFlag != "":
		return nil, cli.Hint(cli.Usagef("--%s is for the record that monitor starts", o.recorderFlag), "without an operand it starts one")
	case len(env.Operands) == 1 && env.Operands[0] != "-":
		path := env.Operands[0]
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
		return &source{name: path, read: func(soft, _ context.Context) error { return f.follow(soft, path) }}, nil
	case len(env.Operands) == 1 || o.recorderFlag == "" && isPiped(env.Stdin):
		return &source{name: "standard input", piped: true, read: func(_, hard context.Context) error {
			return untilDone(hard, func() error { return f.stream(env.Stdin, "-") })
		}}, nil
	}
	tools, err := sibling.Find("monitor", []string{"record"}, nil)
	if err != nil {
		return nil, err
	}
	return &source{name: "record", read: func(soft, hard context.Context) error { return o.record(soft, hard, tools, f, line) }}, nil
}

// isPiped reports whether standard input may have a recording: a pipe, or a file.
func isPiped(stdin io.Reader) bool {
	f, ok := stdin.(*os.File)
	if !ok {
		return stdin != nil
	}
	info, err := f.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0)
}

// untilDone calls f, but does not wait for it any more when ctx is done.
func untilDone(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return cli.ErrInterrupted
	}
}

// record starts the record beside this tool and reads what it writes: its standard output,
// or with -o its file.
func (o *options) record(soft, hard context.Context, tools *sibling.Tools, f *feeder, line func(string)) error {
	args := o.recordArgs()
	var out *os.File
	ready := ""
	if o.out != "-" {
		dir, err := os.MkdirTemp("", "wattrace-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		ready = filepath.Join(dir, "ready")
		args = append(args, "--ready", ready)
	}
	cmd := exec.Command(tools.Paths["record"], args...)
	if o.out == "-" {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		out, cmd.Stdout = r, w
		defer w.Close()
	}
	p, err := sibling.Begin("record", cmd, line)
	if err != nil {
		return err
	}
	if out != nil {
		cmd.Stdout.(*os.File).Close() // the child has its own
	}
	defer p.Stop(0, nil)
	go func() {
		select {
		case <-soft.Done():
			p.Signal(syscall.SIGTERM)
		case <-p.Done:
			return
		}
		select {
		case <-time.After(endWithin):
		case <-hard.Done(): // it is closing its file: a signal that comes twice must not spoil that
			select {
			case <-time.After(2 * time.Second):
			case <-p.Done:
			}
		case <-p.Done:
			return
		}
		p.Stop(0, nil)
	}()
	if out != nil {
		err = untilDone(hard, func() error { return f.stream(out, "record") })
	} else {
		err = o.followChild(p, ready, f)
	}
	select {
	case <-p.Done:
	case <-time.After(endWithin):
		p.Stop(0, nil)
	}
	return childError(p, err, soft.Err() != nil)
}

// followChild follows the file of a record, until that has ended. ready is the file that is
// there when it has begun.
func (o *options) followChild(p *sibling.Process, ready string, f *feeder) error {
	ended, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-p.Done
		cancel()
	}()
	for {
		if b, err := os.ReadFile(ready); err == nil && len(b) > 0 {
			return f.follow(ended, o.out)
		}
		if p.Ended() {
			return nil // it says why
		}
		pause(ended.Done())
	}
}

// childError is what is wrong with a record that has ended, or with what it wrote.
func childError(p *sibling.Process, err error, asked bool) error {
	switch status := p.Status(); {
	case status == cli.ExitIncomplete:
		return cli.Incompletef("%w", p.Fault())
	case status != 0:
		return p.Fault()
	case errors.Is(err, cli.ErrInterrupted):
		return err
	case err != nil:
		return err
	case !asked:
		return fmt.Errorf("record ended: %s", p.How())
	}
	return nil
}

// recordArgs are the arguments of record.
func (o *options) recordArgs() []string {
	args := []string{"-q", "--interval", o.interval.String(), "-o", o.out}
	if o.force {
		args = append(args, "--force")
	}
	for _, s := range o.sources {
		args = append(args, "--source", s)
	}
	if o.devices != nil {
		args = append(args, "--devices", *o.devices)
	}
	if o.library != "" {
		args = append(args, "--nvml-library", o.library)
	}
	for _, f := range o.recordFlags {
		args = append(args, "--"+f)
	}
	return args
}
