package perfetto

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// decode writes a message out by its fields: an independent reading of the wire format,
// which knows the messages of doc.go and nothing of the writer.
func decode(t *testing.T, b []byte, kind, indent string, out *strings.Builder) {
	t.Helper()
	inside := map[string]map[protowire.Number]string{
		"trace":      {1: "packet"},
		"packet":     {6: "snapshot", 11: "event", 60: "descriptor"},
		"snapshot":   {1: "clock"},
		"event":      {4: "annotation"},
		"descriptor": {8: "counter"},
	}[kind]
	texts := map[string][]protowire.Number{"event": {23}, "descriptor": {2}, "counter": {6}, "annotation": {6, 10}}[kind]
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			t.Fatalf("%s: %v", kind, protowire.ParseError(size))
		}
		b = b[size:]
		switch typ {
		case protowire.VarintType:
			v, size := protowire.ConsumeVarint(b)
			b = b[size:]
			fmt.Fprintf(out, "%s%d: %d\n", indent, n, v)
		case protowire.Fixed64Type:
			v, size := protowire.ConsumeFixed64(b)
			b = b[size:]
			fmt.Fprintf(out, "%s%d: %v\n", indent, n, math.Float64frombits(v))
		case protowire.BytesType:
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				t.Fatalf("%s.%d: %v", kind, n, protowire.ParseError(size))
			}
			b = b[size:]
			if name, ok := inside[n]; ok {
				fmt.Fprintf(out, "%s%s\n", indent, name)
				decode(t, v, name, indent+"  ", out)
				continue
			}
			known := false
			for _, x := range texts {
				known = known || x == n
			}
			if !known {
				t.Fatalf("%s has a field %d", kind, n)
			}
			fmt.Fprintf(out, "%s%d: %q\n", indent, n, v)
		default:
			t.Fatalf("%s.%d: wire type %d", kind, n, typ)
		}
	}
}

// write writes one of everything.
func write(w *Writer) error {
	const at = 1_780_000_000_000_000_000
	w.Describe(1, Description{Name: "host"})
	w.Describe(2, Description{Name: "power\xff", Parent: 1, Rank: 3, Counter: true, Unit: "W"})
	w.Describe(3, Description{Name: "requests", Parent: 1, Rank: -1})
	w.Count(2, at+5, 412.25)
	w.Count(2, at+6, math.NaN())
	w.Count(2, at+7, 0)
	w.Begin(3, at+1, "request", Note{"seq", int64(-7)}, Note{"share", 0.5}, Note{"reused", true}, Note{"outcome", "failed"})
	w.Begin(3, at+1, "prefill")
	w.End(3, at+2)
	w.End(3, at+9)
	return w.Flush()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := write(NewWriter(&b, 1_780_000_000_000_000_000)); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	decode(t, b.Bytes(), "trace", "", &out)
	const path = "testdata/all.txt"
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTrackOf(t *testing.T) {
	t.Parallel()
	if TrackOf("a", "b") != TrackOf([]string{"a", "b"}...) || TrackOf("a", "b") == TrackOf("ab") || TrackOf("ab", "") == TrackOf("a", "b") {
		t.Error("names run together")
	}
}

// failing takes n bytes.
type failing struct{ n int }

var errFull = errors.New("no space left on device")

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := NewWriter(&failing{100 << 10}, 1)
	for range 100_000 {
		w.Count(1, 1, 1)
	}
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

func BenchmarkCount(b *testing.B) {
	w := NewWriter(new(bytes.Buffer), 1)
	w.w.Reset(discard{})
	b.ReportAllocs()
	for i := range b.N {
		w.Count(1, int64(i), float64(i))
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
