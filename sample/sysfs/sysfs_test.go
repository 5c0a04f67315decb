package sysfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "energy_uj")
	for text, want := range map[string]struct {
		v      uint64
		status string
	}{
		"262143328850\n": {262143328850, ""}, " 7": {7, ""}, "9223372036854775807\n": {1<<63 - 1, ""},
		"9223372036854775808\n": {0, "NOT_A_NUMBER"}, "-1\n": {0, "NOT_A_NUMBER"}, "x": {0, "NOT_A_NUMBER"}, "": {0, "IO_ERROR"},
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range 2 { // it is read anew each time
			if v, status := Number(f); v != want.v || status != want.status {
				t.Errorf("%q: %d, %q; want %v", text, v, status, want)
			}
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"NO_PERMISSION": &fs.PathError{Err: fs.ErrPermission}, "NOT_FOUND": fs.ErrNotExist, "NO_DATA": &fs.PathError{Op: "read", Path: "x", Err: syscall.ENODATA}, "IO_ERROR": errors.New("x"),
	} {
		if got := Status(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
