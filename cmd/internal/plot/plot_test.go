package plot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	reducer "wattrace/cmd/internal/reduce"
	"wattrace/reduce"
)

const (
	simRequests = "../reduce/testdata/requests.jsonl.gz"
	simPower    = "../reduce/testdata/power.arrows.zst"
	h200Log     = "../../../testdata/h200/serve-requests.jsonl.zst"
	h200Power   = "../../../testdata/h200/serve-50ms.arrows.zst"
)

func runMain(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runWith(t, "", args...)
}

func runWith(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// pageOf returns the page of inputs.
func pageOf(t testing.TB, args ...string) string {
	t.Helper()
	code, page, stderr := runMain(t, args...)
	if code != 0 && code != 3 {
		t.Fatalf("%v: exit %d: %s", args, code, stderr)
	}
	return page
}

// data is what a page has over time, of which a test reads a part.
type data struct {
	Unix    string
	Step, N int64
	Devices []struct {
		Scope string
		E     []int64
		In    []int
		Cov   map[int]int64
		Lo    []*float64
		Hi    []*float64
	}
	Out, Unk, Sent []int64
	Phases         []struct {
		N, K string
		A, B float64
	}
}

var dataElement = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)

func dataOf(t testing.TB, page string) (d data) {
	t.Helper()
	m := dataElement.FindStringSubmatch(page)
	if m == nil {
		t.Fatal("the page has no data")
	}
	if err := json.Unmarshal([]byte(m[1]), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// joules is what the page says of an interval, and of how many GPUs.
func (d *data) joules(i, j int) (sum float64, seen int) {
	for k := range d.Devices {
		v := &d.Devices[k]
		if v.Scope != "gpu" && v.Scope != "" || v.E == nil {
			continue
		}
		inside := func(at int) bool {
			for n := 0; n < len(v.In); n += 2 {
				if at >= v.In[n] && at <= v.In[n+1] {
					return true
				}
			}
			return false
		}
		var energy, covered int64
		for s := i; s < j; s++ {
			energy += v.E[s]
			if n, ok := v.Cov[s]; ok {
				covered += n
			} else if inside(s) && inside(s+1) {
				covered += d.Step
			}
		}
		whole := float64(int64(j-i) * d.Step)
		if inside(i) && inside(j) && whole-float64(covered) <= 0.01*whole {
			sum += float64(energy) / 1e6
			seen++
		}
	}
	return sum, seen
}

func (d *data) tokens(i, j int) (n float64, known bool) {
	for k := 0; k < len(d.Unk); k += 2 {
		if int(d.Unk[k]) < j && int(d.Unk[k+1]) >= i {
			return 0, false
		}
	}
	for s := i; s < j; s++ {
		n += float64(d.Out[s])
	}
	return n / 1e6, true
}

func (d *data) instant(i int) string {
	unix, _ := strconv.ParseInt(d.Unix, 10, 64)
	return time.Unix(0, unix+int64(i)*d.Step).UTC().Format(time.RFC3339Nano)
}

// TestSelectionIsAWindow: an interval of the page has the energy and the tokens that reduce
// says of the same window, whatever the inputs.
func TestSelectionIsAWindow(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"simulated":            {simRequests, simPower},
		"few steps":            {"--steps", "150", simRequests, simPower},
		"a real GPU":           {h200Log, h200Power},
		"an open loop":         {"../../../testdata/h200/open-requests.jsonl.zst", "../../../testdata/h200/open-50ms.arrows.zst"},
		"by integrated power":  {"--energy-source", "power", h200Log, h200Power},
		"a recording alone":    {"../../../testdata/h200/load-20ms.arrows.zst"},
		"calibrated":           {"--calibration", writeFile(t, "c.yaml", "schema: wattrace.calibration/1\ndevices:\n  - device: NVIDIA H200\n    gain: 1.03\n    gain_sigma: 0.01\n    offset_watts: 4\n"), h200Log, h200Power},
		"a log without chunks": {"../../../formats/aiperf/testdata/profile_export.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dataOf(t, pageOf(t, args...))
			r := rand.New(rand.NewPCG(1, 2))
			var windows []string
			var ends [][2]int
			for len(ends) < 40 {
				i, j := r.IntN(int(d.N)), 1+r.IntN(int(d.N))
				if i < j {
					windows = append(windows, "--window", fmt.Sprintf("w%d=%s..%s", len(ends), d.instant(i), d.instant(j)))
					ends = append(ends, [2]int{i, j})
				}
			}
			rest := args
			if args[0] == "--steps" {
				rest = args[2:]
			}
			rep := reduceTo(t, append(windows, rest...)...)
			compared := 0
			for k, w := range ends {
				ph := phaseOf(t, rep, fmt.Sprintf("w%d", k))
				joules, seen := d.joules(w[0], w[1])
				m, ok := ph.Metrics[reduce.TotalGPUEnergy]
				switch {
				case ok != (seen > 0):
					t.Errorf("%v: reduce has energy: %t, the page has that of %d GPUs", w, ok, seen)
				case ok && (math.Abs(m.Value-joules) > 1e-6 || m.DevicesCovered != seen):
					t.Errorf("%v: reduce %v J of %d, page %v J of %d", w, m.Value, m.DevicesCovered, joules, seen)
				case ok:
					compared++
				}
				if d.Out == nil {
					continue
				}
				n, known := d.tokens(w[0], w[1])
				switch {
				case ph.Tokens == nil || known != (ph.Tokens.Output != nil):
					t.Errorf("%v: reduce %+v, page known: %t", w, ph.Tokens, known)
				case known && math.Abs(n-*ph.Tokens.Output) > 0.001:
					t.Errorf("%v: reduce %v tokens, page %v", w, *ph.Tokens.Output, n)
				}
			}
			if len(d.Devices) > 0 && compared < 10 {
				t.Errorf("only %d windows had energy", compared)
			}
		})
	}
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// reduceTo returns the report of inputs.
func reduceTo(t testing.TB, args ...string) *reduce.Report {
	t.Helper()
	var out, errs bytes.Buffer
	if code := reducer.Main(t.Context(), append([]string{"--format", "json", "-q"}, args...), strings.NewReader(""), &out, &errs); code != 0 && code != 3 {
		t.Fatalf("reduce: exit %d: %s", code, errs.String())
	}
	var rep reduce.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	return &rep
}

func phaseOf(t testing.TB, rep *reduce.Report, name string) *reduce.Phase {
	t.Helper()
	for i := range rep.Phases {
		if rep.Phases[i].Name == name {
			return &rep.Phases[i]
		}
	}
	t.Fatalf("no phase %q", name)
	return nil
}
