package dmon

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/sample"
	"wattrace/trace"
)

func readAll(in io.Reader, o Options) (all sample.Batch, anchor int64, faults []string) {
	r, err := NewReader(in, "f", o)
	for b := new(sample.Batch); ; b.Reset() {
		var syntax *trace.SyntaxError
		if err == nil {
			err = r.Read(b)
		}
		switch {
		case err == io.EOF:
			return all, r.Head().Clock.Anchor.UnixNanos, faults
		case err != nil:
			faults = append(faults, err.Error())
			if r == nil || !errors.As(err, &syntax) {
				return all, 0, faults
			}
			err = nil
			continue
		}
		for i := range b.Len() {
			all.AppendFrom(b, i, int(b.Device[i]))
		}
	}
}

const header = "#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem   mclk   pclk     fb\n#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %    MHz    MHz     MB\n"

const log = header +
	" 20240104   13:54:35      0     86     33      -     30     27   6250   1710    239\n" +
	" 20240104   13:54:35      1     90     33      -     30     27   6250   1710    239\n" + header +
	" 20240104   13:54:36      0     87     33      -     30     27   6250   1710    239\n"

func TestRead(t *testing.T) {
	t.Parallel()
	b, anchor, faults := readAll(strings.NewReader(log), Options{Location: time.FixedZone("", 3600), Host: "h"})
	if faults != nil || b.Len() != 3 || anchor != 1704372875e9 || b.Time[2] != 1e9 || b.Took[0] != time.Second || b.Device[1] != 1 {
		t.Fatalf("%+v from %d: %q", b, anchor, faults)
	}
	if v, _ := b.Float(sample.PowerWatts, 2); v != 87 || b.Status[0] != "memory_temperature_celsius=NOT_SUPPORTED" {
		t.Errorf("%v, %q", v, b.Status[0])
	}
	if v, _ := b.Uint(sample.MemoryUsedBytes, 0); v != 239<<20 {
		t.Error(v)
	}
	if kind := formats.Sniff([]byte(log)); kind != formats.NVIDIASMIDmon {
		t.Error(kind)
	}
	if kind := formats.Sniff([]byte("#Entity   POWER\nID\nGPU 0   1\n")); kind != formats.DCGMIDmon {
		t.Error(kind)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"# gpu    pwr\n# Idx      W\n    0     86\n":                     "f:3: the rows do not say when they were read: nvidia-smi dmon -o DT has them say it",
		"#Time gpu    pwr\n#HH:MM:SS Idx      W\n 13:54:35   0     86\n": "f:3: the rows do not say when they were read: nvidia-smi dmon -o DT has them say it",
		header + " 20240104   13:54:61      0 1 1 1 1 1 1 1 1\n":         `f:3: "20240104 13:54:61" is not a time as in 20240104 13:54:35`,
		header + " 20240104   13:54:35      0 1 1\n":                     "f:3: the line does not have the header's fields",
		log + " 20240104   13:54:30      0 1 1 1 1 1 1 1 1\n":            "f:8:1: 6s before the row before, of the same device",
		log + " 20240104   13:54:37      0 x 1 1 1 1 1 1 1\n":            `f:8: "x" is not a value of power_watts`,
		log + " 20240104   13:54:37":                                     "f:8: the log is not complete: its last line has no end",
		"#Date Time gpu pwr\n#YYYYMMDD HH:MM:SS Idx mW\n":                `f:2: pwr is in "mW": W is wanted`,
	} {
		if _, _, faults := readAll(strings.NewReader(in), Options{}); !cmp.Equal(faults, []string{want}) {
			t.Errorf("%q: %q, want %s", in, faults, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(log))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, _, faults := readAll(bytes.NewReader(data), Options{})
		b, _, again := readAll(iotest.OneByteReader(bytes.NewReader(data)), Options{})
		if d := cmp.Diff(a, b) + cmp.Diff(faults, again); d != "" {
			t.Fatalf("(-whole +byte by byte):\n%s", d)
		}
	})
}
