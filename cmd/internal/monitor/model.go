package monitor

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// quiet is after how long without a reading a device is called lost, and a recording
// is said to have stopped.
const quiet = 5 * time.Second

// rateOver is the time over which the rate of tokens is taken.
const rateOver = 10 * time.Second

// maxKnown is how many devices are shown; a recording has room for no more.
const maxKnown = 4096

// model is what is known of the devices. It may be used by several goroutines at once.
type model struct {
	seconds int              // of history
	now     func() time.Time // when rows arrive
	full    func()           // told once that there is no room for another history
	taken   int64            // bytes of histories
	told    bool

	mu      sync.Mutex // guards what follows, and taken and told
	devices []*device  // in order
	places  map[string]*device
	latest  int64     // of all readings of the recording, in nanoseconds of Unix time
	first   int64     // likewise
	arrived time.Time // when the latest rows came
	rows    int64
	phase   string // that a mark began
	note    string // the latest
	mark    mark
	ended   bool // no reading will come any more
	probes  []*probe
	pairs   []pair // the latest
	ratioAt int64  // when counting tokens began
	left    int64  // rows of devices that are too many
}

// mark is the instant that the user counts from.
type mark struct {
	at   int64 // nanoseconds of Unix time; 0 is none: since the start
	name string
}

// device is one device as far as it is known.
type device struct {
	sample.Device
	energy  energy
	start   trace.Opt[base] // at its first reading with power or energy
	marked  base            // at the mark
	tokens  total           // of scope server
	prompts total
	rates   []tokensAt         // the latest readings of tokens
	tokened trace.Opt[float64] // when the ratio began
	ratio   base               // of a GPU likewise
	at      int64              // latest reading with a value, in nanoseconds of Unix time
	values  [sample.NumMetrics]reading
	status  string   // of the latest row; "" is well
	failed  bool     // the latest row has neither power nor energy, and says why
	history *history // nil: there was no room
	begun   int64    // second of its first power
	own     bool     // it is not of the recording
}

// reading is a value and when it was read.
type reading struct {
	v  float64
	at int64 // 0: there is none
}

type tokensAt struct {
	at  int64
	sum float64
}

// get returns the latest value of a metric, if it is known.
func (d *device) get(id sample.MetricID) trace.Opt[float64] {
	if r := d.values[id]; r.at != 0 {
		return trace.Some(r.v)
	}
	return trace.Opt[float64]{}
}

// live reports whether the device has a fresh reading beside the others.
func (m *model) live(d *device) bool {
	latest := m.latest
	if d.own {
		latest = m.now().UnixNano()
	}
	return d.at != 0 && !d.failed && time.Duration(latest-d.at) < quiet
}

func newModel(seconds int, now func() time.Time) *model {
	return &model{seconds: seconds, now: now, places: map[string]*device{}}
}

// take notes the rows of a batch. wall gives the instant of its times.
func (m *model) take(b *sample.Batch, wall func(trace.Time) time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows += int64(b.Len())
	if b.Len() > 0 {
		m.arrived = m.now()
	}
	m.add(b, wall, false)
	m.countTokens()
	if m.pairs = append(m.pairs, pair{m.latest, ratioJoules(m.counted())}); len(m.pairs) > 8 {
		m.pairs = m.pairs[1:]
	}
	m.checkProbes()
}

// pair is the energy at an instant since tokens are counted: those of a server come later, or
// earlier, and are interpolated to it.
type pair struct {
	at     int64
	joules float64 // 0 is unknown
}

// tokensPerJoule is the ratio at the latest instant that both are known for. m.mu is held.
func (m *model) tokensPerJoule() trace.Opt[float64] {
next:
	for _, p := range slices.Backward(m.pairs) {
		tokens, any := 0.0, false
		for _, d := range m.devices {
			if !d.tokened.OK {
				continue
			}
			if d.rates[len(d.rates)-1].at < p.at {
				continue next
			}
			now, ok := d.tokensAt(p.at).Get()
			if !ok {
				continue next
			}
			tokens, any = tokens+now-d.tokened.V, true
		}
		if any && p.joules > 0 {
			return trace.Some(tokens / p.joules)
		}
	}
	return trace.Opt[float64]{}
}

