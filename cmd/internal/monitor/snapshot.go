package monitor

import (
	"fmt"
	"math"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// snapshotSchema is the form of what /api/snapshot answers.
const snapshotSchema = "wattrace.monitor/1"

// number is a value that may be unknown: null in JSON.
type number = *float64

func num(o trace.Opt[float64]) number {
	if v, ok := o.Get(); ok {
		return &v
	}
	return nil
}

// energyOf is energy since an instant.
type energyOf struct {
	Joules  number  `json:"energy_joules"`
	Method  string  `json:"method,omitempty"`          // counter, integrated; of a total also mixed
	Resets  int     `json:"resets,omitempty"`          // of the counter: around each some energy is left out
	Missing float64 `json:"missing_seconds,omitempty"` // without a reading of power
}

func energySince(s since) energyOf {
	return energyOf{num(s.joules), s.method, s.resets, s.missing.Seconds()}
}

// deviceNow is a device's latest readings.
type deviceNow struct {
	Device    string     `json:"device"`
	Host      string     `json:"host"`
	Index     int        `json:"device_index"`
	Source    string     `json:"source"`
	Scope     string     `json:"scope"`
	Name      string     `json:"name,omitempty"`
	UUID      string     `json:"uuid,omitempty"`
	PCIBusID  string     `json:"pci_bus_id,omitempty"`
	Simulated bool       `json:"simulated,omitempty"`
	Counted   bool       `json:"in_total"`
	State     string     `json:"state"` // live, lost; silent: there is no reading of any
	Status    string     `json:"status,omitempty"`
	Time      *time.Time `json:"time"` // of the latest reading
	Watts     number     `json:"power_watts"`
	Limit     number     `json:"power_limit_watts"`
	GPU       number     `json:"gpu_utilization"`
	Memory    number     `json:"memory_utilization"`
	Used      number     `json:"memory_used_bytes"`
	Celsius   number     `json:"temperature_celsius"`
	SMHertz   number     `json:"sm_clock_hertz"`
	MemHertz  number     `json:"memory_clock_hertz"`
	Throttle  []string   `json:"throttle"` // null is unknown, [] is none
	Start     energyOf   `json:"since_start"`
	Mark      energyOf   `json:"since_mark"`

	spark []float64
}

// serverNow is a server's latest readings.
type serverNow struct {
	Server  string     `json:"server"`
	Source  string     `json:"source"`
	Model   string     `json:"model,omitempty"`
	State   string     `json:"state"`
	Time    *time.Time `json:"time"`
	Running number     `json:"requests_running"`
	Waiting number     `json:"requests_waiting"`
	KV      number     `json:"kv_cache_utilization"`
	Rate    number     `json:"generation_tokens_per_second"`
	Tokens  number     `json:"generation_tokens_since_mark"`
	Resets  int        `json:"resets,omitempty"`
}

// totalNow is all GPUs together.
type totalNow struct {
	GPUs           int      `json:"gpus"`
	Live           int      `json:"gpus_live"`
	Watts          number   `json:"power_watts"` // of those that are live
	Limit          number   `json:"power_limit_watts"`
	Start          energyOf `json:"since_start"`
	StartGPUs      int      `json:"since_start_gpus"` // that it covers
	Mark           energyOf `json:"since_mark"`
	MarkGPUs       int      `json:"since_mark_gpus"`
	TokensPerJoule number   `json:"generation_tokens_per_joule_since_mark"` // null unless all GPUs are covered

	spark []float64
}

// snapshot is what is known at an instant.
type snapshot struct {
	Schema  string      `json:"schema"`
	Source  string      `json:"source"`
	State   string      `json:"state"` // waiting, live, silent, ended
	Message string      `json:"message,omitempty"`
	Now     time.Time   `json:"now"`
	Time    *time.Time  `json:"time"` // of the latest reading
	Started *time.Time  `json:"started"`
	MarkAt  *time.Time  `json:"mark"` // null: none was set, and it is since the start
	MarkIs  string      `json:"mark_name,omitempty"`
	Phase   string      `json:"phase,omitempty"`
	Note    string      `json:"note,omitempty"`
	Rows    int64       `json:"rows"`
	Total   totalNow    `json:"total"`
	Devices []deviceNow `json:"devices"`
	Servers []serverNow `json:"servers"`
}

func instant(nanos int64) *time.Time {
	if nanos == 0 {
		return nil
	}
	t := time.Unix(0, nanos).UTC()
	return &t
}

// sparkSeconds is how many seconds of power a snapshot has for drawing.
const sparkSeconds = 120

// look returns what is known now.
func (m *model) look(source string) *snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &snapshot{
		Schema: snapshotSchema, Source: source, Now: m.now().UTC(), Time: instant(m.latest), Started: instant(m.first),
		MarkAt: instant(m.mark.at), MarkIs: m.mark.name, Phase: m.phase, Note: m.note, Rows: m.rows,
		Devices: []deviceNow{}, Servers: []serverNow{},
	}
	silent := m.silent()
	switch {
	case m.ended:
		s.State, s.Message = "ended", "no more readings will come"
	case m.rows == 0:
		s.State, s.Message = "waiting", "waiting for the first reading"
	case silent > 0:
		s.State, s.Message = "silent", fmt.Sprintf("no reading for %d s", int(silent.Seconds()))
	default:
		s.State = "live"
	}
	counted := m.counted()
	in := map[*device]bool{}
	for _, d := range counted {
		in[d] = true
	}
	var all sum
	for _, d := range m.devices {
		if d.Scope == sample.ScopeServer {
			n := m.server(d)
			s.Servers = append(s.Servers, n)
			if d.get(sample.PowerWatts).OK || d.energy.counter.known() {
				s.Devices = append(s.Devices, m.see(d, false))
			}
			continue
		}
		n := m.see(d, in[d])
		if in[d] {
			all.add(&n)
		}
		s.Devices = append(s.Devices, n)
	}
	s.Total = all.result()
	s.Total.spark = m.totalSeries(counted)
	s.Total.TokensPerJoule = num(m.tokensPerJoule())
	return s
}

