package amdsmi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

func TestMain(m *testing.M) {
	os.Unsetenv("PYTHONUNBUFFERED") // Run sets it
	os.Exit(m.Run())
}

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
const radeon = `WARNING: User is missing the following required groups: render.
{
    "gpu_data": [
        {
            "gpu": 0,
            "usage": {
                "gfx_activity": {
                    "value": 42,
                    "unit": "%"
                },
                "umc_activity": "N/A",
                "vcn_activity": [
                    {
                        "value": 0,
                        "unit": "%"
                    },
                    "N/A"
                ],
                "gfx_busy_inst": "N/A"
            },
            "power": {
                "socket_power": {
                    "value": 214,
                    "unit": "W"
                },
                "gfx_voltage": {
                    "value": 933,
                    "unit": "mV"
                },
                "throttle_status": "THROTTLED {[\"",
                "power_management": "ENABLED"
            },
            "clock": {
                "gfx_0": {
                    "clk": {
                        "value": 2774,
                        "unit": "MHz"
                    },
                    "min_clk": "N/A",
                    "deep_sleep": "N/A"
                },
                "mem_0": {
                    "clk": {
                        "value": 1258,
                        "unit": "MHz"
                    }
                }
            },
            "temperature": {
                "edge": {
                    "value": 54,
                    "unit": "C"
                },
                "hotspot": {
                    "value": 63,
                    "unit": "C"
                },
                "mem": {
                    "value": 70,
                    "unit": "C"
                }
            },
            "perf_level": "AMDSMI_DEV_PERF_LEVEL_AUTO",
            "energy": {
                "total_energy_consumption": {
                    "value": 0.0,
                    "unit": "J"
                }
            },
            "mem_usage": {
                "total_vram": {
                    "value": 30576,
                    "unit": "MB"
                },
                "used_vram": {
                    "value": 20450,
                    "unit": "MB"
                }
            }
        },
        {
            "cpu": 0
        }
    ]
}
`

// read parses a text as Run does and returns the readings as text.
func read(text string) (rows []string, err error) {
	p := &parser{host: "H"}
	now := trace.NewSteadyClock().Now
	err = sample.Lines(context.Background(), strings.NewReader(text), "amd-smi", now, func(line []byte, _ trace.Time) error {
		return p.line(line, func(g gpu) {
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
		p := &parser{host: "H"}
		sample.Lines(t.Context(), strings.NewReader(text+"\n"), "amd-smi", func() trace.Time { return 0 }, func(line []byte, _ trace.Time) error {
			return p.line(line, func(g gpu) {
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

// program writes a program that stands for amd-smi.
func program(t *testing.T, script string) *Feed {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell")
	}
	path := filepath.Join(t.TempDir(), "amd-smi")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{Program: path}, trace.NewSteadyClock())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRun has one reading come at once, and ends the program with the feed: one
// that hears SIGTERM, and one that does not.
func TestRun(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"hears": "trap 'echo ended >\"$0.end\"; exit' TERM\n",
		"deaf":  "trap '' TERM\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := program(t, `[ "$*" = "metric -p -E -u -t -m -c --json -w 1" ] && [ "$PYTHONUNBUFFERED" = 1 ] || exit 9
`+script+"cat <<'EOF'\n"+radeon+"EOF\nwhile :; do sleep 0.05; done\n")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var in sample.Inbox
			ended := make(chan error, 1)
			go func() { ended <- f.Run(ctx, &in) }()
			var b *sample.Batch
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if b = in.Collect(); b.Len() > 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("no reading")
				}
			}
			host, _ := os.Hostname()
			if diff := cmp.Diff([]sample.Device{{ID: "amd-smi:" + host + ":0", Host: host, Source: sample.AMDSMI, Scope: sample.ScopeGPU}}, b.Devices); diff != "" {
				t.Error(diff)
			}
			if w, ok := b.Float(sample.PowerWatts, 0); !ok || w != 214 || b.Status[0] != "memory_utilization=NOT_SUPPORTED" {
				t.Errorf("%v, %v, %q", w, ok, b.Status[0])
			}
			if m, ok := b.Uint(sample.MemoryUsedBytes, 0); !ok || m != 20450<<20 {
				t.Errorf("%v, %v", m, ok)
			}
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			_, err := os.Stat(f.path + ".end")
			if heard := err == nil; heard != (name == "hears") {
				t.Errorf("the program heard SIGTERM: %v", heard)
			}
		})
	}
}

// TestRunFails: a program that ends is an error that says why, and so is one
// that cannot be found or read, which is ended then.
func TestRunFails(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"echo reading; echo 'first line' >&2; printf 'no driver\\n\\n' >&2; exit 3": "amd-smi ended: exit status 3: no driver",
		"echo 'AMDSMI_STATUS_DRIVER_NOT_LOADED'":                                    "amd-smi ended: exit status 0: AMDSMI_STATUS_DRIVER_NOT_LOADED",
		"exit 1":                                                                    "amd-smi ended: exit status 1",
		"kill -9 $$":                                                                "amd-smi ended: signal: killed",
		"echo '[7]'; exec sleep 1000":                                               "amd-smi:1: a reading's JSON: json: cannot unmarshal number into Go value of type map[string]interface {}",
	} {
		var in sample.Inbox
		if err := program(t, script).Run(t.Context(), &in); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
	if _, err := New(Options{Program: filepath.Join(t.TempDir(), "none")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
