package replay

import (
	"context"
	"io"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/traceflags"
	"wattrace/trace"
)

const manual = `
Sends the request bodies of a trace, byte for byte, to an OpenAI-compatible server
and writes the request log: one line for each request, with every event of its
answer stamped. TRACE is a raw_payload file (JSON Lines, each line one body;
compressed or not), a directory of conversations, or "-", standard input.

A trace of any other format that "convert --list" names is taken too. Its bodies are
made first, as "convert" makes them of the same flags: --model, --target, --endpoint,
--block-size, --vocab, --output-tokens, --turns, --tokenizer, --as-text. What is sent is the
same then, and so is the SHA-256 in the log. --trace-format names a format that others look
like. "convert" also takes a part of a trace.

  replay --url http://127.0.0.1:8000 --model llama-8b --trace-times -o requests.jsonl mooncake.jsonl

  replay --url http://127.0.0.1:8000 --concurrency 16 -o requests.jsonl trace.jsonl
  replay --url http://127.0.0.1:8000 --phases plan.yaml -o requests.jsonl trace.jsonl
  replay --check --dialect trtllm --concurrency 16 trace.jsonl

The load is a closed loop of --concurrency slots, an open loop at a --rate, the
trace's own times (--trace-times), or --users. A plan file has all of it for several
phases.

  replay --rate 20 --duration 5m -o requests.jsonl trace.jsonl
  replay --trace-times --speedup 10 -o requests.jsonl trace.jsonl

Failed requests are logged, never retried: exit status 3. Ctrl-C stops sending and
waits for what is in flight; pressed again, it cancels that.
`

// options are the flags.
type options struct {
	url, set, header []string
	concurrency      int
	requests         int64
	duration         time.Duration
	warmupRequests   int64
	warmupDuration   time.Duration
	handover         bool
	grace            time.Duration
	idleBefore       time.Duration
	idleAfter        time.Duration
	load             trace.Load
	arrival, order   string
	ramp, cancel     string
	shard, startAt   string
	seed             uint64
	phases           string
	timeout          time.Duration
	timing           string
	keyFile          string
	serverMessages   bool
	strict           bool
	bodies           traceflags.Flags
	like             string
	clientOptions
	checkOptions
	selftestOptions
}

// defaultTimeout is generous: a long answer of a busy server takes minutes, and a
// time limit is there for what never ends.
const defaultTimeout = 10 * time.Minute

