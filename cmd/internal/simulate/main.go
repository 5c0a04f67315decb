package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/replay/simserver"
	"wattrace/sample/sim"
)

const manual = `
A simulated OpenAI-compatible server on simulated GPUs, whose exact energy it can
write down. SIGINT or SIGTERM is its normal end.

  simulate --listen 127.0.0.1:0 --addr-file server.url --truth truth.jsonl
`

// options are the flags.
type options struct {
	listen, addrFile string
	dcgm, dcgmFile   string
	dcgmEvery        time.Duration
	model, dialect   string
	context, queue   int
	batch            int
	reasoning, fail  int
	times            bool
	gpus             int
	arch             string
	seed             uint64
	speed            float64
	truth, state     string
	force            bool
}

// Main runs the tool and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	return cli.Main(ctx, cli.Tool{
		Name:   "simulate",
		Usage:  "an LLM server on simulated GPUs",
		Manual: manual,
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "listen", Usage: "listen on `HOST:PORT`; port 0 is any", Value: "127.0.0.1:8000", Destination: &o.listen},
			&ucli.StringFlag{Name: "addr-file", Usage: "write the server's URL to `FILE` once it listens", Destination: &o.addrFile},
			&ucli.StringFlag{Name: "model", Usage: "`NAME` of the model", Value: simserver.DefaultModel, Destination: &o.model},
			&ucli.StringFlag{Name: "dialect", Usage: "answer as `SERVER` does: " + dialectNames(), Value: string(simserver.VLLM), Destination: &o.dialect},
			&ucli.IntFlag{Name: "max-context", Usage: "refuse more than `N` tokens of a prompt and its answer", Value: 131_072, Destination: &o.context},
			&ucli.IntFlag{Name: "max-batch", Usage: "serve at most `N` requests at once", Value: defaultBatch, Destination: &o.batch},
			&ucli.IntFlag{Name: "max-queue", Usage: "refuse requests while `N` wait (sglang, openai; 0: no limit)", Destination: &o.queue},
			&ucli.IntFlag{Name: "reasoning-tokens", Usage: "begin chats and responses with `N` tokens of reasoning", Destination: &o.reasoning},
			&ucli.IntFlag{Name: "fail-every", Usage: "let every `N`th request fail before its last token", Destination: &o.fail},
			&ucli.BoolFlag{Name: "request-metrics", Usage: "tell the times of each request (vllm, trtllm)", Destination: &o.times},
			&ucli.IntFlag{Name: "gpus", Usage: "`N` GPUs share each request", Value: 4, Destination: &o.gpus},
			&ucli.StringFlag{Name: "arch", Usage: "`NAME` of the GPUs' architecture: " + archNames(), Value: sim.Profiles()[0].Name, Destination: &o.arch},
			&ucli.Uint64Flag{Name: "seed", Usage: "`N` decides words, lengths and the differences of the GPUs", Value: 1, Destination: &o.seed},
			&ucli.Float64Flag{Name: "speed", Usage: "serve `X` times faster", Value: 1, Destination: &o.speed},
			&ucli.StringFlag{Name: "truth", Usage: "write what the GPUs really drew to `FILE`", Destination: &o.truth},
			&ucli.StringFlag{Name: "nvml-state", Usage: "publish the sensors in `FILE` for the stub of libnvidia-ml", Destination: &o.state},
			&ucli.StringFlag{Name: "dcgm-listen", Usage: "show the sensors on the page of a dcgm-exporter on `HOST:PORT`, as localhost:9400", Destination: &o.dcgm},
			&ucli.DurationFlag{Name: "dcgm-interval", Usage: "refresh that page every `TIME`", Value: time.Second, Destination: &o.dcgmEvery},
			&ucli.StringFlag{Name: "dcgm-addr-file", Usage: "write that page's URL to `FILE` once it is there", Destination: &o.dcgmFile},
			&ucli.BoolFlag{Name: "force", Usage: "replace an existing truth file", Destination: &o.force},
		},
		Action: func(ctx context.Context, env *cli.Env, _ *ucli.Context) error { return run(ctx, env, &o) },
	}, args, stdin, stdout, stderr)
}

func dialectNames() (names string) {
	for i, d := range simserver.Dialects() {
		if i > 0 {
			names += ", "
		}
		names += string(d)
	}
	return names
}

func archNames() (names string) {
	for i, p := range sim.Profiles() {
		if i > 0 {
			names += ", "
		}
		names += p.Name
	}
	return names
}

