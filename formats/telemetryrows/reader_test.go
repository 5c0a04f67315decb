package telemetryrows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats"
	"wattrace/formats/stamped"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// row is a row as the tests look at it.
type row struct {
	Unix   int64
	Took   time.Duration
	Device sample.Device
	Floats map[string]float64
	Uints  map[string]uint64
	Mark   sample.Mark
	Status string
}

func rowsOf(b *sample.Batch, anchor int64) (rows []row) {
	for i := range b.Len() {
		d := b.Devices[b.Device[i]]
		r := row{
			Unix: anchor + int64(b.Time[i]), Took: b.Took[i], Status: b.Status[i], Mark: b.MarkOf(i),
			Device: sample.Device{Host: d.Host, ID: d.ID, Index: d.Index, Source: d.Source, Scope: d.Scope},
			Floats: map[string]float64{}, Uints: map[string]uint64{},
		}
		for id := range sample.NumMetrics {
			if v, ok := b.Uint(id, i); ok {
				r.Uints[id.String()] = v
			} else if v, ok := b.Float(id, i); ok {
				r.Floats[id.String()] = v
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// readAll reads to the end, over faults.
func readAll(open func(io.Reader, string, string) (*stamped.Reader, error), in io.Reader) (rows []row, faults []string) {
	r, err := open(in, "f", "h")
	for b := new(sample.Batch); err != io.EOF; {
		var syntax *trace.SyntaxError
		switch {
		case err != nil:
			faults = append(faults, err.Error())
			if r == nil || !errors.As(err, &syntax) {
				return rows, faults
			}
		case r != nil && b.Len() > 0:
			rows = append(rows, rowsOf(b, r.Head().Clock.Anchor.UnixNanos)...)
		}
		b.Reset()
		err = r.Read(b)
	}
	return rows, faults
}

var openers = map[formats.Kind]func(io.Reader, string, string) (*stamped.Reader, error){
	formats.TelemetryCSV: NewCSVReader, formats.TelemetryLines: NewLinesReader,
}

// What convert writes of any rows is read back as those rows.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	text := rapid.StringMatching(`[a-zA-Z0-9,"\n é:-]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		var s telemetry.Summary
		for i := range rapid.IntRange(1, 4).Draw(t, "devices") {
			s.Head.Devices = append(s.Head.Devices, sample.Device{
				ID: fmt.Sprint(text.Draw(t, "id"), i), Host: text.Draw(t, "host"), Index: rapid.IntRange(0, 9).Draw(t, "index"),
				Source: sample.SourceName(text.Draw(t, "source")), Scope: sample.Scope(text.Draw(t, "scope")),
			})
		}
		run := len(s.Head.Devices)
		s.Head.Devices = append(s.Head.Devices, sample.Device{ID: "record:h", Host: "h", Source: sample.Recorder, Scope: sample.ScopeRun})
		for id := range sample.NumMetrics {
			if rapid.Bool().Draw(t, id.String()) {
				s.Head.Metrics = append(s.Head.Metrics, id)
			}
		}
		s.Head.Clock.Anchor.UnixNanos = rapid.Int64Range(1e18, 2e18).Draw(t, "anchor")
		b := &sample.Batch{Devices: s.Head.Devices}
		at := trace.Time(0)
		for range rapid.IntRange(1, 20).Draw(t, "rows") {
			at += trace.Time(rapid.Int64Range(0, 1e10).Draw(t, "step"))
			took := time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "took"))
			d := rapid.IntRange(0, run).Draw(t, "device")
			r := b.Append(d, at, took)
			if d == run {
				r.Mark(sample.Mark{Event: sample.MarkStart, Phase: text.Draw(t, "phase")})
				continue
			}
			for _, id := range s.Head.Metrics {
				switch {
				case rapid.Bool().Draw(t, "null"):
					if rapid.Bool().Draw(t, "failed") {
						r.Fail(id, "NOT_SUPPORTED")
					}
				case sample.Metrics[id].Type == sample.Uint64:
					r.SetUint(id, rapid.Uint64().Draw(t, "uint"))
				default:
					r.Set(id, rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "float"))
				}
			}
		}
		want := rowsOf(b, s.Head.Clock.Anchor.UnixNanos)
		for kind, open := range openers {
			var out bytes.Buffer
			var w *telemetry.TextWriter
			if kind == formats.TelemetryCSV {
				w, _ = telemetry.NewCSVWriter(&out, s)
			} else {
				w = telemetry.NewJSONLWriter(&out, s)
			}
			if err := errors.Join(w.Write(b), w.Close()); err != nil {
				t.Fatal(err)
			}
			if got := formats.Sniff(out.Bytes()); got != kind {
				t.Fatalf("it is taken for %s:\n%s", got, out.Bytes())
			}
			got, faults := readAll(open, bytes.NewReader(out.Bytes()))
			if d := cmp.Diff(want, got); d != "" || faults != nil {
				t.Fatalf("%s: %v (-want +got):\n%s\n%s", kind, faults, d, out.Bytes())
			}
		}
	})
}