// Main runs the tool and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	return cli.Main(ctx, cli.Tool{
		Name:   "replay",
		Usage:  "send a trace to a server and log every request",
		Args:   "TRACE|DIR|-",
		Manual: manual,
		Output: true,
		Flags: slices.Concat([]ucli.Flag{
			&ucli.StringSliceFlag{Name: "url", Usage: "base `URL` of the server; several take turns; else $WATTRACE_URL"},
			&ucli.IntFlag{Name: "concurrency", Usage: "keep `N` requests in flight", Value: 1, Destination: &o.concurrency},
			&ucli.Int64Flag{Name: "requests", Usage: "stop after `N`; the whole trace once when not given", Destination: &o.requests},
			&ucli.DurationFlag{Name: "duration", Usage: "stop sending after `TIME`", Destination: &o.duration},
			&ucli.Int64Flag{Name: "warmup-requests", Usage: "send `N` first, as a phase warmup", Destination: &o.warmupRequests},
			&ucli.DurationFlag{Name: "warmup-duration", Usage: "send for `TIME` first, as a phase warmup", Destination: &o.warmupDuration},
			&ucli.BoolFlag{Name: "handover", Usage: "begin profiling without waiting for the end of the warmup's requests", Destination: &o.handover},
			&ucli.DurationFlag{Name: "grace", Usage: "cancel what is in flight `TIME` after a phase's last request was sent", Destination: &o.grace},
			&ucli.DurationFlag{Name: "idle-before", Usage: "rest for `TIME` first, as a phase idle_before", Destination: &o.idleBefore},
			&ucli.DurationFlag{Name: "idle-after", Usage: "rest for `TIME` last, as a phase idle_after", Destination: &o.idleAfter},
			&ucli.Float64Flag{Name: "rate", Usage: "open loop: begin `R` conversations (where turns belong to none, requests) a second; --concurrency is a ceiling then", Destination: &o.load.Rate},
			&ucli.StringFlag{Name: "arrival", Usage: "gaps of --rate: `KIND` poisson (when not given), constant or gamma", Destination: &o.arrival},
			&ucli.Float64Flag{Name: "burstiness", Usage: "`SHAPE` of gamma arrivals: 1 is poisson, less is burstier", Destination: &o.load.Shape},
			&ucli.BoolFlag{Name: "arrival-normalize", Usage: "stretch the arrivals so that the last is due at their number / rate, as vLLM's benchmark does", Destination: &o.load.Normalize},
			&ucli.BoolFlag{Name: "trace-times", Usage: "send at the trace's own times (at_seconds of the side file)", Destination: &o.load.FromTrace},
			&ucli.Float64Flag{Name: "speedup", Usage: "let --trace-times pass `X` times as fast", Destination: &o.load.Speedup},
			&ucli.DurationFlag{Name: "from", Usage: "of --trace-times only what begins from `TIME` on", Destination: &o.load.From},
			&ucli.DurationFlag{Name: "to", Usage: "of --trace-times only what begins before `TIME`", Destination: &o.load.To},
			&ucli.DurationFlag{Name: "max-gap", Usage: "cut times without an arrival in --trace-times to `TIME`", Destination: &o.load.MaxGap},
			&ucli.BoolFlag{Name: "open-loop-strict", Usage: "send every turn of --trace-times at its time, whether or not the turn before it has ended", Destination: &o.load.Strict},
			&ucli.IntFlag{Name: "users", Usage: "`N` users, each sending every --turn-gap, or when answered if that is later", Destination: &o.load.Users},
			&ucli.DurationFlag{Name: "turn-gap", Usage: "`TIME` between two requests of one of --users", Destination: &o.load.TurnGap},
			&ucli.DurationFlag{Name: "think", Usage: "`TIME` between an answer and the slot's next request", Destination: &o.load.Think},
			&ucli.DurationFlag{Name: "stagger", Usage: "begin the slots one after another over `TIME`", Destination: &o.load.Stagger},
			&ucli.StringFlag{Name: "ramp", Usage: "begin at another rate or concurrency and get to it in a TIME: `FROM:TIME[:exponential]`", Destination: &o.ramp},
			&ucli.IntFlag{Name: "prefill-concurrency", Usage: "at most `N` requests at once that were sent and have no first token yet", Destination: &o.load.Prefills},
			&ucli.StringFlag{Name: "cancel", Usage: "give up a share of the requests a TIME after each was sent: `SHARE:TIME`", Destination: &o.cancel},
			&ucli.StringFlag{Name: "order", Usage: "begin conversations in an `ORDER`: sequential (when not given), shuffle or random", Destination: &o.order},
			&ucli.IntFlag{Name: "repeat", Usage: "send each conversation `N` times in a row", Destination: &o.load.Repeat},
			&ucli.Float64Flag{Name: "max-error-rate", Usage: "stop the run when more than a `SHARE` of a phase's requests fail, of 20 at least", Destination: &o.load.MaxErrorRate},
			&ucli.Uint64Flag{Name: "seed", Usage: "`SEED` of what is drawn at random: the same one gives the same run", Destination: &o.seed},
			&ucli.StringFlag{Name: "shard", Usage: "be the I-th of N clients, from 0, of one run: `I/N`; auto takes both from Slurm, Open MPI or, as auto/N, an indexed job of Kubernetes", Destination: &o.shard},
			&ucli.StringFlag{Name: "start-at", Usage: "begin at a `TIME`: RFC 3339, Unix seconds, or +30s from now", Destination: &o.startAt},
			&ucli.StringFlag{Name: "phases", Usage: "take the phases from `FILE` (YAML), instead of the flags above", Destination: &o.phases},
			&ucli.DurationFlag{Name: "timeout", Usage: "fail a request after `TIME`; 0 is never", Value: defaultTimeout, Destination: &o.timeout},
			&ucli.StringSliceFlag{Name: "set", Usage: "set a top-level key of every body: `KEY=JSON`; may be repeated"},
			&ucli.StringSliceFlag{Name: "header", Usage: "add a header to every request: `'NAME: VALUE'`; may be repeated"},
			&ucli.StringFlag{Name: "timing", Usage: "side `FILE` of the trace; TRACE" + trace.TimingSuffix + " if there is one", Destination: &o.timing},
			&ucli.StringFlag{Name: "trace-like", Usage: "compare takes runs of other traces with the same `TEXT` for runs of like ones", Destination: &o.like},
			&ucli.StringFlag{Name: "api-key-file", Usage: "take the API key from `FILE`; else $WATTRACE_API_KEY", Destination: &o.keyFile},
			&ucli.BoolFlag{Name: "server-messages", Usage: "log servers' error messages too; they may quote prompts", Destination: &o.serverMessages},
			&ucli.BoolFlag{Name: "strict", Usage: "exit with status 3 where the client was late or saturated", Destination: &o.strict},
		}, o.bodies.List("trace-format", "no-stream"), o.clientOptions.flags(), o.checkOptions.flags(), o.selftestOptions.flags()),
		Action: func(ctx context.Context, env *cli.Env, c *ucli.Context) error {
			o.url, o.set, o.header = c.StringSlice("url"), c.StringSlice("set"), c.StringSlice("header")
			o.sources = c.StringSlice("source-address")
			switch {
			case o.server:
				return serveSelftest(env, stdout)
			case o.selftest:
				return runSelftest(ctx, env, &o)
			case o.check:
				return check(ctx, env, &o, c.IsSet)
			}
			return run(ctx, env, &o, c.IsSet)
		},
	}, args, stdin, stdout, stderr)
}
