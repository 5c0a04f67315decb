package reduce

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestParts: of a log of several parts, which cores share among them, every byte of what
// is written is the same as on one core; and a fault is found where it is.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	log, power := filepath.Join(dir, "requests.jsonl"), filepath.Join(dir, "power.arrows")
	if n := writeStreams(t, log, 6); n < 1<<20 {
		t.Fatalf("a log of %d bytes", n)
	}
	writeRecording(t, power, 1, 0, 610*time.Second)
	run := func(cores int, log string) (code int, report, energies, errs string) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		out := filepath.Join(dir, "energies.jsonl")
		var stdout, stderr bytes.Buffer
		code = Main(t.Context(), []string{"--format", "json", "--force", "--per-request", out, log, power}, nil, &stdout, &stderr)
		text, _ := os.ReadFile(out)
		return code, stdout.String(), string(text), stderr.String()
	}
	code, report, energies, errs := run(1, log)
	if code != 0 || !strings.Contains(report, `"attribution"`) {
		t.Fatalf("exit status %d: %s", code, errs)
	}
	at := 0
	for seq := range strings.Count(energies, `"seq"`) {
		i := strings.Index(energies[at:], fmt.Sprintf(`"seq":%d,`, seq))
		if i < 0 {
			t.Fatalf("request %d is not in its place", seq)
		}
		at += i
	}
	for range 3 {
		if code, again, also, _ := run(5, log); code != 0 || again != report || also != energies {
			t.Fatalf("exit status %d; several cores say something else than one", code)
		}
	}

	text, _ := os.ReadFile(log)
	lines := bytes.SplitAfter(text, []byte("\n"))
	n := len(lines) - 100
	for !bytes.Contains(lines[n], []byte(`"request"`)) {
		n++
	}
	lines[n] = bytes.Replace(lines[n], []byte(`"slot":`), []byte(`"slot":-`), 1)
	faulty := filepath.Join(dir, "faulty.jsonl")
	if err := os.WriteFile(faulty, bytes.Join(lines, nil), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, _, errs := run(5, faulty); code != 1 || !strings.Contains(errs, fmt.Sprintf("faulty.jsonl:%d:", n+1)) {
		t.Errorf("a fault on line %d: exit status %d, %s", n+1, code, errs)
	}
}
