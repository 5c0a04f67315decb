package reduce

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseWindow(t *testing.T) {
	t.Parallel()
	check := func(in string, want window) {
		t.Helper()
		got, err := parseWindow(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	check("load=1795454856.123456789..1795454866", window{"load", 1795454856123456789, 1795454866000000000})
	check("a=2026-11-23T18:00:00.5+01:00..2026-11-23T17:00:01Z", window{"a", 1795453200500000000, 1795453201000000000})
	for _, bad := range []string{"", "x", "=1..2", "a=1", "a=1..x", "a=x..1", "a=2..1", "a=1..1", "a=1/3..1", "a=1e3..2e3", "a=0x1..0x9", "a=1..99999999999999", "a=-1..1",
		"a=0001-01-01T00:00:00Z..2026-01-01T00:00:00Z", "a=2026-01-01T00:00:00Z..9999-01-01T00:00:00Z"} {
		if got, err := parseWindow(bad); err == nil {
			t.Errorf("%q gives %+v", bad, got)
		}
	}
}

// TestTooManySlices: slices that do not fit in memory are refused, with a length that fits.
func TestTooManySlices(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "day.jsonl")
	log := `{"type":"run","schema":"wattrace.requests/1","producer":"test","clock":{"host":"h","boot_nanos":"1","monotonic_nanos":"1","unix_nanos":"1795776075231399740","spread_nanos":290},"trace":{"path":"t","sha256":"9f86","turns":1},"targets":["http://x"],"plan":{"schema":"wattrace.plan/1","phases":[{"name":"day","kind":"measure","concurrency":1,"requests":1}]}}
{"type":"phase","phase":"day","kind":"measure","event":"start","at_nanos":0,"concurrency":1}
{"type":"phase","phase":"day","kind":"measure","event":"end","at_nanos":86400000000000}
{"type":"close","at_nanos":86400000000000,"sent":0,"succeeded":0,"failed":0,"cancelled":0,"clean":true}
`
	if err := os.WriteFile(path, []byte(log), 0o666); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := runMain(t, "--every", "10ms", path)
	if code == 0 || stdout != "" || !strings.Contains(stderr, "8640000 slices of 10ms would take 15.6 GB") || !strings.Contains(stderr, "hint: --every 160ms fits") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
