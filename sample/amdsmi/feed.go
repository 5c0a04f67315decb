package amdsmi

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"wattrace/sample"
	"wattrace/sample/amdsmi/output"
	"wattrace/trace"
)

// Options say what to run. The zero value is amd-smi on PATH.
type Options struct {
	Program string // "" is amd-smi
}

// arguments have amd-smi print every second all that is read of it.
var arguments = []string{"metric", "-p", "-E", "-u", "-t", "-m", "-c", "--json", "-w", "1"}

// killDelay is how long amd-smi may take to end when it is asked to.
const killDelay = 2 * time.Second

// Feed runs amd-smi.
type Feed struct {
	path  string
	clock *trace.SteadyClock
}

var _ sample.Feed = (*Feed)(nil)

// New finds the program. Run starts it.
func New(o Options, clock *trace.SteadyClock) (*Feed, error) {
	path, err := exec.LookPath(cmp.Or(o.Program, "amd-smi"))
	if err != nil {
		return nil, err
	}
	return &Feed{path, clock}, nil
}

// Info describes the feed.
func (f *Feed) Info() sample.Info {
	return sample.Info{Source: sample.AMDSMI, API: "amd-smi metric", Metrics: []sample.MetricID{
		sample.PowerWatts, sample.PowerInstantWatts, sample.PowerAverageWatts, sample.EnergyJoules,
		sample.GPUUtilization, sample.MemoryUtilization, sample.MemoryUsedBytes, sample.TemperatureCelsius,
		sample.SMClockHertz, sample.MemoryClockHertz, sample.MemoryTemperatureCelsius,
	}}
}

// Run runs amd-smi until ctx is done, and waits for its end. That it ends of
// itself is an error.
func (f *Feed) Run(ctx context.Context, in *sample.Inbox) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(running, f.path, arguments...)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1") // else what it prints waits until 8 KiB are full
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	apart(cmd)
	said := &lastLine{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &output.Parser{Host: f.clock.Clock().Host}
	err = sample.Lines(ctx, out, "amd-smi", f.clock.Now, func(line []byte, at trace.Time) error {
		return p.Line(line, func(g output.GPU) { in.Add(g.Device, at, 0, g.Set) })
	})
	if err != nil {
		stop()
	}
	ended := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case ended == nil:
		ended = fmt.Errorf("exit status 0")
	}
	if last := cmp.Or(said.String(), p.Said); last != "" {
		return fmt.Errorf("amd-smi ended: %w: %s", ended, last)
	}
	return fmt.Errorf("amd-smi ended: %w", ended)
}

// Close does nothing: Run has waited for the program.
func (f *Feed) Close() error { return nil }

// lastLine keeps the last line that is not blank of what is written to it.
type lastLine struct {
	mu   sync.Mutex
	last []byte
	rest []byte // after it
}

const maxLastLine = 1 << 10

func (l *lastLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for {
		line, after, ended := bytes.Cut(b, []byte("\n"))
		if len(l.rest)+len(line) <= maxLastLine {
			l.rest = append(l.rest, line...)
		}
		if !ended {
			return n, nil
		}
		if line := bytes.TrimSpace(l.rest); len(line) > 0 {
			l.last = bytes.Clone(line)
		}
		l.rest, b = l.rest[:0], after
	}
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last
	if line := bytes.TrimSpace(l.rest); len(line) > 0 {
		last = line
	}
	return strings.ToValidUTF8(string(last), "?")
}
