package nvidiasmi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	_ "time/tzdata" // the zones must be the same everywhere

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats"
	"wattrace/sample"
	"wattrace/trace"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// row is a row of a log as the tests look at it.
type row struct {
	At     time.Duration
	Device int32
	Values map[string]float64
	Status string
}

type log struct {
	Head   Head
	Unread []string
	Rows   []row
	Errors []string
}

func rowsOf(b *sample.Batch) (rows []row) {
	for i := range b.Len() {
		r := row{At: time.Duration(b.Time[i]), Device: b.Device[i], Status: b.Status[i], Values: map[string]float64{}}
		for id := range sample.NumMetrics {
			if v, ok := b.Uint(id, i); ok {
				r.Values[id.String()] = float64(v)
			} else if v, ok := b.Float(id, i); ok {
				r.Values[id.String()] = v
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// readAll reads a log to its end, over its faults.
func readAll(in io.Reader, o Options) log {
	r, err := NewReader(in, "smi.csv", o)
	if err != nil {
		return log{Errors: []string{err.Error()}}
	}
	var l log
	var b sample.Batch
	for {
		err := r.Read(&b)
		if err == io.EOF {
			l.Head, l.Unread = r.Head(), r.Ignored()
			return l
		}
		var syntax *trace.SyntaxError
		if err != nil {
			l.Errors = append(l.Errors, err.Error())
			if !errors.As(err, &syntax) {
				return l
			}
			continue
		}
		l.Rows = append(l.Rows, rowsOf(&b)...)
	}
}

func TestFixture(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/a5000-step.csv")
	if err != nil {
		t.Fatal(err)
	}
	l := readAll(bytes.NewReader(data), Options{Location: zone(t, "Europe/London"), Host: "bench"})
	if len(l.Errors) > 0 {
		t.Fatal(l.Errors)
	}
	want := Head{
		Clock:   trace.Clock{Host: "bench", Anchor: trace.ClockSnapshot{UnixNanos: 1689839441439 * 1e6}},
		Info:    sample.Info{API: "nvidia-smi --query-gpu"},
		Devices: []sample.Device{{ID: "nvidia-smi:bench:0", Host: "bench", Source: Source, Scope: sample.ScopeGPU}},
	}
	if d := cmp.Diff(want, l.Head); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"pstate"}, l.Unread); d != "" {
		t.Error(d)
	}
	if len(l.Rows) != 181 {
		t.Fatalf("%d rows", len(l.Rows))
	}
	last := row{At: 1239 * time.Millisecond, Values: map[string]float64{
		"gpu_utilization": 1, "temperature_celsius": 68, "sm_clock_hertz": 1665e6,
		"power_watts": 206.16, "power_average_watts": 206.16, "power_instant_watts": 207.03,
	}}
	if d := cmp.Diff(last, l.Rows[180]); d != "" {
		t.Error(d)
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in     string
		rows   []row
		unread []string
	}{
		"units, any order, spaces": {
			in: "memory.used [MiB],power.draw [W] , clocks.mem [MHz],timestamp,utilization.memory [%]\n" +
				"1024 MiB,  412.34 W, 2619 MHz,2024/01/02 03:04:05.678,55 %\r\n\n" +
				"0 MiB, 0.00 W, 0 MHz, 2024/01/02 03:04:05.698 , 0 %\n",
			rows: []row{
				{Values: map[string]float64{"memory_used_bytes": 1 << 30, "power_watts": 412.34, "memory_clock_hertz": 2619e6, "memory_utilization": 0.55}},
				{At: 20 * time.Millisecond, Values: map[string]float64{"memory_used_bytes": 0, "power_watts": 0, "memory_clock_hertz": 0, "memory_utilization": 0}},
			},
		},
		"no units in the header either": {
			in:   "timestamp,power.draw.instant,temperature.gpu\n2024/01/02 03:04:05,412.34,-3\n",
			rows: []row{{Values: map[string]float64{"power_instant_watts": 412.34, "temperature_celsius": -3}}},
		},
		"missing values": {
			in: "timestamp, power.draw [W], power.draw.average [W], power.draw.instant [W], clocks.sm [MHz], memory.used [MiB], clocks_event_reasons.active\n" +
				"2024/01/02 03:04:05.000, [N/A], [Not Supported], N/A, [Unknown Error], Not Supported, [GPU requires reset]\n",
			rows: []row{{
				Values: map[string]float64{},
				Status: "power_watts=NOT_SUPPORTED,power_average_watts=NOT_SUPPORTED,power_instant_watts=NOT_SUPPORTED," +
					"sm_clock_hertz=UNKNOWN_ERROR,memory_used_bytes=NOT_SUPPORTED,clock_event_reasons=GPU_REQUIRES_RESET",
			}},
		},
		"as programs print what they lack, too": {
			in: "timestamp, power.draw [W], clocks.sm [MHz], temperature.memory, total_energy_consumption [mJ], power.limit [W]\n" +
				"2024/01/02 03:04:05.000, ERR!, Unknown Error, [GPU is lost], 12345678 mJ, [Unknown Error]\n",
			rows: []row{{
				Values: map[string]float64{"energy_joules": 12345.678},
				Status: "power_watts=ERR,sm_clock_hertz=UNKNOWN_ERROR,memory_temperature_celsius=GPU_IS_LOST,power_limit_watts=UNKNOWN_ERROR",
			}},
		},
		"joules": {
			in:   "timestamp, total_energy_consumption [J]\n2024/01/02 03:04:05.000, 12345.678 J\n",
			rows: []row{{Values: map[string]float64{"energy_joules": 12345.678}}},
		},
		"names with commas, as other programs write them back": {
			in: "timestamp,name,power.draw [W]\n" +
				"2024/01/02 03:04:05.000,\"NVIDIA A100, 80 \"\"GB\"\"\",1.00 W\n\"2024/01/02 03:04:06.000\" , \"NVIDIA A100\" ,\"2.00 W\"\n",
			rows: []row{{Values: map[string]float64{"power_watts": 1}}, {At: time.Second, Values: map[string]float64{"power_watts": 2}}},
		},
		"reasons": {
			in:   "timestamp, clocks_throttle_reasons.active\n2024/01/02 03:04:05.000, 0x0000000000000005\n",
			rows: []row{{Values: map[string]float64{"clock_event_reasons": 5}}},
		},
		"the enforced limit counts": {
			in:     "timestamp, power.limit [W], enforced.power.limit [W]\n2024/01/02 03:04:05.000, 350.00 W, 300.00 W\n",
			rows:   []row{{Values: map[string]float64{"power_limit_watts": 300}}},
			unread: []string{"power.limit"},
		},
		"the limit alone counts, and the first of two": {
			in:     "timestamp, power.limit [W], power.limit [W], fan.speed [%]\n2024/01/02 03:04:05.000, 350.00 W, 351.00 W, 30 %\n",
			rows:   []row{{Values: map[string]float64{"power_limit_watts": 350}}},
			unread: []string{"power.limit", "fan.speed"},
		},
		"written back by another program": {
			in:   "\xef\xbb\xbf\"timestamp\",\"power.draw [W]\"\n\"2024/01/02 03:04:05.000\",\"412.34 W\"\n",
			rows: []row{{Values: map[string]float64{"power_watts": 412.34}}},
		},
		"appended to": {
			in: "timestamp, power.draw [W]\n2024/01/02 03:04:05.000, 1.00 W\n" +
				"power.draw [W], timestamp, pstate\n2.00 W, 2024/01/02 03:04:06.000, P0\n",
			rows: []row{
				{Values: map[string]float64{"power_watts": 1}},
				{At: time.Second, Values: map[string]float64{"power_watts": 2}},
			},
			unread: []string{"pstate"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := readAll(strings.NewReader(test.in), Options{})
			if len(l.Errors) > 0 {
				t.Fatal(l.Errors)
			}
			if d := cmp.Diff(test.rows, l.Rows); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(test.unread, l.Unread); d != "" {
				t.Errorf("unread (-want +got):\n%s", d)
			}
		})
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	device := func(id string, index int, change func(*sample.Device)) sample.Device {
		d := sample.Device{ID: id, Host: "h", Index: index, Source: Source, Scope: sample.ScopeGPU}
		if change != nil {
			change(&d)
		}
		return d
	}
	const time0, time1, time2 = "2024/01/02 03:04:05.000", "2024/01/02 03:04:05.010", "2024/01/02 03:04:06.000"
	for name, test := range map[string]struct {
		in      string
		driver  string
		devices []sample.Device
		order   []int32
	}{
		"uuid": {
			in: "timestamp, index, uuid, name, driver_version, mig.mode.current, power.draw [W]\n" +
				time0 + ", 3, GPU-b, NVIDIA H100 80GB HBM3, 535.54.03, Enabled, 1\n" +
				time0 + ", 1, GPU-a, NVIDIA H100 80GB HBM3, 535.54.03, [N/A], 1\n" +
				time2 + ", 3, GPU-b, NVIDIA H100 80GB HBM3, 535.54.03, Enabled, 1\n",
			driver: "535.54.03",
			devices: []sample.Device{
				device("GPU-b", 3, func(d *sample.Device) { d.UUID, d.Name, d.MIG = "GPU-b", "NVIDIA H100 80GB HBM3", true }),
				device("GPU-a", 1, func(d *sample.Device) { d.UUID, d.Name = "GPU-a", "NVIDIA H100 80GB HBM3" }),
			},
			order: []int32{0, 1, 0},
		},
		"bus id, for the uuid is not to be had": {
			in: "timestamp, pci.bus_id, gpu_uuid, power.draw [W]\n" +
				time0 + ", 00000000:17:00.0, [N/A], 1\n" + time1 + ", 00000000:65:00.0, [N/A], 1\n" + time2 + ", 00000000:65:00.0, [N/A], 1\n",
			devices: []sample.Device{
				device("nvidia-smi:h:00000000:17:00.0", 0, func(d *sample.Device) { d.PCIBusID = "00000000:17:00.0" }),
				device("nvidia-smi:h:00000000:65:00.0", 1, func(d *sample.Device) { d.PCIBusID = "00000000:65:00.0" }),
			},
			order: []int32{0, 1, 1},
		},
		"index": {
			in:      "timestamp, index, power.draw [W]\n" + time0 + ", 7, 1\n" + time0 + ", 2, 1\n",
			devices: []sample.Device{device("nvidia-smi:h:7", 7, nil), device("nvidia-smi:h:2", 2, nil)},
			order:   []int32{0, 1},
		},
		"none": {
			in:      "timestamp, name, power.draw [W]\n" + time0 + ", Tesla T4, 1\n" + time1 + ", Tesla T4, 1\n",
			devices: []sample.Device{device("nvidia-smi:h:0", 0, func(d *sample.Device) { d.Name = "Tesla T4" })},
			order:   []int32{0, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := readAll(strings.NewReader(test.in), Options{Host: "h"})
			if len(l.Errors) > 0 {
				t.Fatal(l.Errors)
			}
			if d := cmp.Diff(test.devices, l.Head.Devices); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			var order []int32
			for _, r := range l.Rows {
				order = append(order, r.Device)
			}
			if d := cmp.Diff(test.order, order); d != "" || l.Head.Info.Driver != test.driver {
				t.Errorf("driver %q, order (-want +got):\n%s", l.Head.Info.Driver, d)
			}
		})
	}
}

// The devices of the first scan are known before the first Read, and a row that
// has arrived is not kept back until more do.
func TestReadsNoFurtherThanItMust(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	go func() {
		for _, line := range []string{
			"timestamp, index, power.draw [W]\n", "2024/01/02 03:04:05.000, 0, 1\n", "2024/01/02 03:04:05.000, 1, 2\n",
			"2024/01/02 03:04:06.000, 0, 3\n", "2024/01/02 03:04:06.000, 1, 4\n",
		} {
			io.WriteString(out, line)
		}
		// No more comes, and the pipe stays open.
	}()
	defer in.Close()
	r, err := NewReader(in, "-", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Head().Devices); n != 2 {
		t.Errorf("%d devices", n)
	}
	var got []row
	for len(got) < 4 {
		var b sample.Batch
		if err := r.Read(&b); err != nil {
			t.Fatal(err)
		}
		got = append(got, rowsOf(&b)...)
	}
	if got[3].Values["power_watts"] != 4 {
		t.Error(got)
	}
}

// Times are local. In Britain, clocks showed 01:00 to 02:00 twice on 2023-10-29.
func TestLocalTime(t *testing.T) {
	t.Parallel()
	in := "timestamp, index, power.draw [W]\n"
	for _, s := range []string{
		"2023/10/29 00:59:59.900, 0", "2023/10/29 01:59:59.900, 0", "2023/10/29 01:59:59.800, 1", "2023/10/29 01:00:00.100, 0",
		"2023/10/29 01:00:00.050, 1", "2023/10/29 01:59:59.900, 1", "2023/10/29 02:00:00.100, 0",
	} {
		in += s + ", 1\n"
	}
	l := readAll(strings.NewReader(in), Options{Location: zone(t, "Europe/London")})
	if len(l.Errors) > 0 {
		t.Fatal(l.Errors)
	}
	want := []float64{0, 3600, 3599.9, 3600.2, 3600.15, 7200, 7200.2}
	for i, r := range l.Rows {
		if math.Abs(r.At.Seconds()-want[i]) > 1e-9 {
			t.Errorf("row %d at %v, want %v s", i, r.At, want[i])
		}
	}
	if at := time.Unix(0, l.Head.Clock.Anchor.UnixNanos).UTC(); at.Hour() != 23 {
		t.Errorf("anchor at %v", at)
	}
	l = readAll(strings.NewReader("timestamp, power.draw\n2023/07/20 08:50:40.403, 1\n"), Options{})
	if want := int64(1689843040403) * 1e6; l.Head.Clock.Anchor.UnixNanos != want {
		t.Errorf("without a place, times are UTC: got %d, want %d", l.Head.Clock.Anchor.UnixNanos, want)
	}
}

// Clocks in Britain showed no 01:30 on 2024-03-31.
func TestTimeThatNeverWas(t *testing.T) {
	t.Parallel()
	in := "timestamp, index, power.draw [W]\n"
	for _, s := range []string{"00:59:59.900", "01:30:00.000", "02:00:00.100", "02:00:30.100", "03:10:00"} {
		in += "2024/03/31 " + s + ", 0, 1\n"
	}
	l := readAll(strings.NewReader(in), Options{Location: zone(t, "Europe/London")})
	if d := cmp.Diff([]string{"smi.csv:3:1: clocks in Europe/London never show this time: they were set forward over it"}, l.Errors); d != "" {
		t.Error(d)
	}
	var at []float64
	for _, r := range l.Rows {
		at = append(at, r.At.Seconds())
	}
	if d := cmp.Diff([]float64{0, 0.2, 30.2, 4200.1}, at); d != "" {
		t.Error(d)
	}
}

func TestWithoutHeader(t *testing.T) {
	t.Parallel()
	const rows = "2024/01/02 03:04:05.000, 3, 412.34\n2024/01/02 03:04:06.000, 3, 1.50\n"
	if kind := formats.Sniff([]byte(rows)); kind != formats.NVIDIASMI {
		t.Errorf("it is taken for %s", kind)
	}
	if _, err := NewReader(strings.NewReader(rows), "f", Options{}); !errors.Is(err, ErrNoHeader) {
		t.Error(err)
	}
	for _, in := range []string{rows, "\xef\xbb\xbf" + rows, "timestamp, index, power.draw [W]\n" + rows} {
		columns := "timestamp,index,power.draw"
		if strings.HasPrefix(in, "time") {
			columns = "index,timestamp,power.limit"
		}
		l := readAll(strings.NewReader(in), Options{Columns: columns})
		if len(l.Errors) > 0 || len(l.Rows) != 2 || l.Head.Devices[0].Index != 3 || l.Rows[0].Values["power_watts"] != 412.34 {
			t.Errorf("%+v", l)
		}
	}
	l := readAll(strings.NewReader(rows), Options{Columns: "timestamp,index"})
	if len(l.Errors) != 1 || !strings.HasPrefix(l.Errors[0], "smi.csv:1: the columns that were given, \"timestamp,index\", are not") {
		t.Error(l.Errors)
	}
}

// What is parsed by hand is what strconv makes of it.
func TestDecimal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{0,18}(\.[0-9]{0,18})?( W)?`).Draw(t, "text")
		v, rest, ok := decimal([]byte(text))
		number := strings.TrimSuffix(text, " W")
		want, err := strconv.ParseFloat(number, 64)
		if !ok {
			return
		}
		if err != nil || math.Float64bits(v) != math.Float64bits(want) || string(rest) != text[len(number):] {
			t.Fatalf("%q: %v and %q, want %v, %v", text, v, rest, want, err)
		}
	})
	for _, text := range []string{"412.34", "0", "-0.00", "123456789012345", "0.00000000000001"} {
		if _, _, ok := decimal([]byte(text)); !ok {
			t.Errorf("%s goes the long way", text)
		}
	}
}

// Each input has the marker where its fault must be reported. A good row before
// and after it must be read all the same.
func TestFaults(t *testing.T) {
	t.Parallel()
	const header = "timestamp, index, power.draw [W], memory.used [MiB], clocks_event_reasons.active, temperature.gpu\n"
	const before = "2024/01/02 03:04:05.000, 0, 1.00 W, 1 MiB, 0x0, 30\n"
	const after = "2024/01/02 03:04:07.000, 0, 3.00 W, 1 MiB, 0x0, 30\n"
	stamp := "not a time as in 2023/07/20 08:50:40.403"
	for marked, want := range map[string]string{
		"∑2024/01/02T03:04:06.000, 0, 1, 1, 0, 30": stamp,
		"∑2024/13/02 03:04:06.000, 0, 1, 1, 0, 30": stamp,
		"∑2023/02/29 03:04:06.000, 0, 1, 1, 0, 30": stamp,
		"∑2024/01/02 24:04:06.000, 0, 1, 1, 0, 30": stamp,
		"∑2024/01/02 03:04:06., 0, 1, 1, 0, 30":    stamp,
		"∑2024/01/02 03:04:06,0, 0, 1, 1, 0, 30":   "more than the header's 6 fields",
		"∑1024/01/02 03:04:06.000, 0, 1, 1, 0, 30": stamp,
		"∑, 0, 1, 1, 0, 30":                        stamp,
		"∑2024/01/02 03:04:04.000, 0, 1, 1, 0, 30": "1s before the row before",

		"2024/01/02 03:04:06.000, ∑GPU0, 1, 1, 0, 30":                              "the index is not a number",
		"2024/01/02 03:04:06.000, ∑-1, 1, 1, 0, 30":                                "the index is not a number",
		"2024/01/02 03:04:06.000, 0, ∑nan, 1, 0, 30":                               "not a number",
		"2024/01/02 03:04:06.000, 0, ∑0x1p3, 1, 0, 30":                             "not a number",
		"2024/01/02 03:04:06.000, 0, ∑, 1, 0, 30":                                  "not a number",
		"2024/01/02 03:04:06.000, 0, ∑ERR, 1, 0, 30":                               "not a number",
		"2024/01/02 03:04:06.000, 0, ∑-1.00 W, 1, 0, 30":                           "not a value that the metric can have",
		"2024/01/02 03:04:06.000, 0, ∑412340 mW, 1, 0, 30":                         "not in the unit of its metric",
		"2024/01/02 03:04:06.000, 0, 1 W, ∑1 GiB, 0, 30":                           "not in the unit of its metric",
		"2024/01/02 03:04:06.000, 0, 1 W, ∑0.3 MiB, 0, 30":                         "not a value that the metric can have",
		"2024/01/02 03:04:06.000, 0, 1 W, 1 MiB, ∑Active, 30":                      "not a number",
		"2024/01/02 03:04:06.000, 0, 1 W, 1 MiB, 0x0, ∑86 F":                       "not in the unit of its metric",
		"2024/01/02 03:04:06.000, 0, 1 W, 1 MiB, 0x0, 30, ∑1":                      "more than the header's 6 fields",
		"2024/01/02 03:04:06.000, 0, 1 W, 1 MiB, 0x0∑":                             "5 fields, where the header has 6",
		"2024/01/02 03:04:06.000, 0, 41∑":                                          "3 fields, where the header has 6",
		"timestamp, power.draw [W], ∑power.draw.average [mW]":                      "the unit of power.draw.average is not one that is known",
		"∑" + strings.Repeat("x", maxLine):                                         "the line is longer than 64 KiB",
		"2024/01/02 03:04:06.000, 0, ∑[" + strings.Repeat("x", 65) + "], 1, 0, 30": "not a number",
	} {
		line, col := cut(marked)
		l := readAll(strings.NewReader(header+before+line+"\n"+after), Options{})
		pos := trace.Pos{File: "smi.csv", Line: 3, Col: col}
		if strings.HasPrefix(want, "the line is longer") {
			pos.Col = 0
		}
		if strings.HasPrefix(want, "more than") && col == 1 {
			pos.Col = len("2024/01/02 03:04:06,0, 0, 1, 1, 0, ") + 1
		}
		if d := cmp.Diff([]string{pos.String() + ": " + want}, l.Errors); d != "" {
			t.Errorf("%q (-want +got):\n%s", marked, d)
		}
		if len(l.Rows) != 2 || l.Rows[1].Values["power_watts"] != 3 {
			t.Errorf("%q: rows %v", marked, l.Rows)
		}
	}
}

func cut(marked string) (text string, col int) {
	i := strings.Index(marked, "∑")
	return marked[:i] + marked[i+len("∑"):], i + 1
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                  "smi.csv: the file is empty",
		"\n \r\n":                           "smi.csv: the file is empty",
		"2024/01/02 03:04:05.000, 1.00\n":   "smi.csv:1: " + ErrNoHeader.Error(),
		"\ntimestamp, pstate\n":             "smi.csv:2: not the header of an nvidia-smi log: a timestamp and a metric are wanted",
		"power.draw [W]\n":                  "smi.csv:1: not the header of an nvidia-smi log: a timestamp and a metric are wanted",
		"timestamp, power.draw [mW]\n":      "smi.csv:1:12: the unit of power.draw is not one that is known",
		"\xff\xfet\x00i\x00m\x00\n\x00":     "smi.csv:1: the log is in UTF-16, as some shells write it: UTF-8 is wanted",
		strings.Repeat("x", maxLine) + "\n": "smi.csv:1: the line is longer than 64 KiB",
		"timestamp, power.draw [W]":         "smi.csv:1: " + ErrTruncated.Error(),
	} {
		_, err := NewReader(strings.NewReader(in), "smi.csv", Options{})
		if err == nil || err.Error() != want {
			t.Errorf("%.20q: got %v, want %s", in, err, want)
		}
		if IsHeader([]byte(strings.TrimSuffix(in, "\n"))) != (in == "timestamp, power.draw [W]") {
			t.Errorf("%.20q is taken for a header, or is not", in)
		}
	}
	l := readAll(strings.NewReader("timestamp, power.draw [W]\n"), Options{})
	if len(l.Rows)+len(l.Errors) > 0 {
		t.Error(l)
	}
}

// Package formats, which finds the kind of an input out, knows the same columns.
func TestSniff(t *testing.T) {
	t.Parallel()
	for title, c := range known {
		if c.role != metric {
			continue
		}
		if line := "index, timestamp, " + title + "\n"; formats.Sniff([]byte(line)) != formats.NVIDIASMI || !IsHeader([]byte(line)) {
			t.Errorf("%q is not taken for a log of nvidia-smi", line)
		}
	}
}

// A log that is cut anywhere gives the rows that are whole, and says that it was
// cut, unless that was between two lines.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	const header = "timestamp, power.draw [W]\n"
	const whole = header + "2024/01/02 03:04:05.000, 412.34 W\n2024/01/02 03:04:06.000, 1.00 W\n"
	for n := len(header); n <= len(whole); n++ {
		l := readAll(strings.NewReader(whole[:n]), Options{})
		complete := strings.Count(whole[:n], "\n") - 1
		var want []string
		if whole[n-1] != '\n' {
			want = []string{trace.Pos{File: "smi.csv", Line: complete + 2}.String() + ": " + ErrTruncated.Error()}
		}
		if d := cmp.Diff(want, l.Errors); d != "" || len(l.Rows) != complete {
			t.Errorf("cut at %d: %d rows, errors (-want +got):\n%s", n, len(l.Rows), d)
		}
	}
	r, err := NewReader(strings.NewReader(whole[:len(whole)-1]), "f", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b sample.Batch
	for err == nil {
		err = r.Read(&b)
	}
	if !errors.Is(err, ErrTruncated) || r.Read(&b) != io.EOF || r.Read(&b) != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestTwoDevicesWithoutNames(t *testing.T) {
	t.Parallel()
	const in = "timestamp, power.draw [W]\n2024/01/02 03:04:05.000, 100 W\n2024/01/02 03:04:05.000, 200 W\n"
	l := readAll(strings.NewReader(in), Options{})
	want := "smi.csv:3:1: a second row of this time, and no column says which device it is of (uuid, pci.bus_id, index)"
	if d := cmp.Diff([]string{want}, l.Errors); d != "" || len(l.Rows) != 1 {
		t.Errorf("%d rows, errors (-want +got):\n%s", len(l.Rows), d)
	}
}

func TestBrokenInput(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	in := io.MultiReader(strings.NewReader("timestamp, power.draw [W]\n2024/01/02 03:04:05.000, 1 W\n2024/01/02 03:0"), iotest.ErrReader(broken))
	l := readAll(in, Options{})
	if d := cmp.Diff([]string{"broken"}, l.Errors); d != "" || len(l.Rows) != 1 {
		t.Errorf("%d rows, errors (-want +got):\n%s", len(l.Rows), d)
	}
}

// Whatever the input: no panic; a log is the same however it arrives; rows are
// in the order of time, and their columns of one length.
func FuzzRead(f *testing.F) {
	data, err := os.ReadFile("testdata/a5000-step.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:800])
	for _, s := range []string{
		"timestamp, index, uuid, power.draw [W]\n2024/01/02 03:04:05.000, 0, GPU-a, 1 W\n2024/01/02 03:04:05, 1, [N/A], [N/A]\n",
		"power.limit,timestamp,memory.used [MiB]\r\n9,2024/02/29 23:59:60.999999999,1 MiB\r\nx\n\n\"timestamp\",power.draw\n",
		"timestamp,clocks_event_reasons.active\n2023/10/29 01:30:00.0,0x1\n2023/10/29 01:00:00.0,0xffffffffffffffff\n1,2,3\n2024",
	} {
		f.Add([]byte(s))
	}
	loc, err := time.LoadLocation("Europe/London")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := readAll(bytes.NewReader(data), Options{Location: loc})
		bytewise := readAll(iotest.OneByteReader(bytes.NewReader(data)), Options{Location: loc})
		if d := cmp.Diff(whole, bytewise); d != "" {
			t.Fatalf("(-whole +byte by byte):\n%s", d)
		}
		last := map[int32]time.Duration{}
		for i, r := range whole.Rows {
			if r.At < last[r.Device] || i == 0 && r.At != 0 {
				t.Fatalf("row %d at %v", i, r.At)
			}
			last[r.Device] = r.At
			if int(r.Device) >= len(whole.Head.Devices) {
				t.Fatalf("row %d of device %d", i, r.Device)
			}
			for name, v := range r.Values {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("row %d: %s is %v", i, name, v)
				}
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	const header = "timestamp, index, uuid, power.draw.average [W], power.draw.instant [W], utilization.gpu [%], temperature.gpu\n"
	in := header + strings.Repeat("2024/01/02 03:04:05.000, 0, GPU-cb4e5b2f-0000-1111-2222-333333333333, 412.34 W, 433.21 W, 100 %, 61\n", 20_000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(strings.NewReader(in), "-", Options{})
		var batch sample.Batch
		for err == nil {
			err = r.Read(&batch)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
