package reduce

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// choose picks one source of every device and scope: the one that was read
// most often, then nvml before dcgm before others. Of two recordings of one source that
// were read about as often it is the longer one. Of sensors that turn out to be
// one, as the module's that every GPU on it reports, the first of a source stands for all.
// What several sources say of a host's processors, memory or platform has no identity in
// common: one of the sources is chosen for each scope.
// Devices that the topology does not list are left out.
func (r *Reducer) choose() {
	rank := func(s *series) int {
		return slices.Index([]sample.SourceName{sample.DCGM, sample.NVML}, s.survey.device.Source)
	}
	key := func(s *series) seriesKey {
		d := s.survey.device
		if d.Scope == sample.ScopeModule {
			return seriesKey{id: r.twins.module(s), scope: d.Scope}
		}
		return seriesKey{id: d.ID, scope: d.Scope}
	}
	better := func(s, old *series) bool {
		a, b := &s.survey, &old.survey
		if a.device.Source == b.device.Source {
			switch alike := a.poll()-b.poll() <= b.poll()/10 && b.poll()-a.poll() <= a.poll()/10; {
			case a.device.ID != b.device.ID: // of one module
				return false
			case a.rows <= 1 || b.rows <= 1 || alike:
				return a.rows > b.rows
			}
			return a.poll() < b.poll()
		}
		return b.rows <= 1 && a.rows > 1 || a.poll() < b.poll() && a.rows > 1 || a.poll() == b.poll() && rank(s) > rank(old)
	}
	best, leads := map[seriesKey]*series{}, map[hostScope]*series{}
	for _, s := range r.all {
		if old := best[key(s)]; old == nil || better(s, old) {
			best[key(s)] = s
		}
		if of, ok := s.ofHost(); ok {
			if old := leads[of]; old == nil || better(s, old) {
				leads[of] = s
			}
		}
	}
	r.members()
	for _, s := range r.all {
		if of, ok := s.ofHost(); ok && leads[of].survey.device.Source != s.survey.device.Source {
			continue
		}
		s.chosen = best[key(s)] == s && (len(r.opt.Topology) == 0 || s.member != nil || s.survey.device.Scope != sample.ScopeGPU)
		switch {
		case !s.chosen, s.survey.device.Scope == sample.ScopeRun:
		case s.survey.device.Scope == sample.ScopeGPU:
			r.gpus = append(r.gpus, s)
		case s.survey.device.Scope == sample.ScopeServer:
			if s.countsTokens {
				r.servers = append(r.servers, s)
			}
			if s.survey.rows > 0 {
				r.others = append(r.others, s)
			}
		default:
			r.others = append(r.others, s)
		}
	}
	inOrder := func(a, b *series) int {
		x, y := a.survey.device, b.survey.device
		return cmp.Or(cmp.Compare(x.Scope, y.Scope), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Index, y.Index), cmp.Compare(x.ID, y.ID))
	}
	slices.SortStableFunc(r.gpus, inOrder)
	slices.SortStableFunc(r.others, inOrder)
}

// hostScope is what sensors of a host may see alike.
type hostScope struct {
	host  string
	scope sample.Scope
}

// ofHost returns what of its host a series is of; false where its device has an identity.
func (s *series) ofHost() (hostScope, bool) {
	d := s.survey.device
	switch d.Scope {
	case sample.ScopeCPUPackage, sample.ScopeCPURail, sample.ScopeIORail, sample.ScopeDRAM, sample.ScopePlatform:
		return hostScope{d.Host, d.Scope}, true
	}
	return hostScope{}, false
}

// members finds each GPU in the topology.
func (r *Reducer) members() {
	for _, s := range r.all {
		if s.survey.device.Scope != sample.ScopeGPU {
			continue
		}
		for i := range r.opt.Topology {
			if r.opt.Topology[i].is(s.survey.device) {
				s.member = &r.opt.Topology[i]
				break
			}
		}
		if s.member == nil && len(r.opt.Topology) > 0 {
			r.Warn(WarnOutside, "", s.survey.device.ID, "%s is in the telemetry but not in the topology: it is left out", deviceName(s.survey.device))
		}
	}
}

// is reports whether a device is the member.
func (m *Member) is(d sample.Device) bool {
	if m.Host != "" && m.Host != d.Host {
		return false
	}
	if m.Device != "" {
		return m.Device == d.ID
	}
	return m.Index == d.Index
}

// name says which device a member is, for people.
func (m *Member) name() string {
	if m.Device != "" {
		return m.Device
	}
	return deviceName(sample.Device{Host: m.Host, Index: m.Index})
}

// expected returns how many GPUs should be there, and how many of a role if it is
// not "".
func (r *Reducer) expected(role string) int {
	switch {
	case role != "":
		n := 0
		for _, m := range r.opt.Topology {
			if m.Role == role {
				n++
			}
		}
		return n
	case len(r.opt.Topology) > 0:
		return max(len(r.opt.Topology), r.opt.ExpectDevices)
	}
	return max(len(r.gpus), r.opt.ExpectDevices)
}

// absentMembers returns the members of the topology that the telemetry does not
// have, and those of a role alone if it is not "".
func (r *Reducer) absentMembers(role string) []string {
	list := []string{}
	for i := range r.opt.Topology {
		m := &r.opt.Topology[i]
		if role != "" && m.Role != role {
			continue
		}
		if !slices.ContainsFunc(r.gpus, func(s *series) bool { return s.member == m }) {
			list = append(list, m.name())
		}
	}
	return list
}

