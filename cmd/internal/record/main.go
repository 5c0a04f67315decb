package record

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/exposition"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/sample/scrape"
	"wattrace/trace"
)

const manual = `
Samples the GPUs of this host into a recording: until Ctrl-C, for a time, or
while a command runs, with a margin before and after it.

  record -o power.arrows -- replay -o requests.jsonl --url http://server:8000 trace.jsonl
  record --for 30s | reduce
  record --list
  record --check --devices 0,1 -o power.arrows
  record --characterise --load 'python3 square.py' -o sensors.yaml

With --source it samples more, or other things: processors and memory (rapl),
power meters (hwmon), AMD's GPUs (amd-smi), what another program writes into a
pipe (nvidia-smi:-, dmon:-, dcgmi:-), or the page of a dcgm-exporter (dcgm:URL) or of
a server (vllm:URL, sglang:URL, trtllm:URL).

  record --source nvml --source rapl --source hwmon -o power.arrows
  nvidia-smi dmon -s puc | record --source dmon:- -o power.arrows

The command's exit status is record's.
`

// options are the flags.
type options struct {
	interval, slow, duration, margin time.Duration
	sources, marks                   []string
	rules                            []rule
	rotate                           time.Duration
	control, ready                   string
	names                            names
	library                          string
	devices                          *string // nil is all
	scrape                           time.Duration
	listen                           string
	list, checking                   bool
	characterising                   bool
	load, format                     string // of it
}

// Main runs the tool and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	return cli.Main(ctx, cli.Tool{
		Name:   "record",
		Usage:  "sample GPU power and energy into a recording",
		Args:   "[-- COMMAND ARGS...]",
		Manual: manual,
		Output: true,
		Flags: []ucli.Flag{
			&ucli.DurationFlag{Name: "interval", Usage: "`TIME` between two readings of power and energy", Value: sample.DefaultInterval, Destination: &o.interval},
			&ucli.DurationFlag{Name: "slow-interval", Usage: "`TIME` between two readings of utilisation, memory, temperature, clocks", Value: sample.DefaultSlowInterval, Destination: &o.slow},
			&ucli.DurationFlag{Name: "for", Usage: "record for so long a `TIME`", Destination: &o.duration},
			&ucli.DurationFlag{Name: "margin", Usage: "`TIME` to record before the command starts and after it has ended", Value: 2 * time.Second, Destination: &o.margin},
			&ucli.StringSliceFlag{Name: "source", Usage: "what to record, `NAME` or NAME:ARGUMENT; may be repeated; nvml unless given"},
			&ucli.StringFlag{Name: "devices", Usage: "GPUs to record, a `LIST` of indexes, UUIDs, PCI addresses, or cuda for what CUDA_VISIBLE_DEVICES says; all unless given"},
			&ucli.DurationFlag{Name: "scrape-interval", Usage: "`TIME` between two fetches of a page of metrics", Value: scrape.DefaultInterval, Destination: &o.scrape},
			&ucli.StringFlag{Name: "listen", Usage: "show the latest readings to Prometheus on `HOST:PORT`; :PORT is this host alone", Destination: &o.listen},
			&ucli.StringFlag{Name: "nvml-library", Usage: "`PATH` of NVML, if not the driver's libnvidia-ml.so.1", Destination: &o.library},
			&ucli.DurationFlag{Name: "rotate", Usage: "begin a new file each `TIME`: power.00000.arrows, power.00001.arrows, ...", Destination: &o.rotate},
			&ucli.StringSliceFlag{Name: "mark", Usage: "a line of the command's output that matches begins a phase, `REGEX=PHASE`; REGEX= ends it; may be repeated"},
			&ucli.StringFlag{Name: "control", Usage: "take orders on the Unix socket `PATH`: sample, start PHASE, end, note TEXT, status", Destination: &o.control},
			&ucli.StringFlag{Name: "ready", Usage: "`FILE` that is there while the recording runs", Destination: &o.ready},
			&ucli.BoolFlag{Name: "list", Usage: "print the GPUs, what each can tell and tells now, what reduce takes their power fields for, and exit", Destination: &o.list},
			&ucli.BoolFlag{Name: "check", Usage: "open all that the flags name, record nothing, and end", Destination: &o.checking},
			&ucli.BoolFlag{Name: "characterise", Usage: "measure what the power fields show, and write it as reduce --sensors takes it", Destination: &o.characterising},
			&ucli.StringFlag{Name: "load", Usage: "of --characterise: shell `COMMAND` that makes GPUs switch between two powers", Destination: &o.load},
			&ucli.StringFlag{Name: "format", Usage: "of --characterise: `yaml` or text", Value: "yaml", Destination: &o.format},
		},
		Action: func(ctx context.Context, env *cli.Env, c *ucli.Context) error {
			if o.sources = c.StringSlice("source"); len(o.sources) == 0 {
				o.sources = []string{"nvml"}
			}
			o.marks = c.StringSlice("mark")
			if c.IsSet("devices") {
				devices := c.String("devices")
				o.devices = &devices
			}
			return o.run(ctx, env, c.IsSet)
		},
	}, args, stdin, stdout, stderr)
}

