package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Schema is the name and version of the format.
const Schema = "wattrace.telemetry/1"

const schemaVersion = 1

// The keys of the schema metadata, as the package comment gives them.
const (
	keySchema   = "wattrace.schema"
	keyProducer = "wattrace.producer"
	keyClock    = "wattrace.clock"
	keyInfo     = "wattrace.info"
	keySources  = "wattrace.sources"
	keyTimeSync = "wattrace.time_sync"
	keyDevices  = "wattrace.devices"
	keySnapshot = "wattrace.snapshot"
	keyHole     = "wattrace.hole"
	keyEnd      = "wattrace.end"

	// Of a sealed recording.
	keySnapshots = "wattrace.snapshots"
	keyHoles     = "wattrace.holes"
)

// Head is what a recording says of itself before the first row.
type Head struct {
	Producer string              // program and version
	Clock    trace.Clock         // the steady clock that the rows are stamped with
	Info     sample.Info         // the source; of several the first
	Sources  []sample.Info       // all sources, where there are several
	TimeSync TimeSync            // how well the host's wall clock was kept
	Devices  []sample.Device     // what the rows are of
	Snapshot trace.ClockSnapshot // all clocks when the first stream began

	// Metrics says which columns there are, in the order of sample.Metrics. A
	// Writer begins with them, nil being all; a metric beside them that gets a
	// value begins a new stream. A Reader gives those of the streams so far.
	Metrics []sample.MetricID
}

// TimeSync is what the host knew of its wall clock's error when a recording
// began. The zero TimeSync knows nothing.
type TimeSync struct {
	Source       string        // "chrony" or "kernel"; "" is unknown
	Synchronised bool          // to a time server or a reference clock
	Offset       time.Duration // estimate of the wall clock's error, local minus true
	MaxError     time.Duration // bound of it (RFC 5905: half the root delay, plus the root dispersion); 0 is unknown
	Stratum      int           // RFC 5905; 0 is unknown
}

// A Hole is a span of time whose rows a recorder read and could not keep, as
// when the disk was full.
type Hole struct {
	From, To trace.Time // of the first row that was lost, and the last
	Rows     int64
	Reason   string // "no space left on device"
}

// End is what a recording says of itself after the last row: how well the
// recorder kept time, and what it cost.
type End struct {
	Rows        int64         // rows of the recording
	Ticks       int64         // scans of all devices that were done
	Missed      int64         // scans that could not be done in time and were left out
	LatenessP50 time.Duration // of the scans: started minus due
	LatenessP99 time.Duration
	LatenessMax time.Duration
	Read        time.Duration       // time inside the source's calls
	CPU         time.Duration       // CPU time of the recorder outside those calls
	Lost        int64               // rows that were read and not written: those of all holes
	Units       []UnitEnd           // the same of each unit, where the recorder says so
	Clean       bool                // the recorder ended of itself, with nothing lost
	Snapshot    trace.ClockSnapshot // all clocks at the end
}

// UnitEnd says how the readings of one unit went: of devices that are read
// together.
type UnitEnd struct {
	Devices       []string // their identities
	Ticks, Missed int64
	LatenessP99   time.Duration
	LatenessMax   time.Duration
	Read, ReadMax time.Duration // time inside the calls: of all, and of the longest
}

type timeSyncJSON struct {
	Source        string `json:"source"`
	Synchronised  bool   `json:"synchronised"`
	OffsetNanos   int64  `json:"offset_nanos"`
	MaxErrorNanos int64  `json:"max_error_nanos"`
	Stratum       int    `json:"stratum"`
}

type holeJSON struct {
	FromNanos int64  `json:"from_nanos"`
	ToNanos   int64  `json:"to_nanos"`
	Rows      int64  `json:"rows"`
	Reason    string `json:"reason"`
}

type clockJSON struct {
	Host           string `json:"host"`
	BootID         string `json:"boot_id"`
	BootNanos      int64  `json:"boot_nanos,string"`
	MonotonicNanos int64  `json:"monotonic_nanos,string"`
	UnixNanos      int64  `json:"unix_nanos,string"`
}

type snapshotJSON struct {
	AtNanos        int64 `json:"at_nanos"`
	BootNanos      int64 `json:"boot_nanos,string"`
	MonotonicNanos int64 `json:"monotonic_nanos,string"`
	UnixNanos      int64 `json:"unix_nanos,string"`
	SpreadNanos    int64 `json:"spread_nanos"`
}

