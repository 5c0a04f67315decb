package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/traces"
	"wattrace/trace"
)

const manual = `
Turns the dataset of trtllm-bench into a raw_payload trace for replay, and a side
file with the lengths and ids that must not go into a request body.

  convert --model llama-8b -o trace.jsonl dataset.jsonl
  convert --model llama-8b dataset.jsonl.gz | replay --url http://server:8000 -

With --to it seals a recording for other programs: one file of one schema, in large
batches.

  convert --to parquet -o power.parquet power.arrows
  convert --to csv power.*.arrows.zst | head
`

// options are the flags.
type options struct {
	from, model, target string
	noStream, keepGoing bool
	timing              string

	to       string
	compress bool
}

// Main runs the tool and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	return cli.Main(ctx, cli.Tool{
		Name:   "convert",
		Usage:  "turn another tool's trace into a raw_payload trace, or seal a recording",
		Args:   "[FILE|-]...",
		Manual: manual,
		Output: true,
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "model", Usage: "`NAME` of the model in the bodies; needed", Destination: &o.model},
			&ucli.StringFlag{Name: "target", Usage: "`SERVER` whose keys to use: " + targetNames(), Value: targets[0].name, Destination: &o.target},
			&ucli.BoolFlag{Name: "no-stream", Usage: "ask for whole answers instead of streams", Destination: &o.noStream},
			&ucli.StringFlag{Name: "from", Usage: "`FORMAT` of the input: trtllm; found out when not given", Destination: &o.from},
			&ucli.StringFlag{Name: "timing", Usage: "write the side file to `FILE`; beside -o FILE it is FILE" + trace.TimingSuffix, Destination: &o.timing},
			&ucli.StringFlag{Name: "to", Usage: "seal a recording as `FORMAT`: " + formNames(), Destination: &o.to},
			&ucli.BoolFlag{Name: "compress", Usage: "with --to arrow: compress its buffers (zstd)", Destination: &o.compress},
			&ucli.BoolFlag{Name: "keep-going", Usage: "skip rows that cannot be converted, count them, exit 3; of a damaged recording seal what precedes it", Destination: &o.keepGoing},
		},
		Action: func(ctx context.Context, env *cli.Env, flags *ucli.Context) error {
			if flags.IsSet("to") {
				return seal(ctx, env, flags, &o)
			}
			return run(ctx, env, &o)
		},
	}, args, stdin, stdout, stderr)
}

func run(ctx context.Context, env *cli.Env, o *options) error {
	if o.compress {
		return cli.Usagef("--compress is for --to arrow")
	}
	path, err := operand(env)
	if err != nil {
		return err
	}
	b, err := o.bodies()
	if err != nil {
		return err
	}
	out, err := openOutputs(env, o.timing)
	if err != nil {
		return err
	}
	// A consumer of a pipe reads on after the first signal: its producer was
	// told too and is about to close its end.
	_, hard, stop := cli.Signals(ctx)
	defer stop()
	in, err := formats.Open(path, &interruptible{ctx: hard, r: env.Stdin})
	if err != nil {
		return err
	}
	defer in.Close()
	if err := o.checkKind(in); err != nil {
		return err
	}
	c := &conversion{ctx: hard, env: env, keepGoing: o.keepGoing, bodies: b, out: out, name: in.Name()}
	stopProgress := env.Progress(c.status)
	err = c.trtllm(in.Stream())
	stopProgress()
	if err != nil {
		out.abort()
		return err
	}
	if err := out.close(); err != nil {
		return err
	}
	return c.report()
}

// operand returns the one input.
func operand(env *cli.Env) (string, error) {
	switch {
	case env.Command != nil:
		return "", cli.Usagef("nothing may follow --")
	case len(env.Operands) > 1:
		return "", cli.Usagef("one input at a time, not %d", len(env.Operands))
	case len(env.Operands) == 1:
		return env.Operands[0], nil
	case cli.IsTerminal(env.Stdin):
		return "", cli.Usagef("no input: name a file, or pipe one in")
	}
	return "-", nil
}

func (o *options) bodies() (*bodies, error) {
	t, err := findTarget(o.target)
	if err != nil {
		return nil, cli.Usagef("%s", err)
	}
	if o.model == "" {
		return nil, cli.Usagef("--model is needed: the dataset does not name one, and each body must")
	}
	b, err := newBodies(t, o.model, !o.noStream)
	if err != nil {
		return nil, cli.Usagef("%s", err)
	}
	return b, nil
}

// checkKind makes sure that the input is what can be converted.
func (o *options) checkKind(in *formats.Input) error {
	if o.from != "" {
		if codec, ok := traces.ByName(o.from); !ok || codec.Kind != formats.TRTLLM {
			return cli.Usagef("--from %q: want trtllm", o.from)
		}
		return nil
	}
	switch kind := in.Kind(); kind {
	case formats.TRTLLM:
		return nil
	case formats.RawPayload:
		return cli.Hint(fmt.Errorf("%s: is a %s already", in.Name(), kind), "replay sends it as it is")
	case formats.TelemetryStream, formats.TelemetryFile:
		return cli.Hint(fmt.Errorf("%s: is a %s, not a trace", in.Name(), kind), "--to parquet seals it, or --to arrow, csv, jsonl")
	case formats.Unknown:
		return unknown(in)
	default:
		return fmt.Errorf("%s: is a %s, which cannot be converted yet", in.Name(), kind)
	}
}

// unknown tells an input that cannot be read or is empty from one of a format
// that is not known.
func unknown(in *formats.Input) error {
	n, err := io.Copy(io.Discard, io.LimitReader(in.Stream(), 4<<20))
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("%s: is empty", in.Name())
	}
	return cli.Hint(fmt.Errorf("%s: %s", in.Name(), formats.Unknown), "--from trtllm reads it as a trtllm-bench dataset all the same")
}

// outputs are the trace and its side file. They appear whole or not at all,
// the side file first, so that there is never a trace that lacks its own.
type outputs struct {
	trace  *cli.Output
	timing *cli.Output // nil is none
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
	if timing != "" {
		out.timing, err = env.OutputTo(timing, cli.OutputOptions{Atomic: true})
	}
	return out, err
}

func (o *outputs) abort() {
	o.trace.Abort()
	if o.timing != nil {
		o.timing.Abort()
	}
}

func (o *outputs) close() error {
	if o.timing != nil {
		if err := o.timing.Close(); err != nil {
			o.trace.Abort()
			return err
		}
	}
	err := o.trace.Close()
	if err != nil && o.timing != nil {
		if info, statErr := os.Stat(o.timing.Path); statErr == nil && info.Mode().IsRegular() && !o.timing.Stdout {
			os.Remove(o.timing.Path)
		}
	}
	return err
}

// interruptible is a reader that gives up when a context ends, even while it
// waits: nothing else can end a read of standard input.
type interruptible struct {
	ctx  context.Context
	r    io.Reader
	buf  []byte
	done chan result
}

type result struct {
	n   int
	err error
}

func (r *interruptible) Read(p []byte) (int, error) {
	if r.done == nil {
		r.done, r.buf = make(chan result, 1), make([]byte, 64<<10)
	}
	if r.ctx.Err() != nil {
		return 0, cli.ErrInterrupted
	}
	go func() {
		n, err := r.r.Read(r.buf[:min(len(p), len(r.buf))])
		r.done <- result{n, err}
	}()
	select {
	case got := <-r.done:
		return copy(p, r.buf[:got.n]), got.err
	case <-r.ctx.Done():
		// The read is left behind; the process is about to end.
		return 0, cli.ErrInterrupted
	}
}

var errNoRows = errors.New("no row to convert")
