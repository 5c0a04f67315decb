package reduce

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden makes reports of committed files, whose bytes are the same on every
// machine: make golden-arch makes them on others.
func TestGolden(t *testing.T) {
	t.Parallel()
	run := []string{
		"--every", "2s", "--window", "middle=2026-11-27T10:41:19Z..2026-11-27T10:41:24.5Z", "testdata/requests.jsonl.gz", "testdata/power.arrows.zst",
	}
	log := []string{"--timezone", "Europe/London", "--device-name", "NVIDIA RTX A5000", "--driver", "530.30.02", "../../../formats/nvidiasmi/testdata/a5000-step.csv"}
	for name, args := range map[string][]string{
		"report.json": append([]string{"--format", "json"}, run...),
		"report.csv":  append([]string{"--format", "csv"}, run...),
		"report.md":   append([]string{"--format", "markdown"}, run...),
		"report.txt":  run,
		"smi.json":    append([]string{"--format", "json"}, log...),
		"smi.txt":     log,
		"aiperf.txt":  {"--as", "aiperf", "../../../formats/aiperf/testdata/profile_export.jsonl"},
		// A real H200 under the real requests of a small server (testdata/h200).
		"h200-open.txt": {"../../../testdata/h200/open-requests.jsonl.zst", "../../../testdata/h200/open-50ms.arrows.zst"},
		"h200.txt":      {"../../../testdata/h200/serve-requests.jsonl.zst", "../../../testdata/h200/serve-50ms.arrows.zst"},
	} {
		code, got, stderr := runMain(t, args...)
		if code != 0 {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
			continue
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
