package aiperf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"wattrace/sample"
	"wattrace/trace"
)

const (
	maxRows    = 4096 // that one Read returns at most
	maxDevices = 4096 // of a file
)

// fields are the names of telemetry_data that are read, in all generations.
var fields = map[string]struct {
	metric sample.MetricID
	scale  func(float64) float64
}{
	"gpu_power_usage":           {sample.PowerWatts, same},
	"nvidia_power_usage":        {sample.PowerWatts, same},
	"amd_power":                 {sample.PowerWatts, same},
	"energy_consumption":        {sample.EnergyJoules, joules},
	"nvidia_energy_consumption": {sample.EnergyJoules, joules},
	"amd_energy_consumption":    {sample.EnergyJoules, joules},
	"gpu_utilization":           {sample.GPUUtilization, share},
	"nvidia_gpu_utilization":    {sample.GPUUtilization, share},
	"amd_gfx_activity":          {sample.GPUUtilization, share},
	"mem_utilization":           {sample.MemoryUtilization, share},
	"nvidia_memory_utilization": {sample.MemoryUtilization, share},
	"amd_umc_activity":          {sample.MemoryUtilization, share},
	"gpu_memory_used":           {sample.MemoryUsedBytes, gigabytes},
	"nvidia_memory_used":        {sample.MemoryUsedBytes, gigabytes},
	"amd_memory_used":           {sample.MemoryUsedBytes, gigabytes},
	"gpu_temperature":           {sample.TemperatureCelsius, same},
	"nvidia_temperature":        {sample.TemperatureCelsius, same},
	"amd_temperature":           {sample.TemperatureCelsius, same},
	"power_violation":           {sample.PowerCapSeconds, seconds},
	"nvidia_power_violation":    {sample.PowerCapSeconds, seconds},
}

func same(v float64) float64 { return v }

// joules are of megajoules, of which the ninth digit is the counter's millijoule.
func joules(megajoules float64) float64 { return math.Round(megajoules*1e9) / 1000 }

func seconds(micros float64) float64 { return micros / 1e6 }

func share(percent float64) float64 { return percent / 100 }

func gigabytes(v float64) float64 { return v * 1e9 }

// Head is what a file of telemetry says of itself.
type Head struct {
	Clock   trace.Clock // its anchor, the first row's instant, has a wall clock only
	Info    sample.Info
	Devices []sample.Device // of all rows so far
}

// TelemetryReader reads gpu_telemetry_export.jsonl. It is not safe for concurrent use.
type TelemetryReader struct {
	lines   *Reader // of which the lines are read
	head    Head
	begun   bool
	ids     map[string]int // index of each device, by what identifies it
	sources []string       // URL that each device is read from
	latest  []trace.Time   // last row of each device

	row    telemetryRow
	next   sample.Batch // read ahead
	failed error        // what is wrong with the line after next
	done   error        // what every further Read returns
}

// telemetryRow is a line.
type telemetryRow struct {
	at                        instant
	index                     trace.Opt[int64]
	uuid, name, bus, host     string
	dcgmURL, source, platform string
	hasData                   bool
	values                    [sample.NumMetrics]trace.Opt[float64]
}

// NewTelemetryReader reads the first rows, so that Head knows the clock and the devices
// of them. name is for errors.
func NewTelemetryReader(r io.Reader, name string) (*TelemetryReader, error) {
	rd := &TelemetryReader{lines: NewReader(r, name), ids: map[string]int{}, head: Head{Info: sample.Info{API: "aiperf gpu_telemetry_export"}}}
	rd.fill()
	if rd.next.Len() == 0 && rd.done == io.EOF && rd.failed == nil {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the file holds no telemetry")}
	}
	return rd, nil
}

// Head returns what the file says of itself, and the devices of the rows so far.
func (r *TelemetryReader) Head() Head { return r.head }

// Read replaces the content of b by the next rows, at most 4,096. A fault of a line is a
// *trace.SyntaxError, after the rows before it, and reading goes on at the next line; one
// that wraps ErrTruncated is the last before io.EOF. Any other error is final.
func (r *TelemetryReader) Read(b *sample.Batch) error {
	if r.next.Len() == 0 && r.failed == nil && r.done == nil {
		r.fill()
	}
	if r.next.Len() > 0 {
		*b, r.next = r.next, *b
		b.Devices = r.head.Devices
		r.next.Reset()
		return nil
	}
	if err := r.failed; err != nil {
		r.failed = nil
		return err
	}
	return r.done
}

// fill reads rows ahead, up to a fault, the end or maxRows.
func (r *TelemetryReader) fill() {
	r.next.Reset()
	for r.next.Len() < maxRows {
		line, ended, err := r.lines.next()
		if err != nil {
			r.done = err
			return
		}
		if err = r.row.parse(line); err == nil {
			err = r.take(&r.row)
		}
		if err != nil {
			r.failed = r.lines.at(err, ended)
			return
		}
	}
}