type infoJSON struct {
	Source            string `json:"source,omitempty"`
	Driver            string `json:"driver"`
	API               string `json:"api"`
	IntervalNanos     int64  `json:"interval_nanos"`
	SlowIntervalNanos int64  `json:"slow_interval_nanos"`
}

type deviceJSON struct {
	ID           string `json:"id"`
	Host         string `json:"host"`
	Index        int    `json:"index"`
	Source       string `json:"source"`
	Scope        string `json:"scope"`
	RawScope     int    `json:"raw_scope"`
	Name         string `json:"name"`
	UUID         string `json:"uuid"`
	PCIBusID     string `json:"pci_bus_id"`
	Architecture string `json:"architecture"`
	Driver       string `json:"driver,omitempty"`
	Module       string `json:"module,omitempty"`
	MIG          bool   `json:"mig"`
	MPS          bool   `json:"mps,omitempty"`
	Simulated    bool   `json:"simulated"`

	Clocks *clocksJSON `json:"clocks,omitempty"`
}

type clocksJSON struct {
	ApplicationSM     *float64 `json:"application_sm_hertz,omitempty"`
	ApplicationMemory *float64 `json:"application_memory_hertz,omitempty"`
	DefaultSM         *float64 `json:"default_sm_hertz,omitempty"`
	DefaultMemory     *float64 `json:"default_memory_hertz,omitempty"`
	MaxSM             *float64 `json:"max_sm_hertz,omitempty"`
	MaxMemory         *float64 `json:"max_memory_hertz,omitempty"`
}

// encodeClocks returns nil where nothing is known.
func encodeClocks(c sample.Clocks) *clocksJSON {
	if c == (sample.Clocks{}) {
		return nil
	}
	return &clocksJSON{c.ApplicationSM.Pointer(), c.ApplicationMemory.Pointer(), c.DefaultSM.Pointer(), c.DefaultMemory.Pointer(), c.MaxSM.Pointer(), c.MaxMemory.Pointer()}
}

func (j *clocksJSON) decode() sample.Clocks {
	if j == nil {
		return sample.Clocks{}
	}
	of := func(v *float64) (o trace.Opt[float64]) {
		if v != nil && *v > 0 {
			o = trace.Some(*v)
		}
		return o
	}
	return sample.Clocks{
		ApplicationSM: of(j.ApplicationSM), ApplicationMemory: of(j.ApplicationMemory),
		DefaultSM: of(j.DefaultSM), DefaultMemory: of(j.DefaultMemory), MaxSM: of(j.MaxSM), MaxMemory: of(j.MaxMemory),
	}
}

type endJSON struct {
	Rows             int64 `json:"rows"`
	Ticks            int64 `json:"ticks"`
	Missed           int64 `json:"missed"`
	LatenessP50Nanos int64 `json:"lateness_p50_nanos"`
	LatenessP99Nanos int64 `json:"lateness_p99_nanos"`
	LatenessMaxNanos int64 `json:"lateness_max_nanos"`
	ReadNanos        int64 `json:"read_nanos"`
	CPUNanos         int64 `json:"cpu_nanos"`
	Lost             int64 `json:"lost,omitempty"`
	Clean            bool  `json:"clean"`

	Units []unitJSON `json:"units,omitempty"`
}

type unitJSON struct {
	Devices          []string `json:"devices"`
	Ticks            int64    `json:"ticks"`
	Missed           int64    `json:"missed"`
	LatenessP99Nanos int64    `json:"lateness_p99_nanos"`
	LatenessMaxNanos int64    `json:"lateness_max_nanos"`
	ReadNanos        int64    `json:"read_nanos"`
	ReadMaxNanos     int64    `json:"read_max_nanos"`
}

// streamHead is what the schema metadata of a stream says.
type streamHead struct {
	Head
	later []trace.ClockSnapshot // those after Head.Snapshot; only of a sealed recording
	holes []Hole                // what was lost before the stream; of a sealed recording all
	end   *End                  // nil in all but the last stream of a recording
}

