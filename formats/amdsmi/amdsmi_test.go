package amdsmi

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/sample"
	"wattrace/trace"
)

type row struct {
	At     time.Duration
	Took   time.Duration
	Device string
	Values map[string]float64
	Status string
}

func readAll(in io.Reader, o Options) (rows []row, anchor int64, faults []string) {
	r, err := NewReader(in, "amd.csv", o)
	for b := new(sample.Batch); ; b.Reset() {
		var syntax *trace.SyntaxError
		if err == nil {
			err = r.Read(b)
		}
		switch {
		case err == io.EOF:
			return rows, r.Head().Clock.Anchor.UnixNanos, faults
		case err != nil:
			faults = append(faults, err.Error())
			if r == nil || !errors.As(err, &syntax) {
				return rows, 0, faults
			}
			err = nil
			continue
		}
		for i := range b.Len() {
			one := row{At: time.Duration(b.Time[i]), Took: b.Took[i], Device: b.Devices[b.Device[i]].ID, Status: b.Status[i], Values: map[string]float64{}}
			for id := range sample.NumMetrics {
				if v, ok := b.Uint(id, i); ok {
					one.Values[id.String()] = float64(v)
				} else if v, ok := b.Float(id, i); ok {
					one.Values[id.String()] = v
				}
			}
			rows = append(rows, one)
		}
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/gpu_metrics.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, anchor, faults := readAll(bytes.NewReader(data), Options{Host: "h"})
	if faults != nil || len(rows) != 24 || anchor != 1772939616e9 || formats.Sniff(data) != formats.AMDSMI {
		t.Fatalf("%d rows from %d: %q", len(rows), anchor, faults)
	}
	want := row{At: 3 * time.Second, Took: time.Second, Device: "amd-smi:h:1", Values: map[string]float64{
		"power_watts": 751, "gpu_utilization": .95, "memory_utilization": .8, "temperature_celsius": 73, "memory_temperature_celsius": 66,
		"sm_clock_hertz": 1980e6, "memory_clock_hertz": 1300e6,
	}}
	if d := cmp.Diff(want, rows[7]); d != "" {
		t.Error(d)
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	one := func(at, took time.Duration, status string, pairs ...any) row {
		r := row{At: at, Took: took, Device: "amd-smi::0", Status: status, Values: map[string]float64{}}
		for i := 0; i < len(pairs); i += 2 {
			r.Values[pairs[i].(string)] = pairs[i+1].(float64)
		}
		return r
	}
	for name, test := range map[string]struct {
		in     string
		anchor int64
		rows   []row
	}{
		"monitor": {
			"timestamp,gpu,power_usage,hotspot_temperature,memory_temperature,gfx_clk,gfx,mem\n1772939616,0,238 W,45 °C,N/A,133 MHz,100 %,1 %\n", 1772939616e9,
			[]row{one(0, time.Second, "memory_temperature_celsius=NOT_SUPPORTED", "power_watts", 238., "temperature_celsius", 45., "sm_clock_hertz", 133e6, "gpu_utilization", 1., "memory_utilization", .01)},
		},
		"energy": {
			"timestamp,gpu,total_energy_consumption\n1722959154,0,20909145.914\n\ntimestamp,gpu,total_energy_consumption\n1722959155,0,20909188.578\n", 1722959154e9,
			[]row{one(0, time.Second, "", "energy_joules", 20909145.914), one(time.Second, time.Second, "", "energy_joules", 20909188.578)},
		},
		"milliseconds, CRLF, other columns": {
			"gpu,timestamp,socket_power\r\n0,1772939616500,[N/A]\r\ntimestamp,gpu,socket_power\r\n1772939617000,0,\"{'value': 240, 'unit': 'W'}\"\r\n", 1772939616500e6,
			[]row{one(0, time.Millisecond, "power_watts=NOT_SUPPORTED"), one(500*time.Millisecond, time.Millisecond, "", "power_watts", 240.)},
		},
		"local times": {
			"timestamp,gpu,socket_power,temperature\n2026-03-08T02:59:59.250,0,1,65\n2026-03-08 03:00:00.5,0,2,65\n2026-03-08T03:00:01,0,3,65\n", 1772935199250e6,
			[]row{one(0, 0, "", "power_watts", 1.), one(1250*time.Millisecond, 0, "", "power_watts", 2.), one(1750*time.Millisecond, time.Second, "", "power_watts", 3.)},
		},
		"a zone": {
			"timestamp,gpu,socket_power_w,temp_hotspot_c\n2026-03-08T02:59:59Z,0,1,65\n", 1772938799e9,
			[]row{one(0, 0, "", "power_watts", 1., "temperature_celsius", 65.)},
		},
	} {
		rows, anchor, faults := readAll(strings.NewReader(test.in), Options{Location: time.FixedZone("", 3600)})
		if d := cmp.Diff(test.rows, rows); d != "" || faults != nil || anchor != test.anchor {
			t.Errorf("%s: from %d, %q (-want +got):\n%s", name, anchor, faults, d)
		}
		if kind := formats.Sniff([]byte(test.in)); kind != formats.AMDSMI {
			t.Errorf("%s: is taken for %s", name, kind)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const header, before, after = "timestamp,gpu,vcn_activity,socket_power\n", "100,0,[1, 2],1\n", "109,0,[1, 2],3\n"
	for marked, want := range map[string]string{
		"∑x,0,[],1":                   "not a time: seconds since 1970, or as in 2026-03-07T00:20:37.123",
		"∑2026-03-07X00:20:37,0,[],1": "not a time: seconds since 1970, or as in 2026-03-07T00:20:37.123",
		"∑99,0,[],1":                  "1s before the row before, of the same device",
		"101,∑x,[],1":                 `"x" is not the number of a GPU`,
		"101,∑0,[],x":                 `socket_power: "x" is not a number`,
		"101,∑0,[],-1":                "socket_power cannot be -1",
		"101,∑0,[],1 mW":              `socket_power is in "mW": W is wanted`,
		"101,0,[1, 2∑":                "",
		"101,0,[1, 2],1,∑2":           "more than the header's 4 fields",
		"101,0,[1, 2]∑":               "3 fields, where the header has 4",
	} {
		i := strings.Index(marked, "∑")
		line := marked[:i] + marked[i+len("∑"):]
		rows, _, faults := readAll(strings.NewReader(header+before+line+"\n"+header+after), Options{})
		if want == "" {
			if len(faults) != 1 {
				t.Errorf("%q: %q", marked, faults)
			}
			continue
		}
		if d := cmp.Diff([]string{trace.Pos{File: "amd.csv", Line: 3, Col: i + 1}.String() + ": " + want}, faults); d != "" || len(rows) != 2 {
			t.Errorf("%q: %d rows (-want +got):\n%s", marked, len(rows), d)
		}
	}
	for in, want := range map[string]string{
		"gpu,socket_power,total_energy_consumption\n0,1,2\n": "amd.csv:1: " + ErrNoTime.Error(),
		"timestamp,socket_power\n":                           "amd.csv:1: the table does not say which GPU a row is of: gpu is wanted",
		"timestamp,gpu,fan\n":                                "amd.csv:1: the table has no metric that is read",
		"x\n":                                                "amd.csv:1: not the header of a table of amd-smi: timestamp, gpu and a metric are wanted",
	} {
		if _, _, faults := readAll(strings.NewReader(in), Options{}); len(faults) == 0 || faults[0] != want {
			t.Errorf("%q: %q", in, faults)
		}
	}
}

// Whatever the input: no panic, and the rows are the same however it arrives.
func FuzzRead(f *testing.F) {
	data, err := os.ReadFile("testdata/gpu_metrics.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:1200])
	f.Add([]byte("timestamp,gpu,power_usage\n2026-03-08T02:59:59.1,0,\"{'value': 1, 'unit': 'W'}\"\n1,0,[\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, _, faults := readAll(bytes.NewReader(data), Options{})
		b, _, again := readAll(iotest.OneByteReader(bytes.NewReader(data)), Options{})
		if d := cmp.Diff(a, b) + cmp.Diff(faults, again); d != "" {
			t.Fatalf("(-whole +byte by byte):\n%s", d)
		}
	})
}
