package formats

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPassed follows how much of a file is read, pass by pass; of a pipe nothing is known.
func TestPassed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for range 2 {
		r, err := in.Reader()
		if err != nil {
			t.Fatal(err)
		}
		if share, _, ok := in.Passed(); ok {
			t.Errorf("before anything is read: %g", share)
		}
		for i := range 4 {
			if _, err := io.CopyN(io.Discard, r, 250); err != nil {
				t.Fatal(err)
			}
			if share, _, ok := in.Passed(); !ok || share < 0.25*float64(i+1) || share > 1 {
				t.Errorf("after %d bytes: %g, %v", 250*(i+1), share, ok)
			}
		}
	}
	pipe, err := Open("-", strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, pipe.Stream())
	if share, _, ok := pipe.Passed(); ok {
		t.Errorf("of a pipe: %g", share)
	}
}