// An external meter's table, and others with few columns.
func TestFewColumns(t *testing.T) {
	t.Parallel()
	table := func(power float64, unix int64) row {
		return row{
			Unix: unix, Device: sample.Device{Host: "h", ID: "table:h:0", Source: Source, Scope: sample.ScopeGPU},
			Floats: map[string]float64{"power_watts": power}, Uints: map[string]uint64{},
		}
	}
	want := []row{table(67.5, 1689839451900191000), table(67.25, 1689839451900392123)}
	for _, in := range []string{
		"time_unix_seconds,power_watts\r\n1689839451.900191,67.5\r\n\r\n1689839451.9003921234,67.25\r\n",
		"\xef\xbb\xbfpower_watts , extra,time\n67.5,x,2023-07-20T07:50:51.900191Z\n67.25,,2023-07-20T08:50:51.900392123+01:00\n",
		"time,power_watts\n2023-07-20T07:50:51.900191Z,67.5\ntime,power_watts\n2023-07-20T07:50:51.900392123Z,67.25\n",
	} {
		got, faults := readAll(NewCSVReader, strings.NewReader(in))
		if d := cmp.Diff(want, got); d != "" || faults != nil {
			t.Errorf("%q: %v (-want +got):\n%s", in, faults, d)
		}
		if kind := formats.Sniff([]byte(in)); kind != formats.TelemetryCSV {
			t.Errorf("%q is taken for %s", in, kind)
		}
	}
	in := `{"time_unix_seconds":1689839451.900191,"power_watts":67.5,"x":{"y":[]}}` + "\n" + `{"time":"2023-07-20T07:50:51.900392123Z","power_watts":67.25,"energy_joules":null}`
	got, faults := readAll(NewLinesReader, strings.NewReader(in))
	if d := cmp.Diff(want, got); d != "" || faults != nil {
		t.Errorf("%v (-want +got):\n%s", faults, d)
	}
}

