package output

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

// mi210 is what amd-smi metric -E -w 1 --gpu 0 1 --csv printed on two MI210 with
// ROCm 6.1.2, from ROCm/amdsmi issue 38, less some of its readings.
const mi210 = `'CTRL' + 'C' to stop watching output:
timestamp,gpu,total_energy_consumption
1722959154,0,20909145.914
1722959154,1,21111595.33

timestamp,gpu,total_energy_consumption
1722959155,0,20909188.578
1722959155,1,21111638.458

`

// radeon is what amd-smi metric --json prints for a Radeon of 32 GB with ROCm 7,
// of which there is a whole reading in public tests of programs that parse it:
// with some of what is not read left out. Its energy is 0.
//
//go:embed testdata/radeon.json
var radeon string

// read parses a text as Run does and returns the readings as text.
func read(text string) (rows []string, err error) {
	p := &Parser{Host: "H"}
	now := trace.NewSteadyClock().Now
	err = sample.Lines(context.Background(), strings.NewReader(text), "amd-smi", now, func(line []byte, _ trace.Time) error {
		return p.Line(line, func(g GPU) {
			row := g.ID
			for _, v := range g.values {
				if v.missing {
					row += fmt.Sprintf(" %s=?", v.id)
				} else {
					row += fmt.Sprintf(" %s=%v", v.id, v.number)
				}
			}
			rows = append(rows, row)
		})
	})
	return rows, err
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"CSV of MI210", mi210, []string{
			"amd-smi:H:0 energy_joules=2.0909145914e+07", "amd-smi:H:1 energy_joules=2.111159533e+07",
			"amd-smi:H:0 energy_joules=2.0909188578e+07", "amd-smi:H:1 energy_joules=2.1111638458e+07",
		}},
		{"JSON of a Radeon, twice", radeon + radeon, []string{
			"amd-smi:H:0 power_watts=214 energy_joules=0 gpu_utilization=0.42 memory_utilization=? temperature_celsius=63 memory_temperature_celsius=70 memory_used_bytes=2.14433792e+10 sm_clock_hertz=2.774e+09 memory_clock_hertz=1.258e+09",
			"amd-smi:H:0 power_watts=214 energy_joules=0 gpu_utilization=0.42 memory_utilization=? temperature_celsius=63 memory_temperature_celsius=70 memory_used_bytes=2.14433792e+10 sm_clock_hertz=2.774e+09 memory_clock_hertz=1.258e+09",
		}},
		{"CSV with lists", "timestamp,gpu,gfx_activity,vcn_activity,socket_power,edge,hotspot,gfx_0_clk\n1,3,7,\"['N/A', 0]\",N/A,N/A,-2.5,100\n", []string{
			"amd-smi:H:3 power_watts=? gpu_utilization=0.07 temperature_celsius=-2.5 sm_clock_hertz=1e+08",
		}},
		{"older names, bare numbers, a list", `[{"gpu": 1, "power": {"current_socket_power": "N/A", "average_socket_power": 90}, "energy": {"energy_accumulator": 1000000, "counter_resolution": {"value": 15.25, "unit": "uJ"}}}]` + "\n", []string{
			"amd-smi:H:1 power_watts=90 power_instant_watts=? power_average_watts=90 energy_joules=15.25",
		}},
		{"an instant", `[{"gpu": 0, "power": {"current_socket_power": 95.5, "average_socket_power": 90}, "energy": {"energy_accumulator": 7}}]` + "\n", []string{
			"amd-smi:H:0 power_watts=95.5 power_instant_watts=95.5 power_average_watts=90 energy_joules=?",
		}},
	} {
		rows, err := read(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, rows); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	one := func(section string) string { return `[{"gpu": 0, ` + section + "}]\n" }
	for text, want := range map[string]string{
		mi210 + "Traceback (most recent call last):\n":               "amd-smi:10: neither JSON nor CSV of amd-smi metric",
		mi210 + "1722959156,0\n":                                     "amd-smi:10: 2 fields, where the header has 3",
		mi210 + "1722959156,0,many\n":                                `amd-smi:10: total_energy_consumption: "many" is not a number`,
		mi210 + "1722959156,0,NaN\n":                                 `amd-smi:10: total_energy_consumption: "NaN" is not a number`,
		mi210 + "1722959156,0,-1\n":                                  "amd-smi:10: total_energy_consumption cannot be -1",
		mi210 + "1722959156,x,1\n":                                   `amd-smi:10: "x" is not the number of a GPU`,
		one(`"power": {"socket_power": {"value": 1, "unit": "mW"}}`): `amd-smi:1: socket_power is in "mW": W is wanted`,
		one(`"energy": {"energy_accumulator": 1, "counter_resolution": {"value": 1, "unit": "nJ"}}`): `amd-smi:1: counter_resolution is in "nJ": uJ or µJ is wanted`,
		one(`"fan": {"rpm": 1}`): "amd-smi:1: a reading without any value that is known",
		"[\n{\"gpu\": 0.5}\n]\n": `amd-smi:3: "0.5" is not the number of a GPU`,
		"{\"gpu_data\": 7}\n":    "amd-smi:1: a reading's JSON: json: cannot unmarshal number",
		"{]\n":                   "amd-smi:1: a reading's JSON: invalid character",
	} {
		if _, err := read(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text[max(0, len(text)-60):], err, want)
		}
	}
}

// FuzzParse: whatever is printed, a reading is of values that its metrics can
// have.
func FuzzParse(f *testing.F) {
	for _, text := range []string{mi210, radeon, "[\n{\"gpu\": 0, \"power\": {\"socket_power\": 1}}\n]\n", "gpu,socket_power\n0,1\n", "\v\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := &Parser{Host: "H"}
		sample.Lines(t.Context(), strings.NewReader(text+"\n"), "amd-smi", func() trace.Time { return 0 }, func(line []byte, _ trace.Time) error {
			return p.Line(line, func(g GPU) {
				for _, v := range g.values {
					cold := v.id == sample.TemperatureCelsius || v.id == sample.MemoryTemperatureCelsius
					if v.number != v.number || v.number < 0 && !cold || v.number > 1e300 {
						t.Errorf("%v: %v", v.id, v.number)
					}
				}
			})
		})
	})
}
