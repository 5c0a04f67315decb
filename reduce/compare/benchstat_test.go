package compare

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBesideBenchstat has benchstat itself (WATTRACE_BENCHSTAT is its command line)
// compare the same numbers: its medians, its p, and where it says ~.
func TestBesideBenchstat(t *testing.T) {
	t.Parallel()
	command := strings.Fields(os.Getenv("WATTRACE_BENCHSTAT"))
	if len(command) == 0 {
		t.Skip("WATTRACE_BENCHSTAT does not say where benchstat is: make benchstat")
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 3))
	type want struct {
		a, b, p string
		same    bool
	}
	wants := map[string]want{}
	var files [2]bytes.Buffer
	for i := range 40 {
		name := fmt.Sprintf("Case%d", i)
		m, n := 2+r.IntN(12), 2+r.IntN(12)
		a, b := draw(r, m, 500, 0.01, scatters["normal"]), draw(r, n, 500*(1+0.01*float64(r.IntN(4))), 0.01, scatters["normal"])
		for k, values := range [][]float64{a, b} {
			for _, v := range values {
				fmt.Fprintf(&files[k], "Benchmark%s 1 %v J\n", name, v)
			}
		}
		x, _ := summarise(a, 0.95)
		y, _ := summarise(b, 0.95)
		p := unpairedP(a, b)
		wants[name] = want{fmt.Sprint(x), fmt.Sprint(y), fmt.Sprintf("p=%.3f", p), p > 0.05}
	}
	args := append(command[1:], "-format", "csv")
	for k, name := range []string{"base", "new"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, files[k].Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	cmd := exec.Command(command[0], args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	c := csv.NewReader(bytes.NewReader(out))
	c.FieldsPerRecord = -1
	rows, err := c.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, row := range rows {
		w, ok := wants[row[0]]
		if !ok || len(row) < 7 {
			continue
		}
		n++
		if row[1] != w.a || row[3] != w.b || !strings.HasPrefix(row[6], w.p) || (row[5] == "~") != w.same {
			t.Errorf("benchstat: %q, ours: %+v", row, w)
		}
	}
	if n != len(wants) {
		t.Errorf("%d of %d comparisons found in:\n%s", n, len(wants), out)
	}
}