// ratioJoules is the energy of all GPUs since their tokens are counted; 0 where that of one
// is not known.
func ratioJoules(gpus []*device) (joules float64) {
	for _, d := range gpus {
		e, ok := d.energy.base().from(d.ratio).joules.Get()
		if !ok {
			return 0
		}
		joules += e
	}
	return joules
}

func (m *model) totalSeries(counted []*device) []float64 {
	to := m.latest / 1e9
	out := make([]float64, sparkSeconds)
	for i := range out {
		out[i] = sumAt(counted, to-sparkSeconds+int64(i), 1)
	}
	return out
}

// sumAt is the sum of the means of devices in a step; NaN where one that had been read by
// then has none: part of a sum is none.
func sumAt(devices []*device, from, step int64) float64 {
	sum, any := 0.0, false
	for _, d := range devices {
		if d.begun == 0 || d.begun >= from+step {
			continue
		}
		if d.history == nil {
			return math.NaN()
		}
		sum, any = sum+d.history.mean(from, from+step), true
	}
	if !any {
		return math.NaN()
	}
	return sum
}

func (m *model) state(d *device) string {
	switch {
	case !m.live(d):
		return "lost"
	case m.silent() > 0 && !d.own:
		return "silent"
	}
	return "live"
}

func (m *model) see(d *device, counted bool) deviceNow {
	n := deviceNow{
		Device: d.ID, Host: d.Host, Index: d.Index, Source: string(d.Source), Scope: string(d.Scope), Name: d.Name, UUID: d.UUID, PCIBusID: d.PCIBusID,
		Simulated: d.Simulated, Counted: counted, State: m.state(d), Status: d.status, Time: instant(d.at),
	}
	if d.start.OK {
		now := d.energy.base()
		n.Start = energySince(now.from(d.start.V))
		n.Mark = n.Start
		if m.mark.at != 0 {
			n.Mark = energySince(now.from(d.marked))
		}
	}
	if n.State == "live" {
		v := func(id sample.MetricID) number { return num(d.get(id)) }
		n.Watts, n.Limit, n.GPU, n.Memory, n.Used = v(sample.PowerWatts), v(sample.PowerLimitWatts), v(sample.GPUUtilization), v(sample.MemoryUtilization), v(sample.MemoryUsedBytes)
		n.Celsius, n.SMHertz, n.MemHertz = v(sample.TemperatureCelsius), v(sample.SMClockHertz), v(sample.MemoryClockHertz)
		if mask, ok := d.get(sample.ClockEventReasons).Get(); ok {
			n.Throttle = throttle(uint64(mask))
		}
	}
	if d.history != nil {
		n.spark = d.history.series(m.latest/1e9-sparkSeconds, 1, sparkSeconds)
	}
	return n
}