// encodeHead returns the schema metadata of a stream, as keys and values.
func encodeHead(h *streamHead) (keys, values []string, err error) {
	devices := make([]deviceJSON, len(h.Devices))
	for i, d := range h.Devices {
		devices[i] = deviceJSON{
			d.ID, d.Host, d.Index, string(d.Source), string(d.Scope), d.RawScope, d.Name, d.UUID,
			d.PCIBusID, d.Architecture, d.Driver, d.Module, d.MIG, d.MPS, d.Simulated, encodeClocks(d.Clocks),
		}
	}
	add := func(key string, value any) {
		text, isText := value.(string)
		if !isText {
			b, e := json.Marshal(value)
			text, err = string(b), errors.Join(err, e)
		}
		keys, values = append(keys, key), append(values, text)
	}
	a := h.Clock.Anchor
	add(keySchema, Schema)
	add(keyProducer, h.Producer)
	add(keyClock, clockJSON{h.Clock.Host, h.Clock.BootID, a.BootNanos, a.MonotonicNanos, a.UnixNanos})
	add(keyInfo, encodeInfo(h.Info))
	if len(h.Sources) > 0 {
		sources := make([]infoJSON, len(h.Sources))
		for i, info := range h.Sources {
			sources[i] = encodeInfo(info)
		}
		add(keySources, sources)
	}
	if s := h.TimeSync; s != (TimeSync{}) {
		add(keyTimeSync, timeSyncJSON{s.Source, s.Synchronised, int64(s.Offset), int64(s.MaxError), s.Stratum})
	}
	add(keyDevices, devices)
	add(keySnapshot, encodeSnapshot(h.Snapshot))
	if len(h.later) > 0 {
		later := make([]snapshotJSON, len(h.later))
		for i, s := range h.later {
			later[i] = encodeSnapshot(s)
		}
		add(keySnapshots, later)
	}
	holes := make([]holeJSON, len(h.holes))
	for i, hole := range h.holes {
		holes[i] = holeJSON{int64(hole.From), int64(hole.To), hole.Rows, hole.Reason}
	}
	switch {
	case len(holes) == 1:
		add(keyHole, holes[0])
	case len(holes) > 1:
		add(keyHoles, holes)
	}
	if end := h.end; end != nil {
		e := endJSON{
			Rows: end.Rows, Ticks: end.Ticks, Missed: end.Missed, LatenessP50Nanos: int64(end.LatenessP50),
			LatenessP99Nanos: int64(end.LatenessP99), LatenessMaxNanos: int64(end.LatenessMax),
			ReadNanos: int64(end.Read), CPUNanos: int64(end.CPU), Lost: end.Lost, Clean: end.Clean,
		}
		for _, u := range end.Units {
			e.Units = append(e.Units, unitJSON{
				u.Devices, u.Ticks, u.Missed, int64(u.LatenessP99), int64(u.LatenessMax), int64(u.Read), int64(u.ReadMax),
			})
		}
		add(keyEnd, e)
	}
	return keys, values, err
}

func encodeSnapshot(s trace.ClockSnapshot) snapshotJSON {
	return snapshotJSON{int64(s.At), s.BootNanos, s.MonotonicNanos, s.UnixNanos, int64(s.Spread)}
}

func (s snapshotJSON) decode() trace.ClockSnapshot {
	return trace.ClockSnapshot{
		At: trace.Time(s.AtNanos), BootNanos: s.BootNanos, MonotonicNanos: s.MonotonicNanos,
		UnixNanos: s.UnixNanos, Spread: time.Duration(s.SpreadNanos),
	}
}

func encodeInfo(i sample.Info) infoJSON {
	return infoJSON{string(i.Source), i.Driver, i.API, int64(i.Interval), int64(i.SlowInterval)}
}

func (i infoJSON) decode() sample.Info {
	return sample.Info{
		Source: sample.SourceName(i.Source), Driver: i.Driver, API: i.API,
		Interval: time.Duration(i.IntervalNanos), SlowInterval: time.Duration(i.SlowIntervalNanos),
	}
}

