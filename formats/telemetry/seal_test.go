package telemetry

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

// summaryOf is what a recording says of itself, and its rows.
func summaryOf(t *testing.T, file []byte) (Summary, *sample.Batch) {
	t.Helper()
	rd, batches, err := readAll(bytes.NewReader(file))
	if err != io.EOF {
		t.Fatal(err)
	}
	s := Summary{Head: rd.Head(), Marks: true, Snapshots: rd.Snapshots(), Holes: rd.Holes()}
	if end, ok := rd.End(); ok {
		s.End = &end
	}
	all := &sample.Batch{Devices: s.Head.Devices}
	for _, b := range batches {
		all.AppendRows(b, 0, b.Len())
	}
	return s, all
}

func fullExample(t *testing.T) []byte {
	t.Helper()
	file, err := os.ReadFile("testdata/full.arrows")
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// sealed writes the rows in batches of n.
func sealed(t *testing.T, s Summary, rows *sample.Batch, n int, compressed bool) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewFileWriter(&out, s, compressed)
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < rows.Len(); from += n {
		part := &sample.Batch{Devices: rows.Devices}
		part.AppendRows(rows, from, min(from+n, rows.Len()))
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestSealed has all that several streams say in one schema, and reads it again.
func TestSealed(t *testing.T) {
	t.Parallel()
	s, rows := summaryOf(t, fullExample(t))
	if len(s.Snapshots) < 3 || len(s.Holes) != 1 {
		t.Fatalf("the example says too little: %+v", s)
	}
	two := s
	two.Holes = append(slices.Clone(s.Holes), Hole{trace.Time(time.Second), trace.Time(2 * time.Second), 7, "quota"})
	for name, s := range map[string]Summary{"one hole": s, "two holes": two} {
		for _, compressed := range []bool{false, true} {
			file := sealed(t, s, rows, 3, compressed)
			got, gotRows := summaryOf(t, file)
			if diff := cmp.Diff(s, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			if diff := cmp.Diff(*rows, *gotRows, byRow); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			// A file may replace no dictionary, and few readers take deltas.
			r, err := ipc.NewFileReader(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			if r.NumDictionaries() != 4 || r.NumRecords() != 4 {
				t.Errorf("%s: %d dictionaries, %d batches", name, r.NumDictionaries(), r.NumRecords())
			}
		}
	}
}

// What is sealed of an incomplete recording is incomplete.
func TestSealedIncomplete(t *testing.T) {
	t.Parallel()
	s, rows := summaryOf(t, fullExample(t))
	s.End = nil
	rd, batches, err := readAll(bytes.NewReader(sealed(t, s, rows, 100, false)))
	if !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), "its recorder wrote no end") {
		t.Error(err)
	}
	if _, ok := rd.End(); ok || len(batches) != 1 || batches[0].Len() != rows.Len() {
		t.Errorf("ended %v, %d batches", ok, len(batches))
	}
}

// A recording of no rows, no metrics, or less than its end says.
func TestSealedCounts(t *testing.T) {
	t.Parallel()
	h := testHead()
	h.Metrics = nil
	none := Summary{Head: h, Snapshots: []trace.ClockSnapshot{h.Snapshot}, End: &End{Snapshot: h.Snapshot}}
	got, rows := summaryOf(t, sealed(t, none, &sample.Batch{Devices: h.Devices}, 1, false))
	if rows.Len() != 0 || got.End == nil || len(got.Head.Metrics) != 0 {
		t.Errorf("%d rows, %+v", rows.Len(), got)
	}
	s, rows := summaryOf(t, fullExample(t))
	w, err := NewFileWriter(io.Discard, s, false)
	if err != nil {
		t.Fatal(err)
	}
	part := &sample.Batch{Devices: rows.Devices}
	part.AppendRows(rows, 0, 4)
	if err := errors.Join(w.Write(part), w.Close()); err == nil || err.Error() != "4 rows were written, the end says 10" {
		t.Error(err)
	}
}

// Marks have a column though no device is the run.
func TestSealedMarks(t *testing.T) {
	t.Parallel()
	h := testHead()
	rows := &sample.Batch{Devices: h.Devices}
	rows.Append(0, 0, 0).Mark(sample.Mark{Event: sample.MarkStart, Phase: "x"})
	s := Summary{Head: h, Marks: true, Snapshots: []trace.ClockSnapshot{h.Snapshot}, End: &End{Rows: 1, Snapshot: h.Snapshot}}
	_, got := summaryOf(t, sealed(t, s, rows, 1, false))
	if diff := cmp.Diff(*rows, *got, byRow); diff != "" {
		t.Error(diff)
	}
}

func TestEndJoin(t *testing.T) {
	t.Parallel()
	a := End{
		Rows: 1, Ticks: 2, Missed: 3, LatenessP50: 9, LatenessP99: 5, LatenessMax: 9, Read: 7, CPU: 8, Lost: 9,
		Units: []UnitEnd{{Ticks: 1}}, Clean: true, Snapshot: trace.ClockSnapshot{At: 1},
	}
	b := End{
		Rows: 10, Ticks: 20, Missed: 30, LatenessP50: 4, LatenessP99: 50, LatenessMax: 6, Read: 70, CPU: 80, Lost: 90,
		Units: []UnitEnd{{Ticks: 2}}, Snapshot: trace.ClockSnapshot{At: 2},
	}
	want := End{
		Rows: 11, Ticks: 22, Missed: 33, LatenessP50: 9, LatenessP99: 50, LatenessMax: 9, Read: 77, CPU: 88, Lost: 99,
		Units: []UnitEnd{{Ticks: 1}, {Ticks: 2}}, Snapshot: trace.ClockSnapshot{At: 2},
	}
	if diff := cmp.Diff(want, a.Join(b)); diff != "" {
		t.Error(diff)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	h := testHead()
	h.Devices[1].Host = `rack "3", left`
	h.Metrics = []sample.MetricID{sample.PowerWatts, sample.EnergyJoules, sample.MemoryUsedBytes, sample.ClockEventReasons}
	b := &sample.Batch{Devices: h.Devices}
	row := b.Append(0, 1, 31000)
	row.Set(sample.PowerWatts, 1e-7)
	row.SetUint(sample.MemoryUsedBytes, 1<<53)
	row.SetUint(sample.ClockEventReasons, 1<<53+1)
	row.Mark(sample.Mark{Event: sample.MarkNote, Phase: "a\nc"})
	row = b.Append(1, trace.Time(time.Second), 0)
	row.Set(sample.PowerWatts, 0)
	row.Set(sample.EnergyJoules, 123456789.125)
	row.Fail(sample.MemoryUsedBytes, "LOST")
	row.Fail(sample.ClockEventReasons, "LOST")
	s := Summary{Head: h, Marks: true}
	var csv, jsonl bytes.Buffer
	c, err := NewCSVWriter(&csv, s)
	if err != nil {
		t.Fatal(err)
	}
	j := NewJSONLWriter(&jsonl, s)
	if err := errors.Join(c.Write(b), c.Close(), j.Write(b), j.Close()); err != nil {
		t.Fatal(err)
	}
	id := h.Devices[0].ID
	id1 := h.Devices[1].ID
	want := `time,took_nanos,host,device,device_index,source,scope,power_watts,energy_joules,memory_used_bytes,clock_event_reasons,mark,status
2026-05-28T20:26:40.000000001Z,31000,node1,` + id + `,0,nvml,gpu,1e-07,,9007199254740992,9007199254740993,"note a
c",
2026-05-28T20:26:41.000000000Z,0,"rack ""3"", left",` + id1 + `,1,nvml,gpu,0,123456789.125,,,,"memory_used_bytes=LOST,clock_event_reasons=LOST"
`
	if diff := cmp.Diff(want, csv.String()); diff != "" {
		t.Error(diff)
	}
	want = `{"time":"2026-05-28T20:26:40.000000001Z","took_nanos":31000,"host":"node1","device":"` + id + `","device_index":0,"source":"nvml","scope":"gpu","power_watts":1e-07,"memory_used_bytes":9007199254740992,"clock_event_reasons":"9007199254740993","mark":"note a\nc"}
{"time":"2026-05-28T20:26:41.000000000Z","took_nanos":0,"host":"rack \"3\", left","device":"` + id1 + `","device_index":1,"source":"nvml","scope":"gpu","power_watts":0,"energy_joules":123456789.125,"status":"memory_used_bytes=LOST,clock_event_reasons=LOST"}
`
	if diff := cmp.Diff(want, jsonl.String()); diff != "" {
		t.Error(diff)
	}
}