// Each input has the marker where its fault must be reported; what stands before and
// after it is read all the same.
func TestFaults(t *testing.T) {
	t.Parallel()
	const header = "time,took_nanos,device,device_index,scope,power_watts,memory_used_bytes,mark,status\n"
	const before, after = "2026-01-02T03:04:05Z,1,GPU-a,0,gpu,1,1,,\n", "2026-01-02T03:04:09Z,1,GPU-a,0,gpu,3,1,,\n"
	for marked, want := range map[string]string{
		"∑2026-01-02 03:04:06Z,1,GPU-a,0,gpu,1,1,,":                             "not a time as in 2026-01-02T03:04:05.123Z",
		"∑2026-02-30T03:04:06.000000000Z,1,GPU-a,0,gpu,1,1,,":                   "not a time as in 2026-01-02T03:04:05.123Z",
		"∑2026-01-02T03:04:04Z,1,GPU-a,0,gpu,1,1,,":                             "1s before the row before, of the same device",
		"∑,1,GPU-a,0,gpu,1,1,,":                                                 "the row has no time",
		"2026-01-02T03:04:06Z,∑-1,GPU-a,0,gpu,1,1,,":                            "not a number of nanoseconds",
		"2026-01-02T03:04:06Z,1,GPU-a,∑a,gpu,1,1,,":                             "not the number of a device",
		"∑2026-01-02T03:04:06Z,1,GPU-a,1,gpu,1,1,,":                             "device_index is 1, and was 0 before",
		"2026-01-02T03:04:06Z,1,GPU-a,0,gpu,∑nan,1,,":                           "power_watts must be a number",
		"2026-01-02T03:04:06Z,1,GPU-a,0,gpu,∑0x1p3,1,,":                         "power_watts must be a number",
		"2026-01-02T03:04:06Z,1,GPU-a,0,gpu,∑1 W,1,,":                           "power_watts must be a number",
		"2026-01-02T03:04:06Z,1,GPU-a,0,gpu,1,∑-1,,":                            "memory_used_bytes is a whole number that is not negative",
		"2026-01-02T03:04:06Z,1,GPU-a,0,gpu,1,1,∑begin x,":                      "a mark begins with start, end or note",
		"2026-01-02T03:04:06Z,1,GPU-a,0,gpu,1,1,,∑bad":                          "a status is NAME=REASON, joined by commas",
		"2026-01-02T03:04:06Z,1,GPU-a,0,gpu,1,1,,,∑x":                           "more than the header's 9 fields",
		"2026-01-02T03:04:06Z,1,GPU-a∑":                                         "3 fields, where the header has 9",
		`2026-01-02T03:04:06Z,1,"GPU-a"∑x,0,gpu,1,1,,`:                          "a comma is wanted after the closing quote",
		"2026-01-02T03:04:06Z,1,∑" + strings.Repeat("x", 4097) + ",0,gpu,1,1,,": "longer than 4096 bytes",
		"∑" + strings.Repeat("x", 10<<20):                                       "the line is longer than 1 MiB",
		"time,power_watts,∑power_watts":                                         "the column power_watts stands twice in the header",
	} {
		i := strings.Index(marked, "∑")
		line := marked[:i] + marked[i+len("∑"):]
		rows, faults := readAll(NewCSVReader, strings.NewReader(header+before+line+"\n"+header+after))
		pos := trace.Pos{File: "f", Line: 3, Col: i + 1}
		if strings.HasPrefix(want, "the line is longer") {
			pos.Col = 0
		}
		if d := cmp.Diff([]string{pos.String() + ": " + want}, faults); d != "" || len(rows) != 2 {
			t.Errorf("%.80q: %d rows (-want +got):\n%s", marked, len(rows), d)
		}
	}
	for in, want := range map[string]string{
		"":                                     "f: the file is empty",
		"a,b\n1,2\n":                           "f:1: not the header of a table of telemetry: time, or time_unix_seconds, and a metric are wanted",
		"\xff\xfet\x00\n":                      "f:1: the file is in UTF-16, as some shells write it: UTF-8 is wanted",
		"time,time_unix_seconds\n":             "f:1: time and time_unix_seconds are both there",
		"time,power_watts\n2026-01-02T03":      "f:2: " + stamped.ErrTruncated.Error(),
		header + `2026-01-02T03:04:06Z,1,"GPU`: "f:2: " + stamped.ErrTruncated.Error(),
	} {
		if _, faults := readAll(NewCSVReader, strings.NewReader(in)); len(faults) == 0 || faults[0] != want {
			t.Errorf("%q: %q, want %s", in, faults, want)
		}
	}
}

// By a header that says a column twice no row is read: which value counts is not known.
func TestDoubledColumn(t *testing.T) {
	t.Parallel()
	rows, faults := readAll(NewCSVReader, strings.NewReader("time,power_watts,power_watts\n2026-01-02T03:04:05Z,1,2\n2026-01-02T03:04:06Z,1,2\n"))
	if len(rows) != 0 || len(faults) != 3 || faults[0] != "f:1:18: the column power_watts stands twice in the header" {
		t.Errorf("%v, %q", rows, faults)
	}
}

