package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/replay"
	"wattrace/replay/selftest"
)

// selftestOptions are the flags of --selftest.
type selftestOptions struct {
	selftest bool
	server   bool // be the server of one
}

// serverFlag makes a process the built-in server. It is for --selftest alone.
const serverFlag = "selftest-server"

func (o *selftestOptions) flags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.BoolFlag{Name: "selftest", Usage: "measure how good the client is on this machine, in some 25 s", Destination: &o.selftest},
		&ucli.BoolFlag{Name: serverFlag, Hidden: true, Destination: &o.server},
	}
}

// The loads of a self-test, and how long each is there.
var (
	selftestEach    = 1500 * time.Millisecond
	selftestStreams = []int{50, 200, 500, 1000}
	selftestRates   = []float64{200, 1000, 5000}
)

const (
	chunkRate = 50 // chunks/s in a stream
	// errorShare is the share of the time between two tokens that the error of a
	// stamp is to stay below.
	errorShare = 0.01
)

// selftestReport is what a self-test found.
type selftestReport struct {
	Schema    string              `json:"schema"`
	Producer  string              `json:"producer"`
	Machine   selftestMachine     `json:"machine"`
	Coalesced selftest.Coalesced  `json:"coalesced"`
	Stamps    []selftest.Stamps   `json:"stamps"`
	Lateness  []selftest.Lateness `json:"lateness"`
	Verdict   string              `json:"verdict"` // one sentence
}

type selftestMachine struct {
	GOMAXPROCS int      `json:"gomaxprocs"`
	CPUs       *int     `json:"cpus,omitempty"`
	CPUQuota   *float64 `json:"cpu_quota,omitempty"`
	CPUModel   string   `json:"cpu_model,omitempty"`
	Governor   string   `json:"governor,omitempty"`
}

// runSelftest is the tool with --selftest.
func runSelftest(ctx context.Context, env *cli.Env, o *options) error {
	if len(env.Operands) > 0 || env.Command != nil {
		return cli.Usagef("--selftest takes no trace: it has a server and a load of its own")
	}
	if o.format != "text" && o.format != "json" {
		return cli.Usagef("--format %q: want text or json", o.format)
	}
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(400)) // as in a run
	}
	addr, stop, err := startServer(ctx)
	if err != nil {
		return fmt.Errorf("the built-in server: %w", err)
	}
	defer stop()
	target, err := replay.ParseTarget("http://" + addr)
	if err != nil {
		return err
	}
	rep, err := measureItself(ctx, env, &selftest.Client{Target: target}, selftestEach)
	if err != nil {
		return err
	}
	out, err := env.Output(cli.OutputOptions{Atomic: true})
	if err != nil {
		return err
	}
	if o.format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(rep)
	} else {
		err = rep.text(out)
	}
	if err != nil {
		out.Abort()
		return err
	}
	return out.Close()
}

// measureItself makes the measurements.
func measureItself(ctx context.Context, env *cli.Env, c *selftest.Client, each time.Duration) (*selftestReport, error) {
	m := replay.ThisMachine()
	rep := &selftestReport{
		Schema: "wattrace.selftest/1", Producer: cli.Producer(),
		Machine: selftestMachine{GOMAXPROCS: m.GOMAXPROCS, CPUModel: m.CPUModel, Governor: m.Governor},
	}
	if m.CPUs.OK {
		rep.Machine.CPUs = &m.CPUs.V
	}
	if m.CPUQuota.OK {
		rep.Machine.CPUQuota = &m.CPUQuota.V
	}
	var doing atomic.Value // what is measured
	doing.Store("chunks that come together")
	defer env.Progress(func() string { return doing.Load().(string) })()
	var err error
	if rep.Coalesced, err = c.Coalesced(ctx, each); err != nil {
		return nil, err
	}
	kernels := []bool{false, true}
	if runtime.GOOS != "linux" {
		kernels = kernels[:1]
	}
	for _, kernel := range kernels {
		for _, streams := range selftestStreams {
			doing.Store(fmt.Sprintf("stamps of %d streams", streams))
			s, err := c.Stamps(ctx, streams, chunkRate, each, kernel)
			if err != nil {
				return nil, err
			}
			rep.Stamps = append(rep.Stamps, s)
		}
	}
	for _, rate := range selftestRates {
		doing.Store(fmt.Sprintf("lateness at %g requests/s", rate))
		l, err := c.Lateness(ctx, rate, each)
		if err != nil {
			return nil, err
		}
		rep.Lateness = append(rep.Lateness, l)
	}
	rep.Verdict = rep.verdict()
	return rep, nil
}

