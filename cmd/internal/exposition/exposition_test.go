package exposition

import (
	"testing"

	"wattrace/sample"
)

// TestPromNames: a unit, ratio for a share, total for a counter, and each name once.
func TestPromNames(t *testing.T) {
	t.Parallel()
	for id, want := range map[sample.MetricID]string{
		sample.PowerWatts: "wattrace_power_watts", sample.EnergyJoules: "wattrace_energy_joules_total", sample.GPUUtilization: "wattrace_gpu_utilization_ratio",
		sample.SMOccupancy: "wattrace_sm_occupancy_ratio", sample.RequestsRunning: "wattrace_requests_running", sample.GenerationTokens: "wattrace_generation_tokens_total",
		sample.PowerCapSeconds: "wattrace_power_cap_seconds_total", sample.ClockEventReasons: "wattrace_clock_event_reasons", sample.XIDError: "wattrace_xid_error",
	} {
		if got := promName(id); got != want {
			t.Errorf("%v: %s", id, got)
		}
	}
}

// TestLiveValues: a value stays until it cannot be read.
func TestLiveValues(t *testing.T) {
	t.Parallel()
	v := &Latest{}
	b := &sample.Batch{Devices: []sample.Device{{ID: "a"}, {ID: "a", Driver: "2"}}}
	b.Append(0, 5, 2).Set(sample.PowerWatts, 100)
	b.Append(0, 8, 2).Set(sample.TemperatureCelsius, 40)
	v.Take(b)
	if d := v.devices[0]; !d.has[sample.PowerWatts] || !d.has[sample.TemperatureCelsius] || d.at != 10 {
		t.Errorf("%+v", d)
	}
	b.Reset()
	b.Append(1, 20, 0).Fail(sample.PowerWatts, "TIMEOUT")
	v.Take(b)
	if d := v.devices[0]; d.has[sample.PowerWatts] || !d.has[sample.TemperatureCelsius] || d.at != 10 || len(v.devices) != 1 || v.rows != 3 {
		t.Errorf("%+v", v)
	}
}

func TestListenAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{":9835": "127.0.0.1:9835", "0.0.0.0:0": "0.0.0.0:0", "[::1]:80": "[::1]:80", "9835": "", "h:": "", "h:99999": ""} {
		if got, err := Address(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}
