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
	keyDevices  = "wattrace.devices"
	keySnapshot = "wattrace.snapshot"
	keyEnd      = "wattrace.end"
)

// Head is what a recording says of itself before the first row.
type Head struct {
	Producer string              // program and version
	Clock    trace.Clock         // the steady clock that the rows are stamped with
	Info     sample.Info         // the source
	Devices  []sample.Device     // what the rows are of
	Snapshot trace.ClockSnapshot // all clocks when the first stream began
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
	Clean       bool                // the recorder ended of itself, with nothing lost
	Snapshot    trace.ClockSnapshot // all clocks at the end
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
	Module       string `json:"module,omitempty"`
	MIG          bool   `json:"mig"`
	Simulated    bool   `json:"simulated"`
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
	Clean            bool  `json:"clean"`
}

// encodeHead returns the schema metadata of a stream, as keys and values. end
// is nil in all but the last stream.
func encodeHead(h *Head, snapshot trace.ClockSnapshot, end *End) (keys, values []string, err error) {
	devices := make([]deviceJSON, len(h.Devices))
	for i, d := range h.Devices {
		devices[i] = deviceJSON{
			d.ID, d.Host, d.Index, string(d.Source), string(d.Scope), d.RawScope, d.Name, d.UUID,
			d.PCIBusID, d.Architecture, d.Module, d.MIG, d.Simulated,
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
	add(keyInfo, infoJSON{h.Info.Driver, h.Info.API, int64(h.Info.Interval), int64(h.Info.SlowInterval)})
	add(keyDevices, devices)
	add(keySnapshot, snapshotJSON{
		int64(snapshot.At), snapshot.BootNanos, snapshot.MonotonicNanos, snapshot.UnixNanos, int64(snapshot.Spread),
	})
	if end != nil {
		add(keyEnd, endJSON{
			end.Rows, end.Ticks, end.Missed, int64(end.LatenessP50), int64(end.LatenessP99), int64(end.LatenessMax),
			int64(end.Read), int64(end.CPU), end.Clean,
		})
	}
	return keys, values, err
}

// decodeHead reads the schema metadata of a stream; end is nil when the stream
// is not the last of a recording.
func decodeHead(value func(key string) (string, bool)) (h Head, end *End, err error) {
	if err := checkSchema(value); err != nil {
		return h, nil, err
	}
	h.Producer, _ = value(keyProducer)
	var clock clockJSON
	var info infoJSON
	var devices []deviceJSON
	var snapshot snapshotJSON
	for _, part := range []struct {
		key string
		dst any
	}{{keyClock, &clock}, {keyInfo, &info}, {keyDevices, &devices}, {keySnapshot, &snapshot}} {
		text, ok := value(part.key)
		if !ok {
			return h, nil, fmt.Errorf("the schema metadata has no %s", part.key)
		}
		if err := json.Unmarshal([]byte(text), part.dst); err != nil {
			return h, nil, fmt.Errorf("%s: %w", part.key, err)
		}
	}
	h.Clock = trace.Clock{Host: clock.Host, BootID: clock.BootID, Anchor: trace.ClockSnapshot{
		BootNanos: clock.BootNanos, MonotonicNanos: clock.MonotonicNanos, UnixNanos: clock.UnixNanos,
	}}
	h.Info = sample.Info{
		Driver: info.Driver, API: info.API,
		Interval: time.Duration(info.IntervalNanos), SlowInterval: time.Duration(info.SlowIntervalNanos),
	}
	for _, d := range devices {
		h.Devices = append(h.Devices, sample.Device{
			ID: d.ID, Host: d.Host, Index: d.Index, Source: sample.SourceName(d.Source), Scope: sample.Scope(d.Scope),
			RawScope: d.RawScope, Name: d.Name, UUID: d.UUID, PCIBusID: d.PCIBusID, Architecture: d.Architecture, Module: d.Module,
			MIG: d.MIG, Simulated: d.Simulated,
		})
	}
	h.Snapshot = trace.ClockSnapshot{
		At: trace.Time(snapshot.AtNanos), BootNanos: snapshot.BootNanos, MonotonicNanos: snapshot.MonotonicNanos,
		UnixNanos: snapshot.UnixNanos, Spread: time.Duration(snapshot.SpreadNanos),
	}
	end, err = decodeEnd(value, h.Snapshot)
	return h, end, err
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
	return &End{
		Rows: e.Rows, Ticks: e.Ticks, Missed: e.Missed,
		LatenessP50: time.Duration(e.LatenessP50Nanos), LatenessP99: time.Duration(e.LatenessP99Nanos),
		LatenessMax: time.Duration(e.LatenessMaxNanos),
		Read:        time.Duration(e.ReadNanos), CPU: time.Duration(e.CPUNanos), Clean: e.Clean, Snapshot: snapshot,
	}, nil
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
