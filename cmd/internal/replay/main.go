package replay

import (
	"context"
	"io"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/trace"
)

const manual = `
Sends the request bodies of a trace, byte for byte, to an OpenAI-compatible server
and writes the request log: one line for each request, with every event of its
answer stamped. TRACE is a raw_payload file (JSON Lines, each line one body;
compressed or not), a directory of conversations, or "-", standard input.

  replay --url http://127.0.0.1:8000 --concurrency 16 -o requests.jsonl trace.jsonl
  replay --url http://127.0.0.1:8000 --phases plan.yaml -o requests.jsonl trace.jsonl
  replay --check --dialect trtllm --concurrency 16 trace.jsonl

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
	phases           string
	timeout          time.Duration
	timing           string
	keyFile          string
	serverMessages   bool
	clientOptions
	checkOptions
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
			&ucli.StringFlag{Name: "phases", Usage: "take the phases from `FILE` (YAML), instead of the flags above", Destination: &o.phases},
			&ucli.DurationFlag{Name: "timeout", Usage: "fail a request after `TIME`; 0 is never", Value: defaultTimeout, Destination: &o.timeout},
			&ucli.StringSliceFlag{Name: "set", Usage: "set a top-level key of every body: `KEY=JSON`; may be repeated"},
			&ucli.StringSliceFlag{Name: "header", Usage: "add a header to every request: `'NAME: VALUE'`; may be repeated"},
			&ucli.StringFlag{Name: "timing", Usage: "side file of the trace; TRACE" + trace.TimingSuffix + " if there is one", Destination: &o.timing},
			&ucli.StringFlag{Name: "api-key-file", Usage: "take the API key from `FILE`; else $WATTRACE_API_KEY", Destination: &o.keyFile},
			&ucli.BoolFlag{Name: "server-messages", Usage: "log servers' error messages too; they may quote prompts", Destination: &o.serverMessages},
		}, o.clientOptions.flags(), o.checkOptions.flags()),
		Action: func(ctx context.Context, env *cli.Env, c *ucli.Context) error {
			o.url, o.set, o.header = c.StringSlice("url"), c.StringSlice("set"), c.StringSlice("header")
			o.sources = c.StringSlice("source-address")
			if o.check {
				return check(ctx, env, &o, c.IsSet)
			}
			return run(ctx, env, &o, c.IsSet)
		},
	}, args, stdin, stdout, stderr)
}
