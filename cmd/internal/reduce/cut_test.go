package reduce

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestEveryCutIsSaid cuts a recording all over: never is a part passed off as
// the whole, and the message says where the file ends. Package telemetry's own
// tests cut at every byte.
func TestEveryCutIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.arrows")
	writeRecording(t, whole, 1, 1200*time.Millisecond)
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	run := func(b []byte) (code int, stdout, stderr string) {
		path := filepath.Join(dir, "cut.arrows")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		code = Main(t.Context(), []string{path}, nil, &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, _, stderr := run(content); code != 0 {
		t.Fatalf("whole: exit %d: %s", code, stderr)
	}
	where := regexp.MustCompile(`incomplete_telemetry: .*cut\.arrows.*(the recording is not complete).*\(at byte \d+\)`)
	refused := regexp.MustCompile(`^reduce: .*cut\.arrows: `)
	for n := 0; n < len(content); n += 13 {
		switch code, stdout, stderr := run(content[:n]); {
		case code == 3 && where.MatchString(stdout):
		case code == 1 && refused.MatchString(stderr) && stdout == "":
		default:
			t.Fatalf("cut at %d of %d: exit %d\n%s%s", n, len(content), code, stdout, stderr)
		}
	}
}
