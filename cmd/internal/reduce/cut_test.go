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
	writeRecording(t, whole, 1, 0, 1200*time.Millisecond)
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

// TestRecordingsInAnyOrder gives one recording in two files, either way round.
func TestRecordingsInAnyOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "b.arrows"), filepath.Join(dir, "a.arrows")
	writeRecording(t, first, 2, 0, 10*time.Second)
	writeRecording(t, second, 2, 10*time.Second, 20*time.Second)
	run := func(args ...string) (code int, stdout, stderr string) {
		var out, errs bytes.Buffer
		code = Main(t.Context(), args, nil, &out, &errs)
		return code, out.String(), errs.String()
	}
	code, want, stderr := run(first, second)
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if !regexp.MustCompile(`recording \(recording\): 19\.[0-9]* s`).MatchString(want) {
		t.Errorf("not the whole time:\n%s", want)
	}
	if code, got, stderr := run(second, first); code != 0 || got != want {
		t.Errorf("the other way round: exit %d %s\n%s\n%s", code, stderr, got, want)
	}
	copied := filepath.Join(dir, "copy.arrows")
	content, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, content, 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(first, copied); code != 1 || !regexp.MustCompile(`copy\.arrows: is the same recording as .*b\.arrows`).MatchString(stderr) {
		t.Errorf("the same twice: exit %d %s", code, stderr)
	}
}