// roles returns the roles of the topology, in order of their names.
func (r *Reducer) roles() []string {
	var list []string
	for _, m := range r.opt.Topology {
		if m.Role != "" && !slices.Contains(list, m.Role) {
			list = append(list, m.Role)
		}
	}
	slices.Sort(list)
	return list
}

// twins finds out which module sensors are one: each GPU of a Grace module reports
// the module's power and energy as its own reading, so two GPUs of a host that show
// the same values scan after scan are on one module. Where a source names the module,
// that decides.
type twins struct {
	seen  []*series
	last  map[*series]twinReading
	pairs map[[2]*series]twinCount
}

type twinReading struct {
	at    trace.Time
	value float64
}

type twinCount struct{ scans, same int }

const (
	twinScan  = 5 * time.Millisecond // readings that are closer are of one scan
	twinScans = 10                   // fewer do not tell
	twinShare = 0.9                  // of the scans must agree: an update can come in between
)

// row compares row i of a batch with what the other modules of the host showed last.
func (t *twins) row(s *series, b *sample.Batch, i int, at trace.Time) {
	v, ok := b.Float(sample.EnergyJoules, i)
	if !ok {
		v, ok = b.Float(sample.PowerInstantWatts, i)
	}
	if !ok {
		v, ok = b.Float(sample.PowerWatts, i)
	}
	if !ok {
		return
	}
	if t.last == nil {
		t.last, t.pairs = map[*series]twinReading{}, map[[2]*series]twinCount{}
	}
	if _, known := t.last[s]; !known {
		t.seen = append(t.seen, s)
	}
	t.last[s] = twinReading{at, v}
	for _, other := range t.seen {
		o := t.last[other]
		if other == s || other.survey.device.Host != s.survey.device.Host || other.survey.device.Source != s.survey.device.Source || at.Sub(o.at) > twinScan {
			continue
		}
		pair := [2]*series{other, s}
		n := t.pairs[pair]
		n.scans++
		if o.value == v {
			n.same++
		}
		t.pairs[pair] = n
	}
}

// module returns the identity of the module that a series is of.
func (t *twins) module(s *series) string {
	if m := s.survey.device.Module; m != "" {
		return m
	}
	for _, first := range t.seen {
		if first == s {
			break
		}
		if n := t.pairs[[2]*series{first, s}]; n.scans >= twinScans && float64(n.same) >= twinShare*float64(n.scans) {
			return first.survey.device.ID
		}
	}
	return s.survey.device.ID
}

// share notes which devices report each module.
func (r *Reducer) share() {
	for _, o := range r.others {
		if o.survey.device.Scope != sample.ScopeModule {
			continue
		}
		for _, s := range r.all {
			if d := s.survey.device; d.Scope == sample.ScopeModule && d.Source == o.survey.device.Source && r.twins.module(o) == r.twins.module(s) && !slices.Contains(o.sharers, d.Index) {
				o.sharers = append(o.sharers, d.Index)
			}
		}
		slices.Sort(o.sharers)
	}
}

// warnMembers warns of members that are missing from a phase.
func (r *Reducer) warnMembers(ph *phase, seen int) {
	expected := r.expected("")
	if len(r.opt.Topology) > 0 {
		if list := r.absentMembers(""); len(list) > 0 {
			r.doubt(ph, WarnMissingDevice, "", "%s of the topology not in the telemetry: %s", plural(len(list), "GPU is", "GPUs are"), strings.Join(list, ", "))
		}
		return
	}
	if expected > len(r.gpus) {
		r.doubt(ph, WarnMissingDevice, "", "%s in the telemetry, %d expected", plural(len(r.gpus), "GPU is", "GPUs are"), expected)
	}
	if n := r.opt.ExpectDevices; n > 0 && len(r.gpus) > n {
		r.doubt(ph, WarnUnexpected, "", "%s in the telemetry, %d expected: all are counted", plural(len(r.gpus), "GPU is", "GPUs are"), n)
	}
}

// What a device must draw of the others' median to be at work, and for how much of the
// time it must be used.
const (
	idleShare       = 0.3
	idleUtilization = 0.01
)

// warnIdleDevices warns of GPUs that do nothing while the others serve: their energy
// is counted, but they are likely no part of the server.
func (r *Reducer) warnIdleDevices(ph *phase, devices []deviceEnergy) {
	if ph.Kind != string(trace.Measure) {
		return
	}
	var joules []float64
	for _, d := range devices {
		if d.whole {
			joules = append(joules, d.joules)
		}
	}
	if len(joules) < 2 {
		return
	}
	slices.Sort(joules)
	median := percentile(joules, 50)
	for _, d := range devices {
		if !d.whole || d.joules >= idleShare*median {
			continue
		}
		used := ""
		if t := d.series.slow.gauges[sample.GPUUtilization]; t != nil {
			if mean, _, ok := t.mean(ph.Start, ph.End.V); ok {
				if mean > idleUtilization {
					continue
				}
				used = fmt.Sprintf(" and is used %.1f %% of the time", 100*mean)
			}
		}
		device := d.series.survey.device
		r.doubt(ph, WarnIdleDevice, device.ID, "%s draws %.0f %% of what the others draw%s: its energy is counted, but it may be no part of the server",
			deviceName(device), 100*d.joules/median, used)
	}
}
