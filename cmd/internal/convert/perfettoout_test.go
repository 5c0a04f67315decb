package convert

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// drawnTrace is what a trace of Perfetto's has.
type drawnTrace struct {
	names  map[uint64]string // of tracks
	slices map[string]int    // by name
	values map[string]int    // of counters, by track
	last   map[string]float64
	first  int64
	texts  []string // all of annotations
}

// drawn reads a trace, and checks that slices end and that tracks are described.
func drawn(t *testing.T, b string) *drawnTrace {
	t.Helper()
	d := &drawnTrace{map[uint64]string{}, map[string]int{}, map[string]int{}, map[string]float64{}, math.MaxInt64, nil}
	open, at := map[uint64]int{}, map[uint64]uint64{}
	each(t, []byte(b), func(_ protowire.Number, packet []byte, _ uint64) {
		var stamp, track, typ uint64
		var name string
		var value float64
		isEvent := false
		each(t, packet, func(n protowire.Number, v []byte, u uint64) {
			switch n {
			case 8:
				stamp = u
			case 60:
				var id uint64
				each(t, v, func(n protowire.Number, v []byte, u uint64) {
					switch n {
					case 1:
						id = u
					case 2:
						name = string(v)
					}
				})
				d.names[id] = name
			case 11:
				isEvent = true
				each(t, v, func(n protowire.Number, v []byte, u uint64) {
					switch n {
					case 9:
						typ = u
					case 11:
						track = u
					case 23:
						name = string(v)
					case 44:
						value = math.Float64frombits(u)
					case 4:
						d.texts = append(d.texts, string(v))
					}
				})
			}
		})
		if !isEvent {
			return
		}
		if d.names[track] == "" || stamp < at[track] {
			t.Fatalf("track %d: not described, or out of order", track)
		}
		at[track] = stamp
		d.first = min(d.first, int64(stamp))
		switch typ {
		case 1:
			open[track]++
			d.slices[name]++
		case 2:
			if open[track]--; open[track] < 0 {
				t.Fatal("a slice ends that has not begun")
			}
		case 4:
			d.values[d.names[track]]++
			d.last[d.names[track]] = value
		}
	})
	for track, n := range open {
		if n != 0 {
			t.Fatalf("%d slices of %s do not end", n, d.names[track])
		}
	}
	return d
}

// each passes the fields of a message on.
func each(t *testing.T, b []byte, use func(protowire.Number, []byte, uint64)) {
	t.Helper()
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		b = b[size:]
		switch typ {
		case protowire.VarintType:
			v, size := protowire.ConsumeVarint(b)
			b = b[size:]
			use(n, nil, v)
		case protowire.Fixed64Type:
			v, size := protowire.ConsumeFixed64(b)
			b = b[size:]
			use(n, nil, v)
		default:
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				t.Fatal(protowire.ParseError(size))
			}
			b = b[size:]
			use(n, v, 0)
		}
	}
}

// A log and the recording beside it, on one clock.
func TestPerfetto(t *testing.T) {
	t.Parallel()
	power := filepath.Join(root, "testdata/h200/serve-50ms.arrows.zst")
	got := convert("", "--to", "perfetto", servedLog, power)
	if got.Code != 0 || !strings.Contains(got.Stderr, "convert: 187 requests, 2737 readings\n") || strings.Contains(got.Stderr, "±") {
		t.Fatalf("%d %s", got.Code, got.Stderr)
	}
	d := drawn(t, got.Stdout)
	list, runs := logOf(t, plain(t, servedLog))
	if d.slices["request"] != len(list) || d.slices["decode"] != len(list) || d.slices["warmup"] != 1 || d.values["power_watts"] < 1000 {
		t.Errorf("%v %v", d.slices, d.values)
	}
	if anchor := runs[0].Clock.Anchor.UnixNanos; d.first < anchor-60e9 || d.first > anchor+60e9 {
		t.Errorf("begins at %d, the log at %d", d.first, anchor)
	}
	if d.last["requests in flight"] != 0 || d.last["output tokens"] != 0 {
		t.Errorf("%v", d.last)
	}
	// The order of inputs changes their order in the file, and nothing else.
	if other := convert("", "--to", "perfetto", power, servedLog); other.Code != 0 || len(other.Stdout) != len(got.Stdout) {
		t.Errorf("%d bytes, and %d the other way round", len(got.Stdout), len(other.Stdout))
	}
}

