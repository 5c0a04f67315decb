package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/traceflags"
	"wattrace/formats/requests"
	"wattrace/replay"
	"wattrace/trace"
)

func run(ctx context.Context, env *cli.Env, o *options, isSet func(string) bool) (err error) {
	path, err := operand(env)
	if err != nil {
		return err
	}
	opt, err := o.engineOptions(isSet)
	if err != nil {
		return err
	}
	t, closer, err := o.bodies.Load(env, path, o.timing, isSet)
	if err != nil {
		return err
	}
	defer closer.Close()
	opt.Turns = t.Turns
	opt.Clock = trace.NewSteadyClock()
	opt.Sleeper = replay.NewSleeper(opt.Clock)
	engine, err := replay.New(opt)
	if err != nil {
		return err
	}
	if err := engine.Preconnect(ctx); err != nil {
		return err
	}
	out, err := env.Output(cli.OutputOptions{Log: true, Compress: true})
	if err != nil {
		return err
	}
	return replayTo(ctx, env, engine, &opt, t, out, o)
}

// operand returns the trace.
func operand(env *cli.Env) (string, error) {
	switch {
	case env.Command != nil:
		return "", cli.Usagef("nothing may follow --")
	case len(env.Operands) > 1:
		return "", cli.Usagef("one trace at a time, not %d", len(env.Operands))
	case len(env.Operands) == 1:
		return env.Operands[0], nil
	case cli.IsTerminal(env.Stdin):
		return "", cli.Usagef("no trace: name a file or a directory, or pipe one in")
	}
	return "-", nil
}

// replayTo runs the engine and writes its log. From here on a signal does not
// kill: the log is closed whatever happens.
func replayTo(ctx context.Context, env *cli.Env, engine *replay.Engine, opt *replay.Options, t *traceflags.Trace, out *cli.Output, o *options) error {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(400)) // memory is small; pauses cost stamps
	}
	soft, hard, stop := cli.Signals(ctx)
	defer stop()
	if !out.Stdout { // a message that nobody reads any more does not end the run either
		pipes := make(chan os.Signal, 1)
		signal.Notify(pipes, syscall.SIGPIPE)
		defer signal.Stop(pipes)
	}
	log := &log{w: requests.NewWriter(out), shard: opt.Shard}
	head := header(engine, opt, t)
	head.Trace.Like = o.like
	head.Servers = askServers(soft, opt, time.Now())
	if err := errors.Join(log.w.Run(&head), log.w.Flush()); err != nil {
		return logError(out, err)
	}
	stopProgress := env.Progress((&progress{engine: engine}).status)
	over := make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() {
		select {
		case <-soft.Done():
			if n := engine.Progress().InFlight; n > 0 && hard.Err() == nil {
				env.Summaryf("stopping: %d in flight are waited for; once more gives them up", n)
			}
		case <-over:
		}
	})
	res, err := engine.Run(hard, soft.Done(), log)
	close(over)
	told.Wait()
	stopProgress()
	if err == nil {
		err = log.w.Close(&requests.Close{
			At: max(res.End, engine.Clock().Now()), Sent: res.Sent, Succeeded: res.Succeeded,
			Failed: res.Failed, Cancelled: res.Cancelled, Clean: !res.Stopped,
			Client: judgement(&res.Client),
		})
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return logError(out, err)
	}
	env.Summaryf("%s", summary(&res))
	for _, line := range heldBack(&res, &opt.Plan) {
		env.Summaryf("%s", line)
	}
	env.Summaryf("%s", clientSummary(&res.Client))
	if at, ok := engine.KernelClockLost().Get(); ok {
		env.Printf("warning: the wall clock was set during the run: from %.3f s on replay has stamped what arrived, and not the kernel", at.Seconds())
	}
	return verdict(&res, opt, o.strict)
}

// logError says that it was the log that failed, and not the requests.
func logError(out *cli.Output, err error) error {
	return fmt.Errorf("cannot write the request log (%s): %w", out.Path, err)
}

func header(engine *replay.Engine, opt *replay.Options, t *traceflags.Trace) requests.Run {
	head := requests.Run{
		Producer: cli.Producer(), Clock: engine.Clock().Clock(), Plan: opt.Plan,
		Shard: requests.Shard{Index: opt.Shard.Index, Count: opt.Shard.Count},
		Trace: requests.TraceInfo{Path: t.Path, SHA256: t.SHA256, Turns: int64(len(t.Turns))},
	}
	if t.Made != nil {
		head.Trace.Format, head.Trace.SourceSHA256 = t.Made.Format, t.Made.SourceSHA256
	}
	head.Machine = machine()
	head.ChunkClock, head.Connections = connections(opt)
	for _, target := range opt.Targets {
		head.Targets = append(head.Targets, target.String())
	}
	for _, overlay := range opt.Overlays {
		head.Overlays = append(head.Overlays, overlay.String())
	}
	return head
}
