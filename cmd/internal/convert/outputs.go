package convert

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/trace"
)

// A sink is what a trace is written to. It appears whole, by close, or not at all.
type sink interface {
	// write writes the body of a row, which may have been checked, and what the side
	// file says of it. A *trace.ColumnError is a fault of the body.
	write(body []byte, checked bool, row *formats.Request) error
	close() error
	abort()
}

// openSink opens the output: a directory, if its name ends in a slash, else a file.
func (o *options) openSink(env *cli.Env) (sink, error) {
	path := env.OutputPath()
	if strings.HasSuffix(path, "/") {
		return openDirectory(env, path, o.timing)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, cli.Hint(fmt.Errorf("%s: is a directory", path), "-o %s/ makes one of conversations", path)
	}
	return openOutputs(env, o.timing)
}

// outputs are the trace and its side file. They appear whole or not at all,
// the side file first, so that there is never a trace that lacks its own.
type outputs struct {
	trace  *cli.Output
	timing *cli.Output // nil is none

	bodies  *trace.Writer
	entries *trace.TimingWriter
	lines   int64
}

func openOutputs(env *cli.Env, timing string) (*outputs, error) {
	path := env.OutputPath()
	stdout := path == "-" || path == ""
	switch info, err := os.Stat(path); {
	case timing == "-" && stdout:
		return nil, cli.Usagef("the trace and the side file cannot both be standard output")
	case timing != "" && timing == path:
		return nil, cli.Usagef("the trace and the side file cannot both be %s", path)
	case timing != "" || stdout:
	case err == nil && !info.Mode().IsRegular(): // a device or a pipe has no place beside it
	default:
		timing = trace.TimingPath(path)
	}
	out := new(outputs)
	var err error
	if out.trace, err = env.Output(cli.OutputOptions{Atomic: true, Compress: true}); err != nil {
		return nil, err
	}
	var side io.Writer = io.Discard
	if timing != "" {
		if out.timing, err = env.OutputTo(timing, cli.OutputOptions{Atomic: true}); err != nil {
			return nil, err
		}
		side = out.timing
	}
	out.bodies, out.entries = trace.NewWriter(out.trace), trace.NewTimingWriter(side)
	return out, nil
}

func (o *outputs) write(body []byte, checked bool, row *formats.Request) error {
	write := o.bodies.Write
	if checked {
		write = o.bodies.Copy
	}
	if err := write(body); err != nil {
		return err
	}
	o.lines++
	return o.entries.Write(trace.TimingEntry{Line: o.lines, Conversation: row.Conversation, Turn: row.Turn, Timing: row.Timing})
}

func (o *outputs) abort() {
	o.trace.Abort()
	if o.timing != nil {
		o.timing.Abort()
	}
}

func (o *outputs) close() error {
	if err := errors.Join(o.bodies.Flush(), o.entries.Flush()); err != nil {
		o.abort()
		return err
	}
	if o.timing != nil {
		if err := o.timing.Close(); err != nil {
			o.trace.Abort()
			return err
		}
	}
	err := o.trace.Close()
	if err != nil && o.timing != nil {
		removeOutput(o.timing)
	}
	return err
}

// removeOutput takes an output back that was closed.
func removeOutput(o *cli.Output) {
	if info, err := os.Stat(o.Path); err == nil && info.Mode().IsRegular() && !o.Stdout {
		os.Remove(o.Path)
	}
}
