package sim

import (
	"regexp"
	"strings"
	"testing"

	"wattrace/sample"
	"wattrace/trace"
)

func TestSourceShowsTheReadingInSIUnits(t *testing.T) {
	t.Parallel()
	for _, p := range Profiles() {
		devices, err := New(Options{Count: 2, Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		now := 7000 * ms
		source := NewSource(devices, func() trace.Time { return now })
		devices[1].SetPower(now-500*ms, 300) // the average field lags behind
		batch := sample.Batch{Devices: source.Devices()}
		source.Read(1, true, []sample.Row{batch.Append(1, now, 0)})
		source.Read(0, false, []sample.Row{batch.Append(0, now, 0)})
		r := devices[1].Read(now)

		want := map[sample.MetricID]float64{
			sample.EnergyJoules:       float64(r.EnergyMillijoules) / 1000,
			sample.PowerInstantWatts:  300,
			sample.PowerLimitWatts:    p.LimitWatts,
			sample.GPUUtilization:     1,
			sample.MemoryUtilization:  0.5,
			sample.TemperatureCelsius: float64(r.TemperatureCelsius),
			sample.SMClockHertz:       float64(p.SMMegahertz) * 1e6,
			sample.MemoryClockHertz:   float64(p.MemoryMegahertz) * 1e6,
			sample.PowerWatts:         300,
			sample.PowerAverageWatts:  float64(r.PowerAverageMilliwatts) / 1000,
		}
		status := ""
		if p.AverageSpan > 0 {
			want[sample.PowerWatts] = want[sample.PowerAverageWatts]
		} else {
			delete(want, sample.PowerAverageWatts)
			status = "power_average_watts=NOT_SUPPORTED"
		}
		if want[sample.PowerAverageWatts] >= 290 {
			t.Errorf("%s: the average field does not lag: %v W", p.Name, want[sample.PowerAverageWatts])
		}
		for id := range sample.NumMetrics {
			if sample.Metrics[id].Type != sample.Float64 {
				continue
			}
			got, ok := batch.Float(id, 0)
			if v, expected := want[id]; ok != expected || got != v {
				t.Errorf("%s: %v is %v (%v), want %v (%v)", p.Name, id, got, ok, v, expected)
			}
			if _, ok := batch.Float(id, 1); ok && sample.Metrics[id].Slow {
				t.Errorf("%s: %v was read although it is slow", p.Name, id)
			}
		}
		if batch.Status[0] != status {
			t.Errorf("%s: status %q, want %q", p.Name, batch.Status[0], status)
		}
		if got := batch.Columns[sample.MemoryUsedBytes].Uint[0]; got != r.MemoryUsedBytes || got == 0 {
			t.Errorf("%s: memory %d bytes", p.Name, got)
		}
	}
}

func TestDevicesSayThatTheyAreSimulated(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^GPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	for _, p := range Profiles() {
		devices, err := New(Options{Count: 8, Profile: p, Host: "node1"})
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for i, info := range Infos(devices) {
			if !info.Simulated || !strings.Contains(info.Name, "simulated") {
				t.Errorf("%s passes for real: %+v", p.Name, info)
			}
			if info.Index != i || info.Host != "node1" || info.ID != info.UUID || !form.MatchString(info.UUID) {
				t.Errorf("%s: identity %+v", p.Name, info)
			}
			ids[info.ID] = true
		}
		if len(ids) != 8 {
			t.Errorf("%s: %d identities of 8 devices", p.Name, len(ids))
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	bad := Profiles()[0]
	bad.TickJitter = bad.PowerPeriod
	for name, o := range map[string]Options{
		"count":   {Count: -1},
		"many":    {Count: 256},
		"limit":   {LimitWatts: 50},
		"gain":    {Errors: []SensorError{{Gain: -1}}},
		"offset":  {Errors: []SensorError{{OffsetWatts: nan()}}},
		"profile": {Profile: bad},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	_, err := ProfileByName("kepler")
	if err == nil || !strings.Contains(err.Error(), `"kepler" (hopper, ampere-ga100, ampere-ga10x, ada, volta)`) {
		t.Errorf("unknown profile: %v", err)
	}
}