// parse reads a line. Its errors have columns.
func (w *telemetryRow) parse(line []byte) error {
	*w = telemetryRow{}
	return trace.WalkObject(line, func(m trace.Member) (err error) {
		switch string(m.Name) {
		case "timestamp_ns":
			w.at, err = moment(m)
		case "gpu_index":
			w.index, err = integer(m, math.MaxInt32)
		case "gpu_uuid":
			w.uuid, err = text(m)
		case "gpu_model_name":
			w.name, err = text(m)
		case "pci_bus_id":
			w.bus, err = text(m)
		case "hostname":
			w.host, err = text(m)
		case "dcgm_url":
			w.dcgmURL, err = text(m)
		case "telemetry_source_url":
			w.source, err = text(m)
		case "platform":
			w.platform, err = text(m)
		case "telemetry_data":
			w.hasData = true
			err = walk(m, w.value)
		}
		return err
	})
}

func (w *telemetryRow) value(m trace.Member) error {
	f, ok := fields[string(m.Name)]
	if !ok || m.Value.Kind() == 'n' {
		return nil
	}
	if m.Value.Kind() != '0' {
		return m.Errorf("%s must be a number", m.Name)
	}
	v, err := strconv.ParseFloat(string(m.Value), 64)
	if v = f.scale(v); err != nil || !(v > -1e18 && v < 1e18) || v < 0 && f.metric != sample.TemperatureCelsius {
		return m.Errorf("%s is out of range", m.Name)
	}
	w.values[f.metric] = trace.Some(v)
	return nil
}

// take puts a row into next.
func (r *TelemetryReader) take(w *telemetryRow) error {
	switch {
	case !w.at.OK || w.at.V == 0:
		return at(1, "not a row of aiperf's telemetry: it has no timestamp_ns")
	case !w.hasData:
		return at(1, "not a row of aiperf's telemetry: it has no telemetry_data")
	case w.uuid == "" && !w.index.OK:
		return at(1, "the row does not say which GPU it is of: gpu_uuid is wanted")
	}
	i, err := r.device(w)
	if err != nil {
		return err
	}
	if r.sources[i] != cmp.Or(w.source, w.dcgmURL) {
		return nil // the GPU again, by another exporter
	}
	if !r.begun {
		r.begun = true
		r.head.Clock.Anchor.UnixNanos = w.at.V
	}
	t := trace.Time(w.at.V - r.head.Clock.Anchor.UnixNanos)
	if r.latest[i] >= t && r.latest[i] != never {
		return at(w.at.col, "%v before the row before, of the same GPU", r.latest[i].Sub(t))
	}
	r.latest[i] = t
	row := r.next.Append(i, t, 0)
	for id, v := range w.values {
		switch metric := sample.MetricID(id); {
		case !v.OK:
		case sample.Metrics[id].Type == sample.Uint64:
			row.SetUint(metric, uint64(math.Round(v.V)))
		default:
			row.Set(metric, v.V)
		}
	}
	return nil
}

const never = trace.Time(math.MinInt64)

// device returns the index of a row's device.
func (r *TelemetryReader) device(w *telemetryRow) (int, error) {
	source, url := w.sourceName(), cmp.Or(w.source, w.dcgmURL)
	key := w.uuid
	if key == "" {
		key = fmt.Sprintf("%s %s %d", url, w.host, w.index.V)
	}
	if i, ok := r.ids[key]; ok {
		return i, nil
	}
	if len(r.head.Devices) == maxDevices {
		return 0, at(1, "more than %d GPUs", maxDevices)
	}
	i := len(r.head.Devices)
	r.ids[key] = i
	r.head.Devices = append(r.head.Devices, sample.Device{
		ID:   cmp.Or(w.uuid, fmt.Sprintf("%s:%s:%d", source, w.host, w.index.V)),
		Host: w.host, Index: int(w.index.V), Source: source, Scope: sample.ScopeGPU, Name: w.name, UUID: w.uuid, PCIBusID: w.bus,
	})
	r.sources, r.latest = append(r.sources, url), append(r.latest, never)
	return i, nil
}

// sourceName says by which API aiperf read a GPU.
func (w *telemetryRow) sourceName() sample.SourceName {
	switch {
	case strings.HasPrefix(w.source, "nvidia-smi:"):
		return sample.NVIDIASMI
	case strings.HasPrefix(w.source, "pynvml:"):
		return sample.NVML
	case strings.HasPrefix(w.source, "amdsmi:"), w.platform == "amd":
		return sample.AMDSMI
	}
	return sample.DCGM
}
