package srtslurm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFind: a package is found by its own directory and by that of its job.
func TestFind(t *testing.T) {
	t.Parallel()
	job := t.TempDir()
	for _, below := range []string{"a/power", "b/logs/power", "c/LOGS/power", "d"} {
		if err := os.CopyFS(filepath.Join(job, below), os.DirFS("testdata/power")); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][2]string{
		"a": {"a/power", "a"}, "b": {"b/logs/power", "b/logs"}, "c": {"c/LOGS/power", "c/LOGS"}, "d": {"d", ""}, "b/logs": {"b/logs/power", "b/logs"},
	} {
		dir, root, ok := Find(filepath.Join(job, path))
		if root != "" {
			root, _ = filepath.Rel(job, root)
		}
		if rel, _ := filepath.Rel(job, dir); !ok || rel != want[0] || root != want[1] {
			t.Errorf("%s: %s, %s, %t", path, dir, root, ok)
		}
	}
	for _, path := range []string{job, "-", filepath.Join(job, "none")} {
		if _, _, ok := Find(path); ok {
			t.Errorf("%s holds a package", path)
		}
	}
}

// TestOpen: the samples are those of the manifest, and samples at all.
func TestOpen(t *testing.T) {
	t.Parallel()
	p, in, err := Open("testdata/power", nil)
	if err != nil || p == nil {
		t.Fatal(err)
	}
	in.Close()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/power")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, Samples), []byte("a,b\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Error(err)
	}
}
