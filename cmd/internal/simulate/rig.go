package simulate

import (
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/replay/simserver"
	"wattrace/sample/sim"
	"wattrace/trace"
)

const (
	drainTime     = 5 * time.Second // what is under way may finish so long after the first signal
	flushInterval = time.Second     // a killed simulator loses at most so much of the truth

	// publishInterval is the least time between two publications: far below the
	// sensors' own period, so that what a reader sees is late by nothing that
	// matters.
	publishInterval = time.Millisecond
)

// rig is a server and the GPUs that it runs on.
type rig struct {
	clock    *trace.SteadyClock
	devices  []*sim.Device
	server   *simserver.Server
	truth    *truthFile // nil: none is written
	state    *sim.State // nil: none is published
	exporter *exporter  // nil: there is none
}

func newRig(env *cli.Env, o *options) (*rig, error) {
	profile, err := sim.ProfileByName(o.arch)
	if err != nil {
		return nil, err
	}
	r := &rig{clock: trace.NewSteadyClock()}
	r.devices, err = sim.New(sim.Options{Count: o.gpus, Profile: profile, Seed: o.seed, Host: r.clock.Clock().Host})
	if err != nil {
		return nil, err
	}
	server := o.server()
	server.Clock, server.OnStep, server.Energy = r.clock, r.step, r.energySince(r.clock.Now())
	r.server, err = simserver.New(server)
	if err != nil {
		return nil, err
	}
	if o.state != "" {
		if r.state, err = sim.CreateState(o.state, sim.Infos(r.devices)); err != nil {
			return nil, err
		}
		r.publish() // nobody shall see zeros
	}
	if o.truth != "" {
		if r.truth, err = openTruth(env, o, r); err != nil {
			r.close(false)
			return nil, err
		}
	}
	return r, nil
}

// export opens the page of DCGM, if it is wanted.
func (r *rig) export(o *options) error {
	if o.dcgm == "" {
		return nil
	}
	listener, err := listen(o.dcgm, "--dcgm-listen")
	if err == nil {
		r.exporter = newExporter(listener, o.dcgmEvery, r.devices, r.clock.Now)
	}
	return err
}

// pageURL is where the page of DCGM is.
func (r *rig) pageURL() string {
	if r.exporter == nil {
		return ""
	}
	return "http://" + r.exporter.listener.Addr().String() + "/metrics"
}

// energySince returns a function of the joules that all GPUs have drawn since an
// instant.
func (r *rig) energySince(begin trace.Time) func() float64 {
	all := func(at trace.Time) (microjoules uint64) {
		for _, d := range r.devices {
			microjoules += d.Energy(at)
		}
		return microjoules
	}
	before := all(begin)
	return func() float64 { return float64(all(r.clock.Now())-before) / 1e6 }
}

// step makes every GPU draw the power of a step from its start on.
func (r *rig) step(s simserver.Step) {
	w := sim.Work{PrefillTokens: s.PrefillTokens, DecodeTokens: s.DecodeTokens, ContextTokens: s.ContextTokens}
	for _, d := range r.devices {
		if step, changed := d.SetWork(s.Start, w); changed && r.truth != nil {
			r.truth.add(step)
		}
	}
}

// serve answers until soft ends, or until the truth cannot be written or the page of DCGM
// not be served.
func (r *rig) serve(soft, hard context.Context, listener net.Listener) error {
	running, endRun := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer endRun()
	wg.Go(func() { r.server.Run(running) })
	if r.truth != nil {
		wg.Go(func() { r.truth.run(running) })
	}
	if r.state != nil {
		wg.Go(func() { r.keepPublishing(running) })
	}

	paged := make(chan error, 1)
	if r.exporter != nil {
		wg.Go(func() { paged <- r.exporter.run(running) })
	}

	under := &underWay{busy: map[net.Conn]bool{}, none: make(chan struct{})}
	h := &http.Server{
		Handler: r.server, ConnState: under.note,
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
	}
	defer h.Close()
	served := make(chan error, 1)
	go func() { served <- h.Serve(listener) }()
	var err error
	select {
	case err := <-served:
		return err
	case err = <-r.truth.failed():
	case err = <-paged:
	case <-soft.Done():
	}
	// Not h.Shutdown, which waits for connections that never sent a request.
	h.SetKeepAlivesEnabled(false)
	listener.Close()
	<-served // the listener is closed
	drain, cancel := context.WithTimeout(hard, drainTime)
	defer cancel()
	select {
	case <-under.drained():
	case <-drain.Done():
	}
	return err
}

// underWay knows the connections that a request is being answered on, up to
// the last byte of the answer.
type underWay struct {
	mu     sync.Mutex
	busy   map[net.Conn]bool
	ending bool
	none   chan struct{} // closed when ending, once none is busy
}

func (u *underWay) note(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if state == http.StateActive {
		u.busy[c] = true
	} else {
		delete(u.busy, c)
	}
	u.check()
}

// drained returns a channel that closes as soon as no connection is
// busy.
func (u *underWay) drained() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ending = true
	u.check()
	return u.none
}

func (u *underWay) check() {
	if u.ending && len(u.busy) == 0 {
		select {
		case <-u.none:
		default:
			close(u.none)
		}
	}
}

// publish shows what the sensors show now, and returns when that changes.
func (r *rig) publish() (next trace.Time) {
	next = math.MaxInt64
	for i, d := range r.devices {
		now := r.clock.Now()
		r.state.Publish(i, d.Read(now))
		r.state.Set(i, sim.PowerCapNanos, uint64(d.PowerCapped(now)))
		next = min(next, d.NextUpdate())
	}
	return next
}

// keepPublishing publishes whenever a sensor updates, until the context ends.
func (r *rig) keepPublishing(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			timer.Reset(max(r.publish().Sub(r.clock.Now()), publishInterval))
		case <-ctx.Done():
			return
		}
	}
}

// close ends the files. It returns the first error there was.
func (r *rig) close(clean bool) error {
	var err error
	if r.exporter != nil {
		r.exporter.listener.Close() // again, where it has run
	}
	if r.state != nil {
		err = r.state.Close()
	}
	if r.truth != nil {
		err = errors.Join(r.truth.close(r.clock.Now(), clean && err == nil), err)
	}
	return err
}
