package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // --timezone, on machines without a zone database

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/traceflags"
	"wattrace/formats"
	"wattrace/formats/bodies"
	"wattrace/formats/telemetries"
	"wattrace/formats/traces"
	"wattrace/trace"
)

const manual = `
Turns a trace of another tool into a raw_payload trace for replay, and a side file
with the times, lengths and ids that must not go into a request body. --list says
which formats it knows.

  convert --model llama-8b -o trace.jsonl dataset.jsonl
  convert --model llama-8b dataset.jsonl.gz | replay --url http://server:8000 -

-o DIR/, with the slash, makes a directory of conversations instead: a file for each,
in which each line is a turn, and the side file DIR.timing. replay takes either.

  convert --model llama-8b -o chats/ sharegpt.json

Of a large trace a part is enough, and of a raw_payload trace too, whose bodies stay
as they are. Time range and length are judged first, then the sample is taken, then the
limit. What was left out is counted. A sample has whole conversations; the others may end them
early, but take no turn out of their middle.

  convert --after 10m --before 20m --sample 500 -o part.jsonl trace.jsonl
  convert --max-input-tokens 8192 --speedup 10 --model llama-8b -o part.jsonl mooncake.jsonl

--tokenizer takes the model's tokenizer.json (BPE on bytes: Llama 3, Qwen, GPT-2,
Mistral-Nemo, DeepSeek). Token ids that are made for lengths are then its own, without
special ones; texts are counted; and an answer of the source (ShareGPT's) gives the length
to ask for. --as-text makes texts of exactly so many tokens instead of ids, for servers
that take none. A chat template adds its own tokens to a text, and a completion that of its
beginning (BOS) where the model has one: --endpoint completions is the closer.

  convert --tokenizer tokenizer.json --as-text --endpoint completions --model llama-8b -o trace.jsonl mooncake.jsonl

With --to it goes the other way: a trace becomes a file of another tool, a request log
or a recording a table, and both together a trace for ui.perfetto.dev.

  convert --to aiperfinputs -o inputs.json trace.jsonl
  convert --to parquet -o requests.parquet requests.jsonl
  convert --to csv power.*.arrows.zst | head
  convert --to perfetto -o run.pftrace requests.jsonl power.arrows
`

// options are the flags.
type options struct {
	traceflags.Flags
	keepGoing, list    bool
	timing, fromTiming string
	shape              shape
	intoDirectory      bool // found out from -o

	to       string
	compress bool

	timezone, host, columns string // of logs of other tools

	isSet func(flag string) bool
}

// Main runs the tool and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	return cli.Main(ctx, cli.Tool{
		Name:   "convert",
		Usage:  "turn another tool's trace into a raw_payload trace, or write for other tools",
		Args:   "[FILE|-]...",
		Manual: manual,
		Output: true,
		Flags: slices.Concat(o.Flags.List("from"), []ucli.Flag{
			&ucli.StringFlag{Name: "from-timing", Usage: "side file `FILE` of a raw_payload input; beside it it is found", Destination: &o.fromTiming},
			&ucli.StringFlag{Name: "timing", Usage: "write the side file to `FILE`; beside -o FILE it is FILE" + trace.TimingSuffix, Destination: &o.timing},
			&ucli.StringFlag{Name: "to", Usage: "write `FORMAT`: " + formHelp(), Destination: &o.to},
			&ucli.BoolFlag{Name: "compress", Usage: "with --to arrow: compress its buffers (zstd)", Destination: &o.compress},
			&ucli.StringFlag{Name: "timezone", Usage: "with --to: where the local times of a log are local: an IANA `NAME` such as Europe/London", DefaultText: "this machine's", Destination: &o.timezone},
			&ucli.StringFlag{Name: "host", Usage: "with --to: `NAME` of the host of a log that does not say it", Destination: &o.host},
			&ucli.StringFlag{Name: "columns", Usage: "with --to: the header of a log of nvidia-smi that has none (noheader): `LIST` that --query-gpu was given", Destination: &o.columns},
			&ucli.BoolFlag{Name: "list", Usage: "print the table of formats and exit", Destination: &o.list},
			&ucli.BoolFlag{Name: "keep-going", Usage: "skip rows that cannot be converted, count them, exit 3; of a damaged recording seal what precedes it", Destination: &o.keepGoing},
		}, o.shape.flags()),
		Action: func(ctx context.Context, env *cli.Env, c *ucli.Context) error {
			o.isSet = c.IsSet
			if err := o.check(c); err != nil {
				return err
			}
			if c.IsSet("to") {
				return to(ctx, env, c, &o)
			}
			return run(ctx, env, &o)
		},
	}, args, stdin, stdout, stderr)
}

