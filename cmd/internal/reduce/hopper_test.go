package reduce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"wattrace/reduce"
)

// part is one part of the load of testdata/h200/load.py.
type part struct {
	name       string
	start, end time.Time
}

// unpacked reads a file without its zstd layer.
func unpacked(t *testing.T, path string) []byte {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// loadParts reads when the parts of a load ran.
func loadParts(t *testing.T, path string) (parts []part) {
	t.Helper()
	for line := range bytes.Lines(unpacked(t, path)) {
		var e struct {
			Part      string
			WallNanos int64 `json:"wall_nanos"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(0, e.WallNanos).UTC()
		if n := len(parts); n > 0 && parts[n-1].name == e.Part {
			parts[n-1].end = at
		} else {
			parts = append(parts, part{e.Part, at, at})
		}
	}
	return parts
}

// A real H100 and H200, whose averaged power field, deconvolved, says second by
// second what their energy counter says: the table's law of the field holds. By
// the law of earlier drivers both would differ by three times as much.
func TestHopperAverageAgreesWithCounter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		recording, events string
		limit             map[string]float64 // of a part: RMS of the differences, joules in windows of 1 s of up to 700 J
	}{
		{"h100/load-10ms.arrows.zst", "h100/load-events.jsonl.zst", map[string]float64{"constant": 6, "square2s": 16, "square1s": 4, "random": 20, "decode": 6}},
		{"h200/load-20ms.arrows.zst", "h200/load-events.jsonl.zst", map[string]float64{"constant": 7, "square2s": 16, "square1s": 4, "random": 15, "decode": 5}},
		{"h200/load-100ms.arrows.zst", "h200/load-events.jsonl.zst", map[string]float64{"constant": 8, "square2s": 27, "square1s": 4, "random": 20, "decode": 8}},
	} {
		parts := loadParts(t, "../../../testdata/"+test.events)
		r := reportOf(t, 0, "--every", "1s", "../../../testdata/"+test.recording)
		for _, p := range parts {
			limit, ok := test.limit[p.name]
			if !ok {
				continue
			}
			squares, n := 0.0, 0
			for _, w := range r.Phases[0].Windows {
				start, err := time.Parse(time.RFC3339Nano, w.Start)
				if err != nil {
					t.Fatal(err)
				}
				if start.Before(p.start) || start.Add(time.Second).After(p.end) {
					continue
				}
				d := w.Metrics[reduce.TotalGPUEnergy].Value - w.Metrics[reduce.CrossCheckEnergy].Value
				squares += d * d
				n++
			}
			if rms := math.Sqrt(squares / float64(n)); n < 4 || !(rms <= limit) {
				t.Errorf("%s, %s: %.1f J RMS in %d windows, want at most %v", test.recording, p.name, rms, n, limit)
			}
		}
	}
}

// A load that keeps step with the samples of the averaged field is not seen by it.
// The counter is what is reported, and the report says that they differ.
func TestHopperAverageMissesFastLoads(t *testing.T) {
	t.Parallel()
	for _, recording := range []string{"h100/load-10ms.arrows.zst", "h200/load-20ms.arrows.zst"} {
		events := strings.Split(recording, "/")[0] + "/load-events.jsonl.zst"
		var args []string
		for _, p := range loadParts(t, "../../../testdata/"+events) {
			if p.end.After(p.start) {
				args = append(args, "--window", fmt.Sprintf("%s=%s..%s", p.name, p.start.Format(time.RFC3339Nano), p.end.Format(time.RFC3339Nano)))
			}
		}
		r := reportOf(t, 0, append(args, "../../../testdata/"+recording)...)
		doubted := map[string]bool{}
		for _, w := range r.Warnings {
			if w.Code == reduce.WarnDisagree {
				doubted[w.Phase] = true
			}
		}
		for _, ph := range r.Phases {
			m := ph.Metrics[reduce.TotalGPUEnergy]
			if m.Method != "counter" {
				t.Errorf("%s, %s: the energy is by %s", recording, ph.Name, m.Method)
			}
			switch ph.Name {
			case "square20ms":
				if !doubted[ph.Name] || ph.Metrics[reduce.CrossCheckRatio].Value < 1.1 {
					t.Errorf("%s, %s: ratio %v, warned: %v", recording, ph.Name, ph.Metrics[reduce.CrossCheckRatio].Value, doubted[ph.Name])
				}
			case "constant", "decode", "square2s":
				if doubted[ph.Name] {
					t.Errorf("%s, %s: a disagreement is said: %v", recording, ph.Name, ph.Metrics[reduce.CrossCheckRatio])
				}
			}
		}
	}
}
