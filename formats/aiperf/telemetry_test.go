package aiperf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"wattrace/sample"
	"wattrace/trace"
)

// readRows reads telemetry into one batch; faults are collected.
func readRows(t *testing.T, in string) (all sample.Batch, head Head, faults []string) {
	t.Helper()
	r, err := NewTelemetryReader(strings.NewReader(in), "f")
	if err != nil {
		return all, head, []string{err.Error()}
	}
	var b sample.Batch
	for {
		err := r.Read(&b)
		var syntax *trace.SyntaxError
		switch {
		case err == io.EOF:
			return all, r.Head(), faults
		case errors.As(err, &syntax):
			faults = append(faults, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			for i := range b.Len() {
				all.AppendFrom(&b, i, int(b.Device[i]))
			}
		}
	}
}

// row is a line of the newest names.
func row(millis int, uuid, data string) string {
	return fmt.Sprintf(`{"timestamp_ns":%d,"telemetry_source_url":"pynvml://localhost","platform":"nvidia","gpu_index":1,"gpu_uuid":%q,"gpu_model_name":"NVIDIA H200","telemetry_data":{%s}}`+"\n",
		startNanos+millis*1e6, uuid, data)
}

func TestTelemetryGenerations(t *testing.T) {
	t.Parallel()
	// Of the first, the values are a real one's.
	const early = `{"timestamp_ns":1762551532277962767,"dcgm_url":"http://localhost:9400/metrics","gpu_index":0,"gpu_uuid":"GPU-ef6ef310","gpu_model_name":"NVIDIA RTX 6000 Ada Generation",` +
		`"pci_bus_id":"00000000:02:00.0","device":"nvidia0","hostname":"7a22ed6f1fd7","telemetry_data":{"gpu_power_usage":113.989,"energy_consumption":32.627571906,"gpu_utilization":94.0,` +
		`"mem_utilization":50,"gpu_memory_used":49.66055936,"gpu_temperature":61,"xid_errors":0,"unheard_of":"x"}}` + "\n"
	newer := strings.NewReplacer("dcgm_url", "telemetry_source_url", "gpu_power", "nvidia_power", "energy_c", "nvidia_energy_c", `"gpu_utilization`, `"nvidia_gpu_utilization`,
		"mem_utilization", "nvidia_memory_utilization", "gpu_memory", "nvidia_memory", "gpu_temp", "nvidia_temp").Replace(early)
	amd := strings.NewReplacer("dcgm_url", "telemetry_source_url", "http://localhost:9400/metrics", "amdsmi://localhost", "gpu_power_usage", "amd_power", "energy_c", "amd_energy_c",
		`"gpu_utilization`, `"amd_gfx_activity`, "mem_utilization", "amd_umc_activity", "gpu_memory", "amd_memory", "gpu_temp", "amd_temp").Replace(early)
	for in, source := range map[string]sample.SourceName{
		early: sample.DCGM, newer: sample.DCGM, amd: sample.AMDSMI, strings.Replace(newer, "http://localhost:9400/metrics", "pynvml://localhost", 1): sample.NVML,
	} {
		b, head, faults := readRows(t, in)
		if faults != nil || b.Len() != 1 || head.Clock.Anchor.UnixNanos != 1762551532277962767 || b.Time[0] != 0 {
			t.Fatalf("%s: %q, %+v", source, faults, head)
		}
		want := sample.Device{
			ID: "GPU-ef6ef310", UUID: "GPU-ef6ef310", Host: "7a22ed6f1fd7", Source: source, Scope: sample.ScopeGPU, Name: "NVIDIA RTX 6000 Ada Generation", PCIBusID: "00000000:02:00.0",
		}
		if head.Devices[0] != want {
			t.Errorf("%+v", head.Devices[0])
		}
		for metric, want := range map[sample.MetricID]float64{
			sample.PowerWatts: 113.989, sample.EnergyJoules: 32627571.906, sample.GPUUtilization: .94, sample.MemoryUtilization: .5, sample.TemperatureCelsius: 61,
		} {
			if v, ok := b.Float(metric, 0); !ok || v != want {
				t.Errorf("%s: %s is %v", source, metric, v)
			}
		}
		if v, ok := b.Uint(sample.MemoryUsedBytes, 0); !ok || v != 49660559360 {
			t.Errorf("%s: %v bytes", source, v)
		}
	}
}

// TestTelemetryThatComesAndGoes: what a row lacks is null in it, and nothing else.
func TestTelemetryThatComesAndGoes(t *testing.T) {
	t.Parallel()
	in := row(0, "a", `"nvidia_power_usage":100`) + row(0, "b", "") + row(333, "a", `"nvidia_energy_consumption":1,"nvidia_power_usage":null`) +
		strings.Replace(row(333, "b", `"nvidia_power_usage":9`), "pynvml://localhost", "http://h:9400/metrics", 1) + row(666, "c", `"nvidia_power_usage":7`)
	b, head, faults := readRows(t, "\xef\xbb\xbf"+strings.ReplaceAll(in, "\n", "\r\n\r\n"))
	if faults != nil || b.Len() != 4 || len(head.Devices) != 3 {
		t.Fatalf("%d rows, %+v, %q", b.Len(), head, faults)
	}
	for i, want := range []struct{ power, energy bool }{{true, false}, {false, false}, {false, true}, {true, false}} {
		_, power := b.Float(sample.PowerWatts, i)
		_, energy := b.Float(sample.EnergyJoules, i)
		if power != want.power || energy != want.energy {
			t.Errorf("row %d: power %v, energy %v", i, power, energy)
		}
	}
	if b.Device[3] != 2 || b.Time[3] != 666e6 {
		t.Errorf("%v, %v", b.Device, b.Time)
	}
	// Without UUIDs a GPU is its number at its exporter.
	nameless := strings.ReplaceAll(row(0, "a", "")+strings.Replace(row(0, "a", ""), `"gpu_index":1`, `"gpu_index":2`, 1), `"gpu_uuid":"a",`, "")
	if _, head, _ := readRows(t, nameless); len(head.Devices) != 2 || head.Devices[1].ID != "nvml::2" {
		t.Errorf("%+v", head.Devices)
	}
}

// TestTelemetryFaults has the fault where the marker stands.
func TestTelemetryFaults(t *testing.T) {
	t.Parallel()
	good := row(0, "a", "")
	for _, c := range []struct{ in, want string }{
		{`^[]`, "not a JSON object, but an array"},
		{`^{"telemetry_data":{}}`, "not a row of aiperf's telemetry: it has no timestamp_ns"},
		{`^{"timestamp_ns":0,"telemetry_data":{}}`, "it has no timestamp_ns"},
		{`^{"timestamp_ns":5}`, "it has no telemetry_data"},
		{`^{"timestamp_ns":5,"telemetry_data":{}}`, "gpu_uuid is wanted"},
		{`{"timestamp_ns":^"5"}`, "timestamp_ns must be an integer"},
		{`{"gpu_uuid":^5}`, "gpu_uuid must be a string"},
		{`{"gpu_uuid":^"` + strings.Repeat("x", 2000) + `"}`, "gpu_uuid is longer than 1024 bytes"},
		{`{"telemetry_data":^[]}`, "telemetry_data must be an object"},
		{`{"telemetry_data":{"gpu_power_usage":^"5"}}`, "gpu_power_usage must be a number"},
		{`{"telemetry_data":{"gpu_power_usage":^-5}}`, "gpu_power_usage is out of range"},
		{`{"telemetry_data":{"energy_consumption":^1e300}}`, "energy_consumption is out of range"},
		{fmt.Sprintf(`{"timestamp_ns":^%d,"gpu_uuid":"a","telemetry_source_url":"pynvml://localhost","telemetry_data":{}}`, startNanos), "0s before the row before, of the same GPU"},
		{"{\"x\":\"^\xff\"}", "not JSON: invalid UTF-8"},
	} {
		col := strings.IndexByte(c.in, '^') + 1
		b, _, faults := readRows(t, good+strings.Replace(c.in, "^", "", 1)+"\n"+row(1, "a", ""))
		if want := fmt.Sprintf("f:2:%d: ", col); len(faults) != 1 || !strings.HasPrefix(faults[0], want) || !strings.Contains(faults[0], c.want) {
			t.Errorf("%s: %q, want %s%s", c.in, faults, want, c.want)
		}
		if b.Len() != 2 {
			t.Errorf("%s: reading does not go on", c.in)
		}
	}
	if b, _, faults := readRows(t, good+good[:50]); b.Len() != 1 || len(faults) != 1 || faults[0] != "f:2: the last line is cut off" {
		t.Errorf("%q", faults)
	}
	if _, _, faults := readRows(t, "\n"); len(faults) != 1 || faults[0] != "f: the file holds no telemetry" {
		t.Errorf("%q", faults)
	}
	long := strings.Replace(good, "{", `{"x":"`+strings.Repeat("y", 10<<20)+`",`, 1)
	if b, _, faults := readRows(t, long); b.Len() != 1 || faults != nil {
		t.Errorf("%q", faults)
	}
	var many strings.Builder
	for i := range maxDevices + 1 {
		many.WriteString(row(0, fmt.Sprint("g", i), ""))
	}
	if b, _, faults := readRows(t, many.String()); b.Len() != maxDevices || len(faults) != 1 || !strings.Contains(faults[0], "more than 4096 GPUs") {
		t.Errorf("%d rows, %q", b.Len(), faults)
	}
}

// FuzzTelemetry: rows of a device are in the order of time, each of a device that the
// head knows, with nothing that is not finite.
func FuzzTelemetry(f *testing.F) {
	f.Add([]byte(row(0, "a", `"nvidia_power_usage":100`) + row(1, "a", `"energy_consumption":1e3`)))
	f.Add([]byte(`{"timestamp_ns":1,"gpu_index":0,"dcgm_url":"u","telemetry_data":{"amd_memory_used":1.5}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := NewTelemetryReader(bytes.NewReader(in), "f")
		if err != nil {
			return
		}
		latest := map[int32]trace.Time{}
		var b sample.Batch
		for {
			err := r.Read(&b)
			var syntax *trace.SyntaxError
			if errors.As(err, &syntax) {
				continue
			}
			if err != nil {
				return
			}
			for i, d := range b.Device {
				if before, ok := latest[d]; ok && b.Time[i] <= before || int(d) >= len(b.Devices) || b.Devices[d].ID == "" {
					t.Fatalf("row %d of %+v", i, b)
				}
				latest[d] = b.Time[i]
				for id := range sample.NumMetrics {
					if v, ok := b.Float(id, i); ok && !(v > -1e18 && v < 1e18) {
						t.Fatalf("%s is %v", id, v)
					}
				}
			}
		}
	})
}
