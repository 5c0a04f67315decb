package measure

import (
	"context"
	"fmt"
	"io"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/traceflags"
)

const manual = `
Does a whole experiment: starts the server, waits until it is ready, records while it
rests, warms up, sends the load, records its rest again, stops what it started,
reduces, and leaves one directory.

  measure --trace trace.jsonl --phases plan.yaml -o run1 -- trtllm-serve MODEL --port 8000
  measure --url http://server:8000 --isl 1000 --osl 1000 --concurrency 16 --requests 160 -o run2
  measure --trace trace.jsonl --concurrency 1,8,64 --repeat 3 --cool-to 45C -o sweep -- vllm serve MODEL --port 8000
  measure --workload 'trtllm-bench --model M throughput --dataset d.jsonl' -o run3

Without a command after -- it measures a server that is there. Without --trace the
load is synthetic: prompts of exactly --isl tokens, answers of --osl.

Ctrl-C lets requests in flight end, closes all files and stops the server; pressed
again, it gives them up.
`

// options are the flags.
type options struct {
	out              string
	trace, timing    string
	isl, osl         int
	requests         int64
	duration         time.Duration
	rate             float64
	warmup           int64
	grace            time.Duration
	idle             time.Duration
	phases           string
	seed             uint64
	concurrencies    []int // nil: not given
	concurrency      string
	repeat           int
	coolTo           string
	cool             cooling
	restart          bool
	resume           bool
	urls             []string
	urlFile          string
	readyURL         string
	readyTimeout     time.Duration
	readyPoll        time.Duration
	stopGrace        time.Duration
	insecure         bool
	caFile           string
	model, target    string
	ignoreEOS        bool
	set              []string
	timeout          time.Duration
	keyFile, key     string
	workload         string
	marks            []string
	interval         time.Duration
	margin           time.Duration
	sources          []string
	devices, library string
	as, slo          []string
	idleWatts        float64
	topology         string
	recordFlags      []string
	replayFlags      []string
	reduceFlags      []string
	settings         map[string]string
	isSet            func(string) bool
	value            func(string) string // of a flag, as it is written
	bodies           traceflags.Flags    // but for its model and target
	made             bool                // the trace is another tool's, of which bodies are made
}