func (o *options) run(ctx context.Context, env *cli.Env, isSet func(string) bool) error {
	if !isSet("slow-interval") {
		o.slow = max(o.slow, o.interval)
	}
	if o.characterising && !isSet("interval") {
		o.interval = fastPoll
	}
	if err := o.check(env, isSet); err != nil {
		return err
	}
	if !o.list && !o.characterising {
		if err := o.checkReady(); err != nil {
			return err
		}
	}
	var cmd *exec.Cmd
	if env.Command != nil {
		var err error
		if cmd, err = findCommand(env, env.Command); err != nil {
			return err
		}
	}
	clock := trace.NewSteadyClock()
	src, err := o.openSources(env, clock)
	if err != nil {
		return err
	}
	defer src.close()
	if src.stdin != "" {
		env.Stdin = nil // the command gets none of it
	}
	if o.list {
		out, err := env.Output(cli.OutputOptions{Atomic: true})
		if err != nil {
			return err
		}
		if err := errors.Join(list(out, src), listLaws(out, src)); err != nil {
			out.Abort()
			return err
		}
		return out.Close()
	}
	if len(src.devices()) == 0 && len(src.feeds) == 0 {
		return errors.New("this host has no GPUs")
	}
	// A call of a driver holds a processor of Go's for up to 10 ms: with one for
	// each unit, and two for the rest, none waits for another.
	runtime.GOMAXPROCS(max(src.units()+2, runtime.GOMAXPROCS(0)))
	quietMonitor()
	if o.characterising {
		return o.characterise(ctx, env, src, clock)
	}
	s := &sample.Sampler{Sources: src.pulled, Feeds: src.feeds, Clock: clock, Interval: o.interval, SlowInterval: o.slow}
	s.Inbox.Most = max(1, telemetry.MaxDevices-len(s.Devices()))
	m := &marker{clock: clock, inbox: &s.Inbox, device: markDevice(clock.Clock().Host)}
	if len(o.rules) > 0 || o.control != "" {
		s.Inbox.Announce(m.device)
	}
	var v *live
	if o.listen != "" {
		if v, err = listen(o.listen, s); err != nil {
			return err
		}
		defer v.close()
		if !o.checking {
			env.Summaryf("the latest readings are at %s", v.url)
		}
	}
	var socket net.Listener
	if o.control != "" {
		if socket, err = openSocket(o.control); err != nil {
			return err
		}
		defer socket.Close()
	}
	if o.checking {
		return o.names.check(env)
	}
	r, err := newRecording(env, s, src, o.names, o.rotate)
	if err != nil {
		return err
	}
	if v != nil {
		r.latest = append(r.latest, v.Take)
	}
	if socket != nil {
		defer serveControl(socket, r, m).close()
	}
	defer o.announce(ctx, r)()
	defer scanOnSignal(s)()
	if cmd != nil {
		return o.around(ctx, env, r, m, cmd)
	}
	return o.alone(ctx, env, r)
}