// takeOwn notes what this process read itself, of servers: it says nothing of whether the
// recording goes on.
func (m *model) takeOwn(b *sample.Batch, wall func(trace.Time) time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(b, wall, true)
	m.countTokens()
}

func (m *model) add(b *sample.Batch, wall func(trace.Time) time.Time, own bool) {
	for i := range b.Len() {
		described := &b.Devices[b.Device[i]]
		if described.Scope == sample.ScopeRun {
			m.event(b.MarkOf(i))
			continue
		}
		d := m.device(described)
		if d == nil {
			m.left++
			continue
		}
		at := wall(b.Time[i].Add(b.Took[i] / 2)).UnixNano()
		d.read(b, i, at)
		if d.own = own; own {
			continue
		}
		if m.first == 0 {
			m.first = at
		}
		m.latest = max(m.latest, at)
		for _, p := range m.probes {
			p.see(d, at)
		}
	}
}

// event notes what the recorder was told.
func (m *model) event(e sample.Mark) {
	switch e.Event {
	case sample.MarkStart:
		m.phase = e.Phase
	case sample.MarkEnd:
		m.phase = ""
	case sample.MarkNote:
		m.note = e.Phase
	}
}

// device finds a device, or meets it. What it says of itself may change, as its driver.
func (m *model) device(s *sample.Device) *device {
	key := strings.Join([]string{s.ID, s.Host, string(s.Source), string(s.Scope)}, "\x00")
	d, ok := m.places[key]
	if !ok {
		if len(m.devices) == maxKnown {
			return nil
		}
		d = &device{}
		if need := int64(m.seconds) * secondSize; m.taken+need <= maxHistory {
			m.taken += need
			d.history = newHistory(m.seconds)
		} else if !m.told && m.full != nil {
			m.told = true
			m.full()
		}
		m.places[key] = d
		d.Device = *s
		i, _ := slices.BinarySearchFunc(m.devices, d, inOrder)
		m.devices = slices.Insert(m.devices, i, d)
	}
	d.Device = *s
	return d
}

// inOrder sorts devices by host, GPUs first, and their numbers.
func inOrder(a, b *device) int {
	return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(scopeRank(a.Scope), scopeRank(b.Scope)), strings.Compare(string(a.Scope), string(b.Scope)),
		cmp.Compare(a.Index, b.Index), strings.Compare(a.ID, b.ID))
}

// scopeRank puts GPUs first.
func scopeRank(scope sample.Scope) int {
	if scope == sample.ScopeGPU {
		return 0
	}
	return 1
}

// read takes row i, which is of the instant at. A value stays until there is another,
// or it could not be read.
func (d *device) read(b *sample.Batch, i int, at int64) {
	failed := false
	for f := range strings.SplitSeq(b.Status[i], ",") {
		name, _, _ := strings.Cut(f, "=")
		if id, ok := sample.MetricByName(name); ok {
			d.values[id] = reading{}
			failed = failed || id == sample.PowerWatts || id == sample.EnergyJoules || id == sample.GenerationTokens
		}
	}
	any := false
	for id := range sample.NumMetrics {
		v, ok := b.Float(id, i)
		if n, whole := b.Uint(id, i); whole {
			v, ok = float64(n), true
		}
		if !ok || math.IsNaN(v) || math.IsInf(v, 0) || sample.Metrics[id].Kind == sample.Event {
			continue
		}
		d.values[id] = reading{v, at}
		any = true
		switch id {
		case sample.EnergyJoules:
			d.energy.counter.read(v)
		case sample.PowerWatts:
			d.energy.power.read(at, v)
			if d.begun == 0 {
				d.begun = at / 1e9
			}
			if d.history != nil && at > 0 {
				d.history.add(at, v)
			}
		case sample.GenerationTokens:
			d.tokens.read(v)
			d.rates = append(d.rates, tokensAt{at, d.tokens.sum})
			for len(d.rates) > 2 && time.Duration(at-d.rates[1].at) >= rateOver {
				d.rates = slices.Delete(d.rates, 0, 1)
			}
			for len(d.rates) > 256 {
				d.rates = slices.Delete(d.rates, 0, 1)
			}
		case sample.PromptTokens:
			d.prompts.read(v)
		}
	}
	_, power := b.Float(sample.PowerWatts, i)
	_, counted := b.Float(sample.EnergyJoules, i)
	if any {
		d.at = max(d.at, at)
	}
	switch {
	case any && (power || counted || !failed):
		d.failed = false
	case failed:
		d.failed = true
	}
	d.status = b.Status[i]
	if (power || counted) && !d.start.OK {
		d.start = trace.Some(d.energy.base())
	}
}