// verdict says in one sentence up to what load the error of stamps stays small.
func (r *selftestReport) verdict() string {
	var parts []string
	for _, kernel := range []bool{false, true} {
		most, measured, all := 0, false, true
		for _, s := range r.Stamps {
			if s.Kernel != kernel {
				continue
			}
			measured = true
			if all = all && s.ShareOfGap < errorShare; all {
				most = s.Streams
			}
		}
		if !measured {
			continue
		}
		who := "its own stamps"
		if kernel {
			who = "those of the kernel (--kernel-timestamps)"
		}
		switch {
		case most == 0:
			parts = append(parts, fmt.Sprintf("of %s at none of these loads", who))
		case all:
			parts = append(parts, fmt.Sprintf("of %s at all of these loads, up to %d streams x %d chunks/s", who, most, chunkRate))
		default:
			parts = append(parts, fmt.Sprintf("of %s up to %d streams x %d chunks/s", who, most, chunkRate))
		}
	}
	return fmt.Sprintf("The error stays under %g %% of the time between two tokens (p99): %s.", 100*errorShare, strings.Join(parts, "; "))
}

// text writes the report as tables.
func (r *selftestReport) text(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s, GOMAXPROCS %d", orUnknown(r.Machine.CPUModel), r.Machine.GOMAXPROCS)
	if r.Machine.CPUs != nil {
		fmt.Fprintf(b, ", %d CPUs", *r.Machine.CPUs)
	}
	if r.Machine.CPUQuota != nil {
		fmt.Fprintf(b, ", quota of %g", *r.Machine.CPUQuota)
	}
	if r.Machine.Governor != "" {
		fmt.Fprintf(b, ", governor %s", r.Machine.Governor)
	}
	fmt.Fprintf(b, "; the server shares this machine with the client\n\n")
	fmt.Fprintf(b, "Chunks that come together: %.2f million/s on a core\n\n", r.Coalesced.PerCore/1e6)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "streams x chunks/s\tstamps\terror p50\tp99\tmax\tp99 of the gap\tCPU per chunk\n")
	for _, s := range r.Stamps {
		who := "own"
		if s.Kernel {
			who = "kernel"
		}
		fmt.Fprintf(t, "%d x %g\t%s\t%v\t%v\t%v\t%.2f %%\t%v\n", s.Streams, s.Rate, who, short(s.Error.P50), short(s.Error.P99), short(s.Error.Max), 100*s.ShareOfGap, short(s.CPU))
	}
	t.Flush()
	fmt.Fprintln(b)
	fmt.Fprintf(t, "requests/s\tsent late p50\tp99\tmax\twritten late p50\tp99\tCPU per request\n")
	for _, l := range r.Lateness {
		fmt.Fprintf(t, "%g\t%v\t%v\t%v\t%v\t%v\t%v\n", l.Rate, short(l.Send.P50), short(l.Send.P99), short(l.Send.Max), short(l.Wrote.P50), short(l.Wrote.P99), short(l.CPU))
	}
	t.Flush()
	fmt.Fprintf(b, "\n%s\n", r.Verdict)
	return b.Flush()
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown processor"
	}
	return s
}

// startServer starts this program again as the server, which ends when its
// standard input does, however this process ends.
func startServer(ctx context.Context) (addr string, stop func(), err error) {
	path, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, path, "--"+serverFlag)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { in.Close(); cmd.Wait() }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, err
	}
	return strings.TrimSpace(line), stop, nil
}

// serveSelftest is the tool as the server: it says where it listens.
func serveSelftest(env *cli.Env, stdout io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	go func() {
		io.Copy(io.Discard, env.Stdin)
		l.Close()
	}()
	if _, err := fmt.Fprintln(stdout, l.Addr()); err != nil {
		return err
	}
	if err := selftest.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