// Main runs the tool and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	return cli.Main(ctx, cli.Tool{
		Name:   "measure",
		Usage:  "run a whole experiment: server, recording, load, report",
		Args:   "-o DIR [-- SERVER ARGS...]",
		Manual: manual,
		Output: true, OutputUsage: "leave all in the directory `DIR`",
		Flags: append([]ucli.Flag{
			&ucli.StringFlag{Name: "trace", Usage: "`FILE` or directory to send: a trace of any format, as replay takes it", Destination: &o.trace},
			&ucli.StringFlag{Name: "timing", Usage: "side `FILE` of the trace", Destination: &o.timing},
			&ucli.IntFlag{Name: "isl", Usage: "without --trace: prompts of `N` tokens", Value: 1000, Destination: &o.isl},
			&ucli.IntFlag{Name: "osl", Usage: "without --trace: answers of `N` tokens", Value: 1000, Destination: &o.osl},
			&ucli.StringFlag{Name: "concurrency", Usage: "keep `N` requests in flight; of several, as in 1,8,64, each is a run", Destination: &o.concurrency},
			&ucli.Int64Flag{Name: "requests", Usage: "send `N`; without --trace 10 for each of --concurrency, else the trace once", Destination: &o.requests},
			&ucli.DurationFlag{Name: "duration", Usage: "stop sending after `TIME`", Destination: &o.duration},
			&ucli.Float64Flag{Name: "rate", Usage: "open loop: send `R` requests a second", Destination: &o.rate},
			&ucli.Int64Flag{Name: "warmup", Usage: "send `N` requests first, as a phase warmup", Destination: &o.warmup},
			&ucli.DurationFlag{Name: "grace", Usage: "cancel what is in flight `TIME` after the last request was sent", Destination: &o.grace},
			&ucli.DurationFlag{Name: "idle", Usage: "rest for `TIME` before and after the load; 0 is not at all", Value: 30 * time.Second, Destination: &o.idle},
			&ucli.StringFlag{Name: "phases", Usage: "take the load from `FILE` (YAML), a plan as replay takes it", Destination: &o.phases},
			&ucli.Uint64Flag{Name: "seed", Usage: "`SEED` of what is drawn at random, and of synthetic prompts", Destination: &o.seed},
			&ucli.IntFlag{Name: "repeat", Usage: "do all `N` times, in turns", Value: 1, Destination: &o.repeat},
			&ucli.StringFlag{Name: "cool-to", Usage: "between runs wait until no GPU is hotter than `45C`, or for a time, as in 60s", Destination: &o.coolTo},
			&ucli.DurationFlag{Name: "cool-timeout", Usage: "wait at most `TIME` for the temperature", Value: 10 * time.Minute, Destination: &o.cool.timeout},
			&ucli.BoolFlag{Name: "restart", Usage: "start the server anew for each run", Destination: &o.restart},
			&ucli.BoolFlag{Name: "resume", Usage: "do what is not finished in the directory, and more of --repeat", Destination: &o.resume},
			&ucli.StringSliceFlag{Name: "url", Usage: "base `URL` of the server; may be repeated; else $WATTRACE_URL, or this host's by the command's --port, or 8000"},
			&ucli.StringFlag{Name: "url-file", Usage: "take the URL from `FILE`, which the server writes", Destination: &o.urlFile},
			&ucli.StringFlag{Name: "ready-url", Usage: "`URL` that answers 2xx when the server is ready; else its /health, /v1/models", Destination: &o.readyURL},
			&ucli.DurationFlag{Name: "ready-timeout", Usage: "wait at most `TIME` for the server", Value: 30 * time.Minute, Destination: &o.readyTimeout},
			&ucli.DurationFlag{Name: "ready-poll", Usage: "`TIME` between two questions whether it is ready", Value: time.Second, Destination: &o.readyPoll},
			&ucli.DurationFlag{Name: "stop-grace", Usage: "kill what has not ended `TIME` after it was asked to", Value: 30 * time.Second, Destination: &o.stopGrace},
			&ucli.BoolFlag{Name: "insecure", Usage: "do not check the server's certificate", Destination: &o.insecure},
			&ucli.StringFlag{Name: "ca-file", Usage: "trust the certificates in `FILE`, and no others", Destination: &o.caFile},
			&ucli.StringFlag{Name: "model", Usage: "`NAME` of the model; else the trace's own (of another tool's trace, where it has one), or for synthetic prompts the server's", Destination: &o.model},
			&ucli.StringFlag{Name: "target", Usage: "kind of the server: `SERVER` trtllm, vllm, sglang, openai", Value: "trtllm", Destination: &o.target},
			&ucli.BoolFlag{Name: "ignore-eos", Usage: "ask for answers of full length: false leaves them to the trace", Value: true, Destination: &o.ignoreEOS},
			&ucli.StringSliceFlag{Name: "set", Usage: "set a top-level key of every body: `KEY=JSON`; may be repeated"},
			&ucli.DurationFlag{Name: "timeout", Usage: "fail a request after `TIME`", Value: 10 * time.Minute, Destination: &o.timeout},
			&ucli.StringFlag{Name: "api-key-file", Usage: "take the API key from `FILE`; else $WATTRACE_API_KEY", Destination: &o.keyFile},
			&ucli.StringFlag{Name: "workload", Usage: "run a shell `COMMAND` in the place of server and load", Destination: &o.workload},
			&ucli.StringSliceFlag{Name: "mark", Usage: "of --workload: a line that matches begins a phase, `REGEX=PHASE`; may be repeated"},
			&ucli.DurationFlag{Name: "interval", Usage: "`TIME` between two readings of power and energy", Value: 50 * time.Millisecond, Destination: &o.interval},
			&ucli.DurationFlag{Name: "margin", Usage: "`TIME` to record before and after all phases", Value: 2 * time.Second, Destination: &o.margin},
			&ucli.StringSliceFlag{Name: "source", Usage: "what to record, `NAME` or NAME:ARGUMENT, as record takes it; may be repeated; nvml unless given"},
			&ucli.StringFlag{Name: "devices", Usage: "GPUs to record, a `LIST` as record takes it", Destination: &o.devices},
			&ucli.StringFlag{Name: "nvml-library", Usage: "`PATH` of NVML, if not the driver's libnvidia-ml.so.1", Destination: &o.library},
			&ucli.StringSliceFlag{Name: "as", Usage: "add what another `TOOL` would have published, as reduce takes it"},
			&ucli.StringSliceFlag{Name: "slo", Usage: "a good request has `ttft=TIME`, itl=TIME or latency=TIME at most"},
			&ucli.Float64Flag{Name: "idle-watts", Usage: "all GPUs together draw `W` watts at rest", Destination: &o.idleWatts},
			&ucli.StringFlag{Name: "topology", Usage: "`FILE` that says which GPUs should be there, as reduce takes it", Destination: &o.topology},
			&ucli.StringSliceFlag{Name: "record-flag", Usage: "one more flag for record, `NAME[=VALUE]` without dashes; may be repeated"},
			&ucli.StringSliceFlag{Name: "replay-flag", Usage: "one more flag for replay, `NAME[=VALUE]`; may be repeated"},
			&ucli.StringSliceFlag{Name: "reduce-flag", Usage: "one more flag for reduce, `NAME[=VALUE]`; may be repeated"},
		}, o.bodies.List("trace-format", "model", "target", "no-stream")...),
		Action: func(ctx context.Context, env *cli.Env, c *ucli.Context) error {
			o.urls, o.set, o.marks = c.StringSlice("url"), c.StringSlice("set"), c.StringSlice("mark")
			o.sources, o.as, o.slo = c.StringSlice("source"), c.StringSlice("as"), c.StringSlice("slo")
			o.recordFlags, o.replayFlags, o.reduceFlags = c.StringSlice("record-flag"), c.StringSlice("replay-flag"), c.StringSlice("reduce-flag")
			o.isSet, o.value = c.IsSet, func(name string) string { return fmt.Sprint(c.Value(name)) }
			o.settings = settingsOf(c)
			if err := o.check(env); err != nil {
				return err
			}
			return measure(ctx, env, &o)
		},
	}, args, stdin, stdout, stderr)
}