func (m *model) server(d *device) serverNow {
	n := serverNow{Server: d.ID, Source: string(d.Source), Model: d.Name, State: m.state(d), Time: instant(d.at), Resets: d.tokens.resets}
	if n.State == "live" {
		n.Running, n.Waiting, n.KV = num(d.get(sample.RequestsRunning)), num(d.get(sample.RequestsWaiting)), num(d.get(sample.KVCacheUtilization))
	}
	if now := d.tokensAt(m.latest); now.OK && d.tokened.OK {
		n.Tokens = num(trace.Some(now.V - d.tokened.V))
	}
	if k := len(d.rates); k > 1 && n.State == "live" {
		if dt := time.Duration(d.rates[k-1].at - d.rates[0].at).Seconds(); dt > 0 {
			n.Rate = num(trace.Some((d.rates[k-1].sum - d.rates[0].sum) / dt))
		}
	}
	return n
}

// sum adds up devices.
type sum struct {
	t                   totalNow
	watts, limit        float64
	powered, limited    int
	joules, marked      float64
	methods, markMethod map[string]bool
}

func (a *sum) add(n *deviceNow) {
	if a.methods == nil {
		a.methods, a.markMethod = map[string]bool{}, map[string]bool{}
	}
	a.t.GPUs++
	if n.Watts != nil {
		a.watts += *n.Watts
		a.powered++
	}
	if n.State == "live" {
		a.t.Live++
	}
	if n.Limit != nil {
		a.limit += *n.Limit
		a.limited++
	}
	part := func(e energyOf, joules *float64, gpus *int, to *energyOf, methods map[string]bool) {
		if e.Joules == nil {
			return
		}
		*joules += *e.Joules
		*gpus++
		methods[e.Method] = true
		to.Method = e.Method
		to.Resets += e.Resets
		to.Missing = max(to.Missing, e.Missing)
	}
	part(n.Start, &a.joules, &a.t.StartGPUs, &a.t.Start, a.methods)
	part(n.Mark, &a.marked, &a.t.MarkGPUs, &a.t.Mark, a.markMethod)
}

func (a *sum) result() totalNow {
	if a.powered > 0 {
		a.t.Watts = num(trace.Some(a.watts))
	}
	if a.limited > 0 && a.limited == a.t.GPUs {
		a.t.Limit = num(trace.Some(a.limit))
	}
	if a.t.StartGPUs > 0 {
		a.t.Start.Joules = num(trace.Some(a.joules))
	}
	if a.t.MarkGPUs > 0 {
		a.t.Mark.Joules = num(trace.Some(a.marked))
	}
	if len(a.methods) > 1 {
		a.t.Start.Method = "mixed"
	}
	if len(a.markMethod) > 1 {
		a.t.Mark.Method = "mixed"
	}
	return a.t
}

// reasons are NVML's bits of why clocks are held down (nvml.h, nvmlClocksEventReason*);
// an idle GPU, bit 0, is not held down.
var reasons = []struct {
	bit  uint64
	name string
}{
	{0x2, "clocks setting"}, {0x4, "power cap"}, {0x8, "hw slowdown"}, {0x10, "sync boost"}, {0x20, "sw thermal"},
	{0x40, "hw thermal"}, {0x80, "power brake"}, {0x100, "display"},
}

// throttle names what holds the clocks down.
func throttle(mask uint64) []string {
	names := []string{}
	for _, r := range reasons {
		if mask&r.bit != 0 {
			names = append(names, r.name)
		}
		mask &^= r.bit
	}
	if mask &^= 1; mask != 0 {
		names = append(names, fmt.Sprintf("0x%x", mask))
	}
	return names
}

// printable takes out of a text what would write over a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
