package simulate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/truth"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// truthFile writes what the devices draw. Steps are added by the server's
// goroutine, which never waits for the disk: another one writes them.
type truthFile struct {
	path  string
	out   *cli.Output
	w     *truth.Writer
	err   error      // the first one; what follows it is not written
	fault chan error // holds it

	mu    sync.Mutex
	steps []sim.Step // added and not yet written
	spare []sim.Step
}

// openTruth creates the file, with the state of the devices as it is now.
func openTruth(env *cli.Env, o *options, r *rig) (*truthFile, error) {
	if info, err := os.Stat(o.truth); o.force && err == nil && info.Mode().IsRegular() {
		if err := os.Remove(o.truth); err != nil {
			return nil, err
		}
	}
	out, err := env.OutputTo(o.truth, cli.OutputOptions{Log: true})
	if err != nil {
		return nil, err
	}
	w, err := truth.NewWriter(out, &truth.Header{
		Producer: cli.Producer(), Seed: o.seed, Clock: r.clock.Clock(), Devices: sim.Infos(r.devices),
	})
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	t := &truthFile{path: o.truth, out: out, w: w, fault: make(chan error, 1)}
	for _, d := range r.devices {
		t.add(d.Step())
	}
	t.flush()
	return t, nil
}

// add notes a step.
func (t *truthFile) add(s sim.Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, s)
}

// failed is where the first error comes; of no file never.
func (t *truthFile) failed() <-chan error {
	if t == nil {
		return nil
	}
	return t.fault
}

// run writes what has been added every second, until the context ends.
func (t *truthFile) run(ctx context.Context) {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.flush()
		case <-ctx.Done():
			return
		}
	}
}

func (t *truthFile) flush() {
	t.mu.Lock()
	steps := t.steps
	t.steps, t.spare = t.spare[:0], steps
	t.mu.Unlock()
	for _, s := range steps {
		t.note(t.w.Step(truth.Step{Device: s.Device, At: s.At, Microwatts: s.Microwatts, Microjoules: s.Microjoules}))
	}
	t.note(t.w.Flush())
}

// note keeps the first error and reports it once.
func (t *truthFile) note(err error) {
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s: %w", t.path, err)
		t.fault <- t.err
	}
}

// close ends the file, after run. It returns the first error there was.
func (t *truthFile) close(at trace.Time, clean bool) error {
	t.flush()
	if t.err == nil {
		t.note(t.w.Close(truth.End{At: at, Clean: clean}))
	}
	t.note(t.out.Close())
	return t.err
}