// decodeHead reads the schema metadata of a stream.
func decodeHead(value func(key string) (string, bool)) (h streamHead, err error) {
	if err := checkSchema(value); err != nil {
		return h, err
	}
	h.Producer, _ = value(keyProducer)
	var clock clockJSON
	var info infoJSON
	var sources []infoJSON
	var sync timeSyncJSON
	var devices []deviceJSON
	var snapshot snapshotJSON
	var later []snapshotJSON
	var hole *holeJSON
	var holes []holeJSON
	for _, part := range []struct {
		key      string
		dst      any
		required bool
	}{
		{keyClock, &clock, true}, {keyInfo, &info, true}, {keySources, &sources, false}, {keyTimeSync, &sync, false},
		{keyDevices, &devices, true}, {keySnapshot, &snapshot, true}, {keySnapshots, &later, false},
		{keyHole, &hole, false}, {keyHoles, &holes, false},
	} {
		text, ok := value(part.key)
		if !ok && part.required {
			return h, fmt.Errorf("the schema metadata has no %s", part.key)
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(text), part.dst); err != nil {
			return h, fmt.Errorf("%s: %w", part.key, err)
		}
	}
	h.Clock = trace.Clock{Host: clock.Host, BootID: clock.BootID, Anchor: trace.ClockSnapshot{
		BootNanos: clock.BootNanos, MonotonicNanos: clock.MonotonicNanos, UnixNanos: clock.UnixNanos,
	}}
	h.Info = info.decode()
	for _, s := range sources {
		h.Sources = append(h.Sources, s.decode())
	}
	h.TimeSync = TimeSync{sync.Source, sync.Synchronised, time.Duration(sync.OffsetNanos), time.Duration(sync.MaxErrorNanos), sync.Stratum}
	for _, d := range devices {
		h.Devices = append(h.Devices, sample.Device{
			ID: d.ID, Host: d.Host, Index: d.Index, Source: sample.SourceName(d.Source), Scope: sample.Scope(d.Scope),
			RawScope: d.RawScope, Name: d.Name, UUID: d.UUID, PCIBusID: d.PCIBusID, Architecture: d.Architecture, Driver: d.Driver,
			Module: d.Module, MIG: d.MIG, MPS: d.MPS, Clocks: d.Clocks.decode(), Simulated: d.Simulated,
		})
	}
	h.Snapshot = snapshot.decode()
	for _, s := range later {
		h.later = append(h.later, s.decode())
	}
	if hole != nil {
		holes = append([]holeJSON{*hole}, holes...)
	}
	for _, j := range holes {
		h.holes = append(h.holes, Hole{trace.Time(j.FromNanos), trace.Time(j.ToNanos), j.Rows, j.Reason})
	}
	latest := h.Snapshot
	if n := len(h.later); n > 0 {
		latest = h.later[n-1]
	}
	h.end, err = decodeEnd(value, latest)
	return h, err
}

func decodeEnd(value func(string) (string, bool), snapshot trace.ClockSnapshot) (*End, error) {
	text, ok := value(keyEnd)
	if !ok {
		return nil, nil
	}
	var e endJSON
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, fmt.Errorf("%s: %w", keyEnd, err)
	}
	end := &End{
		Rows: e.Rows, Ticks: e.Ticks, Missed: e.Missed, Lost: e.Lost,
		LatenessP50: time.Duration(e.LatenessP50Nanos), LatenessP99: time.Duration(e.LatenessP99Nanos),
		LatenessMax: time.Duration(e.LatenessMaxNanos),
		Read:        time.Duration(e.ReadNanos), CPU: time.Duration(e.CPUNanos), Clean: e.Clean, Snapshot: snapshot,
	}
	for _, u := range e.Units {
		end.Units = append(end.Units, UnitEnd{
			u.Devices, u.Ticks, u.Missed, time.Duration(u.LatenessP99Nanos), time.Duration(u.LatenessMaxNanos),
			time.Duration(u.ReadNanos), time.Duration(u.ReadMaxNanos),
		})
	}
	return end, nil
}

// checkSchema refuses what is no recording, or a later version of one.
func checkSchema(value func(string) (string, bool)) error {
	schema, ok := value(keySchema)
	name, number, _ := strings.Cut(schema, "/")
	version, err := strconv.Atoi(number)
	switch {
	case !ok:
		return fmt.Errorf("not a telemetry recording: the Arrow schema has no %s", keySchema)
	case name != "wattrace.telemetry" || err != nil || version < 1:
		return fmt.Errorf("not a telemetry recording: schema %q, want %s", schema, Schema)
	case version > schemaVersion:
		return fmt.Errorf("schema %s is newer than %s, which this program reads", schema, Schema)
	}
	return nil
}
