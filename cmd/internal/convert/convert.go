package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"
	_ "time/tzdata" // --timezone, on machines without a zone database

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/telemetries"
	"wattrace/formats/tokens"
	"wattrace/formats/traces"
	"wattrace/trace"
)

const manual = `
Turns a trace of another tool into a raw_payload trace for replay, and a side file
with the times, lengths and ids that must not go into a request body. --list says
which formats it knows.

  convert --model llama-8b -o trace.jsonl dataset.jsonl
  convert --model llama-8b dataset.jsonl.gz | replay --url http://server:8000 -

With --to it seals a recording, or the telemetry of another tool, for other programs: one
file of one schema, in large batches.

  convert --to parquet -o power.parquet power.arrows
  convert --to csv power.*.arrows.zst | head
`

// options are the flags.
type options struct {
	from, model, target string
	noStream, keepGoing bool
	list                bool
	block, vocab        int
	outputTokens        int
	timing              string

	to       string
	compress bool

	timezone, host, columns string // of logs of other tools
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
			&ucli.StringFlag{Name: "model", Usage: "`NAME` of the model in the bodies; needed unless all rows are bodies", Destination: &o.model},
			&ucli.StringFlag{Name: "target", Usage: "`SERVER` whose keys to use: " + targetNames(), Value: targets[0].name, Destination: &o.target},
			&ucli.BoolFlag{Name: "no-stream", Usage: "ask for whole answers instead of streams", Destination: &o.noStream},
			&ucli.StringFlag{Name: "from", Usage: "`FORMAT` of the input: " + traces.Names() + "; found out when not given", Destination: &o.from},
			&ucli.IntFlag{Name: "block-size", Usage: "tokens of a block that has a hash: `N`; 512, of Bailian's traces 16", Destination: &o.block},
			&ucli.IntFlag{Name: "vocab", Usage: "make token ids for a vocabulary of `N`: from 1,000 to N-1", Value: int(tokens.Default), Destination: &o.vocab},
			&ucli.IntFlag{Name: "output-tokens", Usage: "ask for `N` tokens where the input does not say how many", Destination: &o.outputTokens},
			&ucli.StringFlag{Name: "timing", Usage: "write the side file to `FILE`; beside -o FILE it is FILE" + trace.TimingSuffix, Destination: &o.timing},
			&ucli.StringFlag{Name: "to", Usage: "seal a recording as `FORMAT`: " + formNames(), Destination: &o.to},
			&ucli.BoolFlag{Name: "compress", Usage: "with --to arrow: compress its buffers (zstd)", Destination: &o.compress},
			&ucli.StringFlag{Name: "timezone", Usage: "with --to: where the local times of a log are local: an IANA `NAME` such as Europe/London", DefaultText: "this machine's", Destination: &o.timezone},
			&ucli.StringFlag{Name: "host", Usage: "with --to: `NAME` of the host of a log that does not say it", Destination: &o.host},
			&ucli.StringFlag{Name: "columns", Usage: "with --to: the header of a log of nvidia-smi that has none (noheader): `LIST` that --query-gpu was given", Destination: &o.columns},
			&ucli.BoolFlag{Name: "list", Usage: "print the table of formats and exit", Destination: &o.list},
			&ucli.BoolFlag{Name: "keep-going", Usage: "skip rows that cannot be converted, count them, exit 3; of a damaged recording seal what precedes it", Destination: &o.keepGoing},
		},
		Action: func(ctx context.Context, env *cli.Env, c *ucli.Context) error {
			if c.IsSet("to") {
				return seal(ctx, env, c, &o)
			}
			if c.IsSet("block-size") && o.block < 1 {
				return cli.Usagef("--block-size %d: want at least 1", o.block)
			}
			if c.IsSet("output-tokens") && (o.outputTokens < 1 || o.outputTokens > math.MaxInt32) {
				return cli.Usagef("--output-tokens %d: want 1 to %d", o.outputTokens, math.MaxInt32)
			}
			return run(ctx, env, &o)
		},
	}, args, stdin, stdout, stderr)
}

func run(ctx context.Context, env *cli.Env, o *options) error {
	if o.compress {
		return cli.Usagef("--compress is for --to arrow")
	}
	for name, value := range map[string]string{"timezone": o.timezone, "host": o.host, "columns": o.columns} {
		if value != "" {
			return cli.Usagef("--%s is for logs of sensors, with --to", name)
		}
	}
	if o.list {
		_, err := io.WriteString(env.Stdout, traces.Table()+"\n"+telemetries.Table())
		return err
	}
	options, err := o.options()
	if err != nil {
		return err
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
	codec, err := o.codec(in)
	if err != nil {
		return err
	}
	c := &conversion{ctx: hard, env: env, keepGoing: o.keepGoing, bodies: b, out: out, name: in.Name(), outputTokens: int64(o.outputTokens)}
	stopProgress := env.Progress(c.status)
	err = c.run(codec.Open(in.Stream(), in.Name(), options))
	stopProgress()
	if err != nil {
		out.abort()
		return err
	}
	if err := out.close(); err != nil {
		return err
	}
	if codec.Lost != "" {
		env.Summaryf("lost: %s", codec.Lost)
	}
	return c.report()
}

func (o *options) options() (traces.Options, error) {
	if o.vocab > math.MaxInt32 {
		return traces.Options{}, cli.Usagef("--vocab %d: too large", o.vocab)
	}
	v := tokens.Vocab(o.vocab)
	if err := v.Check(); err != nil {
		return traces.Options{}, cli.Usagef("--vocab: %s", err)
	}
	return traces.Options{BlockTokens: o.block, Vocab: v}, nil
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
	b, err := newBodies(t, o.model, !o.noStream)
	if err != nil {
		return nil, cli.Usagef("%s", err)
	}
	return b, nil
}

// codec returns the one that can read the input.
func (o *options) codec(in *formats.Input) (traces.Codec, error) {
	if o.from != "" {
		codec, ok := traces.ByName(o.from)
		if !ok || codec.Open == nil {
			return codec, cli.Usagef("--from %q: want one of %s", o.from, traces.Names())
		}
		return codec, nil
	}
	kind := in.Kind()
	codec, ok := traces.ByKind(kind)
	switch {
	case ok && codec.Open != nil:
		return codec, nil
	case ok:
		return codec, cli.Hint(fmt.Errorf("%s: is a %s already", in.Name(), kind), "replay sends it as it is")
	case isTelemetry(kind):
		return codec, cli.Hint(fmt.Errorf("%s: is a %s, not a trace", in.Name(), kind), "--to parquet seals it, or --to arrow, csv, jsonl, aiperf")
	case kind == formats.Unknown:
		return codec, unknown(in)
	}
	return codec, fmt.Errorf("%s: is a %s, which cannot be converted yet", in.Name(), kind)
}

// isTelemetry reports whether --to takes a kind of input.
func isTelemetry(kind formats.Kind) bool {
	_, ok := telemetries.ByKind(kind)
	return ok || kind == formats.Parquet
}

// inputs are what flags say that logs of other tools do not.
func (o *options) inputs() (t telemetries.Options, err error) {
	t = telemetries.Options{Location: time.Local, Host: o.host, Columns: o.columns}
	if o.timezone != "" {
		if t.Location, err = time.LoadLocation(o.timezone); err != nil || o.timezone == "Local" {
			return t, cli.Usagef("--timezone %q: want the IANA name of a zone, as in Europe/London or UTC", o.timezone)
		}
	}
	return t, nil
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
	return cli.Hint(fmt.Errorf("%s: %s", in.Name(), formats.Unknown), "--from FORMAT reads it all the same: %s", traces.Names())
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