// The power of all devices is there where there are several, and nothing where one has none.
func TestPerfettoTotal(t *testing.T) {
	t.Parallel()
	got := convert("", "--to", "perfetto", full)
	if got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	d := drawn(t, got.Stdout)
	n := 0
	for name := range d.values {
		if strings.HasPrefix(name, "power of all (") {
			n++
		}
	}
	if n == 0 {
		t.Errorf("no total of %v", d.values)
	}
}

// Recordings of others, and a log whose clock is another host's.
func TestPerfettoOfOthers(t *testing.T) {
	t.Parallel()
	got := convert("", "--to", "perfetto", aiperfLog, filepath.Join(root, "formats/aiperf/testdata/gpu_telemetry_export.jsonl"), filepath.Join(root, "formats/nvidiasmi/testdata/a5000-step.csv"))
	if got.Code != 0 || !strings.Contains(got.Stderr, "gpu_telemetry_export.jsonl: placed by the wall clock, ± ") {
		t.Fatalf("%d %s", got.Code, got.Stderr)
	}
	if d := drawn(t, got.Stdout); d.values["power_watts"] == 0 || d.slices["request"] == 0 {
		t.Errorf("%v", d)
	}
}

// Parquet is drawn as what it was sealed of is, and the directory of a power package as its samples are.
func TestPerfettoOfSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sealed := filepath.Join(dir, "power.parquet")
	if got := convert("", "-q", "--to", "parquet", "-o", sealed, recorded[0]); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	power := filepath.Join(root, "formats/srtslurm/testdata/power")
	for _, c := range [][2]string{{sealed, recorded[0]}, {power, filepath.Join(power, "samples.csv")}, {filepath.Dir(power), power}} {
		got, want := convert("", "--to", "perfetto", c[0]), convert("", "--to", "perfetto", c[1])
		if got.Code != 0 || want.Code != 0 {
			t.Fatalf("%v: %s%s", c, got.Stderr, want.Stderr)
		}
		if a, b := drawn(t, got.Stdout).values, drawn(t, want.Stdout).values; len(a) == 0 || !cmp.Equal(a, b) {
			t.Errorf("%s: %v, %s: %v", c[0], a, c[1], b)
		}
	}
}

// A cut recording is drawn as far as it goes; no message of an error is drawn.
func TestPerfettoFaults(t *testing.T) {
	t.Parallel()
	whole := plain(t, recorded[0])
	path := filepath.Join(t.TempDir(), "cut.arrows")
	if err := os.WriteFile(path, whole[:len(whole)-300], 0o666); err != nil {
		t.Fatal(err)
	}
	got := convert("", "--to", "perfetto", path)
	if got.Code != 3 || !strings.Contains(got.Stderr, "the recording is not complete") {
		t.Errorf("%d %s", got.Code, got.Stderr)
	}
	drawn(t, got.Stdout)
	got = convert("", "--to", "perfetto", exampleLog)
	for _, text := range drawn(t, got.Stdout).texts {
		if strings.Contains(text, "refused") {
			t.Errorf("%q", text)
		}
	}
}

// What is spread over a grid adds up, wherever it lies.
func TestGrid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var g grid
		want := 0.0
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			from := rapid.Int64Range(1, 1<<60).Draw(t, "from")
			if rapid.Bool().Draw(t, "near") {
				from = 1<<59 + from%1e12
			}
			to := from + rapid.Int64Range(0, 1e13).Draw(t, "for")
			g.spread(from, to, 3)
			want += 3
		}
		sum, before := 0.0, int64(0)
		rate, since := 0.0, int64(0)
		g.each(func(at int64, perSecond float64) {
			if at < before {
				t.Fatal("out of order")
			}
			sum += rate * float64(at-since) / 1e9
			rate, since, before = perSecond, at, at
		})
		if math.Abs(sum-want) > 1e-6*want || rate != 0 || len(g.cells) > maxCells {
			t.Fatalf("%v of %v, %d cells", sum, want, len(g.cells))
		}
	})
}