func TestLineFaults(t *testing.T) {
	t.Parallel()
	const before = `{"time":"2026-01-02T03:04:05Z","took_nanos":1,"device":"GPU-a","power_watts":1}` + "\n"
	deep := strings.Repeat("[", 100_000)
	for marked, want := range map[string]string{
		`{"time":∑1,"device":"GPU-a"}`:                                          "time has a value of the wrong type",
		`{"time":∑"x","device":"GPU-a"}`:                                        "not a time as in 2026-01-02T03:04:05.123Z",
		`{"time":"2026-01-02T03:04:06Z","device":"GPU-a","power_watts":∑"1"}`:   "power_watts has a value of the wrong type",
		`{"time":"2026-01-02T03:04:06Z","device":"GPU-a","power_watts":∑1e999}`: "power_watts must be a number",
		`{"time":"2026-01-02T03:04:06Z","device":∑["GPU-a"]}`:                   "device has a value of the wrong type",
		`{"time":"2026-01-02T03:04:06Z","device":"a","device":∑"GPU-a"}`:        "device stands twice",
		`{"time":"2026-01-02T03:04:06Z","memory_used_bytes":∑"-1"}`:             "memory_used_bytes is a whole number that is not negative",
		`∑{"device":"GPU-a","power_watts":1}`:                                   "the row has no time",
		`{"time":"2026-01-02T03:04:06Z","x":"∑` + "\xff" + `"}`:                 "not JSON: invalid UTF-8",
	} {
		i := strings.Index(marked, "∑")
		line := marked[:i] + marked[i+len("∑"):]
		rows, faults := readAll(NewLinesReader, strings.NewReader(before+line+"\n"+strings.Replace(before, ":05Z", ":07Z", 1)))
		pos := trace.Pos{File: "f", Line: 2, Col: i + 1}
		if len(faults) != 1 || len(rows) != 2 || !strings.HasPrefix(faults[0], pos.String()+": ") || !strings.Contains(strings.ToLower(faults[0]), strings.ToLower(want[strings.LastIndex(want, ": ")+1:])) {
			t.Errorf("%q: %d rows, %q, want %s: %s", marked, len(rows), faults, pos, want)
		}
	}
	if rows, faults := readAll(NewLinesReader, strings.NewReader(before+`{"time":`+deep+"\n")); len(rows) != 1 || len(faults) != 1 {
		t.Errorf("%d rows, %.200q", len(rows), faults)
	}
	if rows, faults := readAll(NewLinesReader, strings.NewReader(before+`{"time":"2026-01-02T03:04:0`)); len(rows) != 1 || !slices.Equal(faults, []string{"f:2: " + stamped.ErrTruncated.Error()}) {
		t.Errorf("%d rows, %q", len(rows), faults)
	}
}

// Whatever the input: no panic, and the rows are the same however it arrives.
func FuzzRead(f *testing.F) {
	f.Add([]byte("time,took_nanos,device,power_watts,status\n2026-01-02T03:04:05Z,1,GPU-a,1.5,\n2026-01-02T03:04:06Z,1,\"GPU\n-a\",,power_watts=NOT_SUPPORTED\n"))
	f.Add([]byte("time_unix_seconds,power_watts\n1.5,2\n2.25,\"3\"\n3.,"))
	f.Add([]byte(`{"time":"2026-01-02T03:04:05Z","took_nanos":1,"device":"GPU-a","memory_used_bytes":"18446744073709551615"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for kind, open := range openers {
			whole, faults := readAll(open, bytes.NewReader(data))
			bytewise, again := readAll(open, iotest.OneByteReader(bytes.NewReader(data)))
			if d := cmp.Diff(whole, bytewise) + cmp.Diff(faults, again); d != "" {
				t.Fatalf("%s (-whole +byte by byte):\n%s", kind, d)
			}
			for i, r := range whole {
				for name, v := range r.Floats {
					if math.IsNaN(v) || math.IsInf(v, 0) {
						t.Fatalf("row %d: %s is %v", i, name, v)
					}
				}
			}
		}
	})
}
