package monitor

import (
	"context"
	"slices"
	"sync"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// probe waits for the first reading of each live GPU at or after an instant: one of
// what was going on when somebody asked.
type probe struct {
	at   int64 // nanoseconds of Unix time
	want map[*device]bool
	got  map[*device]*gpuAt
	done chan struct{}
}

// gpuAt is a GPU at a reading.
type gpuAt struct {
	at     int64
	device sample.Device
	base   base
	values [sample.NumMetrics]reading
}

func (p *probe) see(d *device, at int64) {
	if _, power := d.get(sample.PowerWatts).Get(); at < p.at || !p.want[d] || p.got[d] != nil || d.failed || !power && !d.energy.counter.known() {
		return
	}
	p.got[d] = d.now()
}

func (d *device) now() *gpuAt { return &gpuAt{d.at, d.Device, d.energy.base(), d.values} }

// checkProbes ends those that have all they wait for, or will have no more. m.mu is held.
func (m *model) checkProbes() {
	m.probes = slices.DeleteFunc(m.probes, func(p *probe) bool {
		over := m.ended || len(p.got) == len(p.want)
		if over {
			close(p.done)
		}
		return over
	})
}

// probeFor is the longest that a probe waits: batches come once a second.
const probeFor = 3 * time.Second

// probe returns the GPUs by their first reading after now; those that have none in time
// are left out.
func (m *model) probe(ctx context.Context) (gpus []*gpuAt) {
	m.mu.Lock()
	p := &probe{at: m.now().UnixNano(), want: map[*device]bool{}, got: map[*device]*gpuAt{}, done: make(chan struct{})}
	if m.silent() == 0 && !m.ended {
		for _, d := range m.counted() {
			if m.live(d) {
				p.want[d] = true
			}
		}
	}
	m.probes = append(m.probes, p)
	m.checkProbes()
	m.mu.Unlock()
	timer := time.NewTimer(probeFor)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.probes = slices.DeleteFunc(m.probes, func(q *probe) bool { return q == p })
	for _, d := range m.devices { // in their order
		if g := p.got[d]; g != nil {
			gpus = append(gpus, g)
		}
	}
	return gpus
}

// truth is the ground-truth mode: what aiperf's debug server for NVML answers, so that
// scripts made for that need not change. Keys that are none of its own say more.
type truth struct {
	model *model

	mu      sync.Mutex // held over a whole request: they are served in turn
	running bool
	started int64           // nanoseconds of Unix time; 0 is never
	from    map[string]base // by device
	seen    map[string]bool // GPUs of the start
	last    *truthNow
}

// truthNow is a snapshot. What is not known is null, never 0.
type truthNow struct {
	Running bool          `json:"running"`
	Started *int64        `json:"started_ns"`
	Elapsed number        `json:"elapsed_sec"`
	GPUs    int           `json:"gpu_count"`
	Watts   number        `json:"total_power_w"`        // null unless that of every GPU is known
	Joules  number        `json:"total_energy_delta_j"` // likewise
	Samples []truthSample `json:"samples"`
	Missing int           `json:"gpus_missing"` // that the start had and this has not
}

type truthSample struct {
	Time      int64  `json:"timestamp_ns"`
	Index     int    `json:"gpu_index"`
	UUID      string `json:"gpu_uuid"`
	Model     string `json:"gpu_model_name"`
	PCIBusID  string `json:"pci_bus_id"`
	Watts     number `json:"power_w"`
	Joules    number `json:"total_energy_j"`
	Delta     number `json:"energy_delta_j"`
	GPU       number `json:"gpu_utilization_pct"`
	Memory    number `json:"memory_utilization_pct"`
	Used      number `json:"memory_used_gb"`
	SM        number `json:"sm_utilization_pct"`
	Celsius   number `json:"temperature_c"`
	Violation number `json:"power_violation_us"`
	Method    string `json:"energy_method,omitempty"`
	Resets    int    `json:"energy_resets,omitempty"`
}

// truthError is why a request cannot be answered.
type truthError string

func (e truthError) Error() string { return string(e) }

const (
	errNoDevices  = truthError("no GPU has a reading")
	errNotStarted = truthError("not started: POST /start comes first")
)

func (t *truth) start(ctx context.Context) (*truthNow, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	began := t.model.now().UnixNano()
	gpus := t.model.probe(ctx)
	if len(gpus) == 0 {
		return nil, errNoDevices
	}
	t.running, t.started = true, began
	t.from, t.seen = map[string]base{}, map[string]bool{}
	for _, g := range gpus {
		t.from[g.device.ID], t.seen[g.device.ID] = g.base, true
	}
	return t.keep(gpus), nil
}

func (t *truth) sample(ctx context.Context, stop bool) (*truthNow, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.running {
		return nil, errNotStarted
	}
	gpus := t.model.probe(ctx)
	if len(gpus) == 0 {
		return nil, errNoDevices
	}
	if stop {
		t.running = false
	}
	return t.keep(gpus), nil
}

// status returns the latest snapshot without a new one.
func (t *truth) status() *truthNow {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		return &truthNow{Samples: []truthSample{}}
	}
	return t.last
}

// keep makes a snapshot of GPUs. t.mu is held.
func (t *truth) keep(gpus []*gpuAt) *truthNow {
	started := t.started // what was answered does not change with the next start
	now := &truthNow{Running: t.running, Started: &started, GPUs: len(gpus), Samples: []truthSample{}}
	var watts, joules float64
	allWatts, allJoules := true, true
	latest := int64(0)
	here := map[string]bool{}
	for _, g := range gpus {
		here[g.device.ID] = true
		latest = max(latest, g.at)
		s := g.sample(t.from)
		now.Samples = append(now.Samples, s)
		if s.Watts != nil {
			watts += *s.Watts
		}
		if s.Delta != nil {
			joules += *s.Delta
		}
		allWatts, allJoules = allWatts && s.Watts != nil, allJoules && s.Delta != nil
	}
	for id := range t.seen {
		if !here[id] {
			now.Missing++
		}
	}
	if allWatts && now.Missing == 0 {
		now.Watts = num(trace.Some(watts))
	}
	if allJoules && now.Missing == 0 {
		now.Joules = num(trace.Some(joules))
	}
	now.Elapsed = num(trace.Some(time.Duration(latest - t.started).Seconds()))
	t.last = now
	return now
}

func (g *gpuAt) sample(from map[string]base) truthSample {
	get := func(id sample.MetricID, factor float64) number {
		if r := g.values[id]; r.at != 0 && time.Duration(g.at-r.at) < quiet {
			return num(trace.Some(r.v * factor))
		}
		return nil
	}
	s := truthSample{
		Time: g.at, Index: g.device.Index, UUID: g.device.UUID, Model: g.device.Name, PCIBusID: g.device.PCIBusID,
		Watts: get(sample.PowerInstantWatts, 1), Joules: get(sample.EnergyJoules, 1),
		GPU: get(sample.GPUUtilization, 100), Memory: get(sample.MemoryUtilization, 100), Used: get(sample.MemoryUsedBytes, 1e-9),
		SM: get(sample.SMActivity, 100), Celsius: get(sample.TemperatureCelsius, 1), Violation: get(sample.PowerCapSeconds, 1e6),
	}
	if s.UUID == "" {
		s.UUID = g.device.ID
	}
	if s.Watts == nil {
		s.Watts = get(sample.PowerWatts, 1)
	}
	if b, ok := from[g.device.ID]; ok {
		d := g.base.from(b)
		s.Delta, s.Method, s.Resets = num(d.joules), d.method, d.resets
	}
	return s
}