// check finds mistakes on the command line.
func (o *options) check(env *cli.Env) error {
	switch {
	case len(env.Operands) > 0:
		return cli.Usagef("unexpected operand %q", env.Operands[0])
	case env.Command != nil:
		return cli.Usagef("nothing may follow --")
	case o.gpus < 1 || o.gpus > sim.MaxDevices:
		return cli.Usagef("--gpus %d: want 1 to %d", o.gpus, sim.MaxDevices)
	case !(o.speed > 0 && o.speed <= 1000):
		return cli.Usagef("--speed %v: want more than 0 and at most 1000", o.speed)
	case o.model == "":
		return cli.Usagef("--model is empty")
	case o.context < 1:
		return cli.Usagef("--max-context %d: want at least 1", o.context)
	case o.batch < 1 || o.batch > 1<<20:
		return cli.Usagef("--max-batch %d: want 1 to %d", o.batch, 1<<20)
	case o.queue < 0 || o.reasoning < 0 || o.fail < 0:
		return cli.Usagef("--max-queue, --reasoning-tokens and --fail-every: want at least 0")
	case !slices.Contains(simserver.Dialects(), simserver.Dialect(o.dialect)):
		return cli.Usagef("--dialect %q: want %s", o.dialect, dialectNames())
	}
	if _, err := simserver.New(o.server()); err != nil {
		return cli.Usagef("%v", err)
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return cli.Usagef("--listen %q: want HOST:PORT", o.listen)
	}
	if _, err := sim.ProfileByName(o.arch); err != nil {
		return cli.Usagef("--arch: %v", err)
	}
	return o.checkDCGM()
}

// The shortest and the longest period of the page of DCGM: below the sensors' own there is
// nothing to see, and dcgm-exporter's --collect-interval is 30 s unless told otherwise.
const (
	leastRefresh = time.Millisecond
	mostRefresh  = time.Hour
)

func (o *options) checkDCGM() error {
	if o.dcgm == "" {
		if o.dcgmFile != "" {
			return cli.Usagef("--dcgm-addr-file needs --dcgm-listen")
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(o.dcgm); err != nil {
		return cli.Usagef("--dcgm-listen %q: want HOST:PORT", o.dcgm)
	}
	if o.dcgmEvery < leastRefresh || o.dcgmEvery > mostRefresh {
		return cli.Usagef("--dcgm-interval %v: want %v to %v", o.dcgmEvery, leastRefresh, mostRefresh)
	}
	if o.dcgmFile != "" && o.dcgmFile == o.addrFile {
		return cli.Usagef("--addr-file and --dcgm-addr-file name one file")
	}
	return nil
}

// How many requests are served at once when nothing is said, and how many tokens of
// prompts a step may have beside the answers'.
const (
	defaultBatch  = 256
	prefillBudget = 1792
)

// server returns what the flags say of the server.
func (o *options) server() simserver.Options {
	return simserver.Options{
		Model: o.model, Dialect: simserver.Dialect(o.dialect), Seed: o.seed, Speed: o.speed, MaxContext: o.context,
		MaxBatch: o.batch, TokenBudget: prefillBudget + o.batch, MaxQueue: o.queue, ReasoningTokens: o.reasoning, FailEvery: o.fail, RequestMetrics: o.times,
	}
}

func run(ctx context.Context, env *cli.Env, o *options) (err error) {
	if err := o.check(env); err != nil {
		return err
	}
	for _, path := range []string{o.state, o.addrFile, o.dcgmFile} {
		if err := replaceable(path); err != nil {
			return err
		}
	}
	soft, hard, stop := cli.Signals(ctx)
	defer stop()
	listener, err := listen(o.listen, "--listen")
	if err != nil {
		return err
	}
	defer listener.Close()
	r, err := newRig(env, o)
	if err != nil {
		return err
	}
	if err := r.export(o); err != nil {
		r.close(false)
		return err
	}
	// The server's comes last: who waits for it finds the page of DCGM there.
	for _, a := range []struct{ path, url string }{{o.dcgmFile, r.pageURL()}, {o.addrFile, "http://" + listener.Addr().String()}} {
		if a.path == "" {
			continue
		}
		if err := writeAddress(a.path, a.url); err != nil {
			r.close(false)
			return err
		}
		defer func() { err = errors.Join(err, removeIfThere(a.path)) }()
	}
	page := ""
	if r.exporter != nil {
		page = ", " + r.pageURL()
	}
	env.Summaryf("ready: http://%s%s (model %s, %d x %s, seed %d)", listener.Addr(), page, o.model, len(r.devices), r.devices[0].Info().Name, o.seed)
	if err := r.serve(soft, hard, listener); err != nil {
		r.close(false) // adds nothing to what went wrong
		return err
	}
	return r.close(true)
}

func listen(address, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, cli.Hint(fmt.Errorf("%s: the port is in use", address), "another %s HOST:PORT; with port 0 the system chooses one", flag)
	}
	return l, err
}

// writeAddress tells others where the server is: the file appears whole.
func writeAddress(path, url string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(url + "\n")
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// replaceable refuses what a rename would put a file in the place of, and the end
// of the server remove: for root that can be a device.
func replaceable(path string) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is no regular file", path)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
