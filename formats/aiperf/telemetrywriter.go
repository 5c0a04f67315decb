package aiperf

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"

	"wattrace/sample"
)

// written are the names of telemetry_data that are written, for the GPUs of both makers,
// in the units of aiperf; "" is none.
var written = []struct {
	metric      sample.MetricID
	nvidia, amd string
	write       func(dst []byte, b *sample.Batch, i int) ([]byte, bool)
}{
	{sample.PowerWatts, "nvidia_power_usage", "amd_power", plainly(sample.PowerWatts)},
	{sample.EnergyJoules, "nvidia_energy_consumption", "amd_energy_consumption", appendMegajoules},
	{sample.GPUUtilization, "nvidia_gpu_utilization", "amd_gfx_activity", percent(sample.GPUUtilization)},
	{sample.MemoryUtilization, "nvidia_memory_utilization", "amd_umc_activity", percent(sample.MemoryUtilization)},
	{sample.MemoryUsedBytes, "nvidia_memory_used", "amd_memory_used", appendGigabytes},
	{sample.TemperatureCelsius, "nvidia_temperature", "amd_temperature", plainly(sample.TemperatureCelsius)},
	{sample.SMActivity, "nvidia_sm_utilization", "", percent(sample.SMActivity)},
	{sample.PowerCapSeconds, "nvidia_power_violation", "", appendMicroseconds},
}

func appendFloat(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'g', -1, 64) }

func plainly(id sample.MetricID) func([]byte, *sample.Batch, int) ([]byte, bool) {
	return func(dst []byte, b *sample.Batch, i int) ([]byte, bool) {
		v, ok := b.Float(id, i)
		return appendFloat(dst, v), ok
	}
}

// percent gives back what share makes of it, where a percent does.
func percent(id sample.MetricID) func([]byte, *sample.Batch, int) ([]byte, bool) {
	return func(dst []byte, b *sample.Batch, i int) ([]byte, bool) {
		v, ok := b.Float(id, i)
		p := v * 100
		if whole := math.Round(p); share(whole) == v {
			p = whole
		}
		return appendFloat(dst, p), ok
	}
}

// appendMegajoules writes the millijoules of a counter as the nine digits that they are.
func appendMegajoules(dst []byte, b *sample.Batch, i int) ([]byte, bool) {
	v, ok := b.Float(sample.EnergyJoules, i)
	if mj := math.Round(v * 1000); mj >= 0 && mj < 1<<53 {
		return appendNano(dst, uint64(mj)), ok
	}
	return appendFloat(dst, v/1e6), ok
}

func appendGigabytes(dst []byte, b *sample.Batch, i int) ([]byte, bool) {
	v, ok := b.Uint(sample.MemoryUsedBytes, i)
	return appendNano(dst, v), ok
}

func appendMicroseconds(dst []byte, b *sample.Batch, i int) ([]byte, bool) {
	v, ok := b.Float(sample.PowerCapSeconds, i)
	return appendFloat(dst, math.Round(v*1e9)/1e3), ok
}

// appendNano appends n billionths.
func appendNano(dst []byte, n uint64) []byte {
	dst = strconv.AppendUint(dst, n/1e9, 10)
	rest := n % 1e9
	if rest == 0 {
		return append(dst, ".0"...)
	}
	digits := fmt.Appendf(nil, ".%09d", rest)
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return append(dst, digits...)
}

// TelemetryWriter writes gpu_telemetry_export.jsonl, with the names of aiperf since it
// has more than one maker's GPUs (0.9). It must not be used by two goroutines at once.
type TelemetryWriter struct {
	w       *bufio.Writer
	anchor  int64
	devices []writtenDevice
	line    []byte
	data    []byte
	left    int64
}

// writtenDevice is a device as each of its lines has it.
type writtenDevice struct {
	leave bool // it is none of aiperf's
	amd   bool
	tail  []byte // of the line, after its time
}

// NewTelemetryWriter begins a file of the rows of the devices, whose times are relative to
// the Unix time anchor, in nanoseconds. What is no GPU is left out, and so is a GPU that
// another source reads too, which aiperf would count twice.
func NewTelemetryWriter(w io.Writer, devices []sample.Device, anchor int64) *TelemetryWriter {
	t := &TelemetryWriter{w: bufio.NewWriterSize(w, 256<<10), anchor: anchor}
	seen := map[string]bool{}
	for _, d := range devices {
		t.devices = append(t.devices, describe(d, seen))
	}
	return t
}

func describe(d sample.Device, seen map[string]bool) (w writtenDevice) {
	if d.Scope != sample.ScopeGPU || seen[d.ID] {
		return writtenDevice{leave: true}
	}
	seen[d.ID] = true
	host := d.Host
	if host == "" {
		host = "localhost"
	}
	platform, url := "nvidia", "pynvml://"+host
	switch d.Source {
	case sample.NVML:
	case sample.AMDSMI:
		platform, url, w.amd = "amd", "amdsmi://"+host, true
	case sample.DCGM:
		url = "http://" + host + ":9400/metrics"
	default:
		url = string(d.Source) + "://" + host
	}
	text := func(name, value string) {
		quoted, _ := json.Marshal(value) // of a string it cannot fail
		w.tail = append(append(append(append(w.tail, `,"`...), name...), `":`...), quoted...)
	}
	text("telemetry_source_url", url)
	w.tail = fmt.Appendf(w.tail, `,"gpu_index":%d`, d.Index)
	text("gpu_uuid", d.ID)
	text("gpu_model_name", d.Name)
	if d.PCIBusID != "" {
		text("pci_bus_id", d.PCIBusID)
	}
	text("hostname", host)
	text("platform", platform)
	return w
}

// Write writes the rows of b that have a value which aiperf knows.
func (t *TelemetryWriter) Write(b *sample.Batch) error {
	for i := range b.Len() {
		d := &t.devices[b.Device[i]]
		if !d.leave {
			t.values(b, i, d.amd)
		}
		if d.leave || len(t.data) == 0 {
			t.left++
			continue
		}
		// A reading is in the middle of what it took.
		t.line = strconv.AppendInt(append(t.line[:0], `{"timestamp_ns":`...), t.anchor+int64(b.Time[i])+int64(b.Took[i])/2, 10)
		t.line = append(append(t.line, d.tail...), `,"telemetry_data":{`...)
		t.line = append(append(t.line, t.data...), "}}\n"...)
		if _, err := t.w.Write(t.line); err != nil {
			return err
		}
	}
	return nil
}

// values puts the members of telemetry_data of a row into data.
func (t *TelemetryWriter) values(b *sample.Batch, i int, amd bool) {
	t.data = t.data[:0]
	for _, f := range written {
		name := f.nvidia
		if amd {
			name = f.amd
		}
		if name == "" {
			continue
		}
		before := len(t.data)
		if before > 0 {
			t.data = append(t.data, ',')
		}
		t.data = append(append(append(t.data, '"'), name...), `":`...)
		var ok bool
		if t.data, ok = f.write(t.data, b, i); !ok {
			t.data = t.data[:before]
		}
	}
}

// Left returns how many rows were not written: of what is no GPU, of a GPU by a second
// source, or without a value that aiperf knows.
func (t *TelemetryWriter) Left() int64 { return t.left }

// Close writes what is left. It does not close the underlying writer.
func (t *TelemetryWriter) Close() error { return t.w.Flush() }