// check refuses values of flags that mean nothing, with --to and without.
func (o *options) check(c *ucli.Context) error {
	if _, err := o.Options(c.IsSet); err != nil {
		return err
	}
	return o.shape.check(c)
}

// refuseBodyFlags refuses flags that shape bodies, where they are there already.
func (o *options) refuseBodyFlags(path string) error {
	names := o.Names()
	if o.to == "trtllm" || o.to == "vllm" { // whose rows have a length of their own
		names = slices.DeleteFunc(names, func(name string) bool { return name == "output-tokens" })
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "tokenizer" }) // it counts
	return traceflags.Refuse(o.isSet, path, names)
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
		return list(env.Stdout)
	}
	path, err := operand(env)
	if err != nil {
		return err
	}
	// A consumer of a pipe reads on after the first signal: its producer was
	// told too and is about to close its end.
	_, hard, stop := cli.Signals(ctx)
	defer stop()
	return o.transform(hard, env, path, nil, "", func() (sink, error) { return o.openSink(env) })
}

// transform writes the requests of an input, which may be open already, to a sink. lost
// is what does not get into that.
func (o *options) transform(ctx context.Context, env *cli.Env, path string, first *formats.Input, lost string, open func() (sink, error)) error {
	options, err := o.Options(o.isSet)
	if err != nil {
		return err
	}
	env.Reads(o.Tokenizer)
	env.Reads(o.fromTiming)
	if path != "-" {
		env.Reads(trace.TimingPath(path))
	}
	b, err := bodies.New(options)
	if err != nil {
		return err
	}
	out, err := open()
	if err != nil {
		return err
	}
	in, err := o.openSource(env, path, first, &interruptible{ctx: ctx, r: env.Stdin}, b.Codec())
	if err != nil {
		out.abort()
		return err
	}
	defer in.close()
	c := &conversion{
		ctx: ctx, env: env, keepGoing: o.keepGoing, bodies: b, out: out, name: path, checked: in.raw, input: in.main, shape: o.shape,
	}
	stopProgress := env.Progress(c.status)
	err = c.run(in)
	stopProgress()
	if errors.Is(err, bodies.ErrNoModel) {
		err = cli.Usagef("%s", err)
	}
	if err != nil {
		out.abort()
		return err
	}
	if err := out.close(); err != nil {
		return err
	}
	for _, what := range []string{in.lost, lost} {
		if what != "" {
			env.Summaryf("lost: %s", what)
		}
	}
	if n, ok := out.(interface{ notes() []string }); ok {
		for _, note := range n.notes() {
			env.Summaryf("%s", note)
		}
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

// codec returns the one that can read the input.
func (o *options) codec(in *formats.Input) (traces.Codec, error) {
	if o.Format != "" {
		codec, ok := traces.ByName(o.Format)
		if !ok || codec.Open == nil && !o.reshapes(in.Name()) {
			return codec, cli.Usagef("--from %q: want one of %s", o.Format, traces.Names())
		}
		return codec, nil
	}
	kind := in.Kind()
	codec, ok := traces.ByKind(kind)
	switch {
	case ok && codec.Open != nil:
		return codec, nil
	case ok && o.reshapes(in.Name()):
		return codec, nil
	case ok:
		return codec, cli.Hint(fmt.Errorf("%s: is a %s already", in.Name(), kind), "replay sends it as it is; --limit, --sample and others take a part of it; if it is a dataset, say of which tool: %s", from(kind))
	case isTelemetry(kind):
		return codec, cli.Hint(fmt.Errorf("%s: is a %s, not a trace", in.Name(), kind), "--to parquet seals it, or --to arrow, csv, jsonl, aiperf")
	case kind == formats.Unknown:
		return codec, unknown(in)
	}
	if hint := from(kind); hint != "" {
		return codec, cli.Hint(fmt.Errorf("%s: is a %s", in.Name(), kind), "say which: %s", hint)
	}
	return codec, fmt.Errorf("%s: is a %s, which cannot be converted yet", in.Name(), kind)
}

// from lists the formats that look like a kind.
func from(kind formats.Kind) string {
	var flags []string
	for _, name := range traces.Alike(kind) {
		flags = append(flags, "--from "+name)
	}
	return strings.Join(flags, ", ")
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