// scanOnSignal has all devices read in full at SIGUSR1.
func scanOnSignal(s *sample.Sampler) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for {
			select {
			case <-signals:
				s.Scan()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// check finds what is wrong with the command line before anything is opened.
func (o *options) check(env *cli.Env, isSet func(string) bool) (err error) {
	const least = time.Millisecond
	switch {
	case len(env.Operands) > 0:
		return cli.Hint(cli.Usagef("record takes no operand"), "a command to run goes after --")
	case env.Command != nil && len(env.Command) == 0:
		return cli.Usagef("no command after --")
	case o.interval < least:
		return cli.Usagef("--interval %v: want at least %v", o.interval, least)
	case o.slow < o.interval:
		return cli.Usagef("--slow-interval %v: want at least the interval, %v", o.slow, o.interval)
	case o.scrape < least:
		return cli.Usagef("--scrape-interval %v: want at least %v", o.scrape, least)
	case o.duration < 0 || o.duration == 0 && isSet("for"):
		return cli.Usagef("--for %v: want a positive time", o.duration)
	case o.duration > 0 && env.Command != nil:
		return cli.Usagef("--for and a command exclude each other: a command is recorded until it ends")
	case o.margin < 0:
		return cli.Usagef("--margin %v: want no negative time", o.margin)
	case o.devices != nil && !slices.Contains(o.sources, "nvml"):
		return cli.Usagef("--devices is of --source nvml, which is not recorded")
	case o.list && env.Command != nil:
		return cli.Usagef("--list runs no command")
	case !o.characterising && (isSet("load") || isSet("format")):
		return cli.Usagef("--load and --format are of --characterise")
	case o.characterising && env.Command != nil:
		return cli.Hint(cli.Usagef("--characterise takes no command after --"), "the load is --load 'COMMAND', since record ends it")
	case o.characterising && o.list:
		return cli.Usagef("--list and --characterise exclude each other")
	case o.checking && (o.list || o.characterising):
		return cli.Usagef("--check is of a recording: --list and --characterise make none")
	case o.characterising && o.duration > 0 && o.duration < leastFor:
		return cli.Usagef("--for %v: --characterise wants at least %v", o.duration, leastFor)
	case o.format != "yaml" && o.format != "text":
		return cli.Usagef("--format %q: want yaml or text", o.format)
	}
	if o.rotate != 0 && o.rotate < time.Second {
		return cli.Usagef("--rotate %v: want at least 1s", o.rotate)
	}
	if len(o.marks) > 0 && env.Command == nil {
		return cli.Hint(cli.Usagef("--mark needs a command, whose output it reads"), "--control takes marks from elsewhere")
	}
	if o.rules, err = newRules(o.marks); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if o.names, err = newNames(env.OutputPath(), host, o.rotate > 0); err != nil {
		return err
	}
	if o.listen != "" {
		if _, err := exposition.Address(o.listen); err != nil {
			return err
		}
	}
	return o.checkSources()
}

// alone records until the time is over or a signal comes: both are its normal
// end.
func (o *options) alone(ctx context.Context, env *cli.Env, r *recording) error {
	soft, _, stop := cli.Signals(ctx)
	defer stop()
	if o.duration > 0 {
		var cancel context.CancelFunc
		r.until = r.sampler.Clock.Now().Sub(0) + o.duration
		soft, cancel = context.WithTimeout(soft, o.duration)
		defer cancel()
	}
	stopProgress := env.Progress(r.progress)
	err := r.run(soft)
	stopProgress()
	if err == nil {
		r.summarise()
		err = r.incomplete()
	}
	return quietPipe(err)
}

// quietPipe makes nothing of the error that the reader of a pipe has had
// enough: whoever closed it knows.
func quietPipe(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return cli.ExitStatus(cli.ExitFailed)
	}
	return err
}