// rank orders sources of the same device: the first is shown in the total.
func rank(s sample.SourceName) int {
	if i := slices.Index([]sample.SourceName{sample.NVML, sample.AMDSMI, sample.DCGM}, s); i >= 0 {
		return i
	}
	return 3
}

// counted returns the GPUs that the total is of: each once, however many sources it
// has. m.mu is held.
func (m *model) counted() (gpus []*device) {
	places := map[string]int{}
	for _, d := range m.devices {
		if d.Scope != sample.ScopeGPU {
			continue
		}
		key := d.ID
		if d.UUID != "" {
			key = d.UUID
		}
		switch i, seen := places[key]; {
		case !seen:
			places[key] = len(gpus)
			gpus = append(gpus, d)
		case rank(d.Source) < rank(gpus[i].Source):
			gpus[i] = d
		}
	}
	return gpus
}

// setMark counts from now on: from the latest readings.
func (m *model) setMark(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark = mark{m.latest, name}
	for _, d := range m.devices {
		d.marked = d.energy.base()
	}
	m.rebase()
}

// rebase begins to count tokens, and the energy that they are divided by, at the latest
// reading of the devices. m.mu is held.
func (m *model) rebase() {
	m.pairs, m.ratioAt = nil, m.latest
	for _, d := range m.devices {
		d.ratio = d.energy.base()
		d.tokened = trace.Opt[float64]{}
	}
	m.countTokens()
}

// countTokens finds how many tokens servers had made when counting began, once that is
// between two readings; a server that is new has all begin anew. m.mu is held.
func (m *model) countTokens() {
	for _, d := range m.devices {
		switch k := len(d.rates); {
		case d.tokened.OK || k == 0:
		case m.ratioAt < d.rates[0].at:
			if m.latest >= d.rates[0].at {
				m.rebase()
				return
			}
		case d.rates[k-1].at >= m.ratioAt:
			d.tokened = d.tokensAt(m.ratioAt)
		}
	}
}

// tokensAt returns how many tokens there were at an instant, by interpolation between
// readings; after the last one they are what that says.
func (d *device) tokensAt(at int64) trace.Opt[float64] {
	for i := len(d.rates) - 1; i >= 0; i-- {
		a := d.rates[i]
		if a.at > at {
			continue
		}
		if i == len(d.rates)-1 {
			return trace.Some(a.sum)
		}
		b := d.rates[i+1]
		return trace.Some(a.sum + (b.sum-a.sum)*float64(at-a.at)/float64(b.at-a.at))
	}
	return trace.Opt[float64]{}
}

// end notes that no reading will come any more.
func (m *model) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	m.checkProbes()
}

// silence is how long no row has come; 0 where that is no wonder.
func (m *model) silence() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.silent()
}

func (m *model) silent() time.Duration {
	if m.ended || m.arrived.IsZero() {
		return 0
	}
	if d := m.now().Sub(m.arrived); d >= quiet {
		return d
	}
	return 0
}
