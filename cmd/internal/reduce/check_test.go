package reduce

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck: --check finds what is wrong with flags and the files that they name, and needs
// no inputs.
func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := filepath.Join(dir, "there.json")
	if err := os.WriteFile(there, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(code int, want string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		got := Main(t.Context(), append([]string{"--check"}, args...), strings.NewReader(""), &out, &errs)
		if got != code || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("%v: exit %d, %s%s want %d, %s", args, got, &errs, &out, code, want)
		}
	}
	check(0, "", "--slo", "ttft=500ms", "--as", "vllm", "nowhere.jsonl")
	check(0, "", "-o", filepath.Join(dir, "new.json"), "--per-request", filepath.Join(dir, "energies.jsonl"), "--truth", "later.jsonl")
	check(2, "--slo", "--slo", "ttft=soon")
	check(2, "--format", "--format", "jason")
	check(1, "none.yaml: no such file", "--topology", filepath.Join(dir, "none.yaml"))
	check(1, "there.json", "--topology", there)
	check(1, "exists already", "-o", there)
	check(1, "exists already", "--per-request", there)
	check(2, "--clock-offset: b.arrows is not among the inputs", "--clock-offset", "b.arrows=1ms", "a.jsonl", "a.arrows")
	check(0, "", "--clock-offset", "a.arrows=1ms", "a.jsonl", "a.arrows")
	check(0, "", "--clock-offset", "a.arrows=1ms", dir)
	if list, _ := filepath.Glob(filepath.Join(dir, "*")); len(list) != 1 {
		t.Errorf("it has left %v", list)
	}
}
