package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	ucli "github.com/urfave/cli/v2"
)

// TestFramesEveryTenSeconds has 25 writes, a second apart.
func TestFramesEveryTenSeconds(t *testing.T) {
	var out bytes.Buffer
	c, err := newCompressed(&out, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1780000000, 0)
	c.now = func() time.Time { return now }
	var want strings.Builder
	var starts []int
	for i := range 25 {
		before := out.Len()
		line := fmt.Sprintln("line", i)
		want.WriteString(line)
		if _, err := c.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(out.Bytes()[before:], []byte("\x28\xb5\x2f\xfd")) {
			starts = append(starts, i)
		}
		// Whatever was written can be read.
		if got, _ := io.ReadAll(reader(t, out.Bytes())); string(got) != want.String() {
			t.Fatalf("after write %d: %q", i, got)
		}
		now = now.Add(time.Second)
	}
	if fmt.Sprint(starts) != "[0 10 20]" {
		t.Error("frames begin with writes", starts)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(reader(t, out.Bytes()))
	if err != nil || string(got) != want.String() {
		t.Errorf("%q, %v", got, err)
	}
	damaged := bytes.Clone(out.Bytes())
	damaged[bytes.Index(damaged, []byte("line 0"))+5] ^= 1
	if got, err := io.ReadAll(reader(t, damaged)); err == nil {
		t.Errorf("damage was not seen: %q", got)
	}
}

func reader(t *testing.T, b []byte) io.Reader {
	r, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// smallDisk takes so many bytes and is full then.
type smallDisk struct {
	bytes.Buffer
	room int
	err  error
}

func (d *smallDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.Buffer.Write(p[:n])
	d.room -= n
	if n < len(p) {
		return n, &os.PathError{Op: "write", Path: "x", Err: d.err}
	}
	return n, nil
}

// TestPatientOutput has a disk that fills in the middle of a Write, and is
// given room again.
func TestPatientOutput(t *testing.T) {
	var told []bool
	disk := &smallDisk{room: 7, err: syscall.ENOSPC}
	o := &Output{opt: OutputOptions{Patient: 10, Full: func(full bool) { told = append(told, full) }}, w: disk, regular: true}
	write := func(s string, waiting int, crowded bool) {
		t.Helper()
		if n, err := o.Write([]byte(s)); n != len(s) || err != nil || o.Waiting() != waiting || o.Crowded() != crowded {
			t.Errorf("%q: %d, %v, %d bytes wait, crowded %v; want %d, %v", s, n, err, o.Waiting(), o.Crowded(), waiting, crowded)
		}
	}
	write("12345", 0, false)
	write("67890", 3, false)
	write("abcdefg", 10, true)
	disk.room = 4
	write("", 6, false)
	disk.room = 100
	write("hij", 0, false)
	write("k", 0, false)
	if disk.String() != "1234567890abcdefghijk" || fmt.Sprint(told) != "[true false]" {
		t.Errorf("%q, told %v", disk, told)
	}
	disk.room, disk.err = 0, syscall.EIO
	if _, err := o.Write([]byte("x")); err == nil {
		t.Error("a broken disk is waited for")
	}
}

// TestFullAtTheEnd has a disk that has no room to the end.
func TestFullAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	code, _, stderr := runTool(t, func(env *Env, _ *ucli.Context) error {
		o, err := env.Output(OutputOptions{Log: true, Patient: 100})
		if err != nil {
			return err
		}
		o.w = &smallDisk{room: 2, err: syscall.ENOSPC}
		if _, err := o.Write([]byte("three")); err != nil {
			t.Error(err)
		}
		return o.Close()
	}, "-o", path)
	if code != 1 || !strings.Contains(stderr, "no space left") {
		t.Error(code, stderr)
	}
}
