package amdsmi

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

func TestMain(m *testing.M) {
	os.Unsetenv("PYTHONUNBUFFERED") // Run sets it
	os.Exit(m.Run())
}

// program writes a program that stands for amd-smi.
func program(t *testing.T, script string) *Feed {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell")
	}
	path := filepath.Join(t.TempDir(), "amd-smi")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{Program: path}, trace.NewSteadyClock())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRun has one reading come at once, and ends the program with the feed: one
// that hears SIGTERM, and one that does not.
func TestRun(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"hears": "trap 'echo ended >\"$0.end\"; exit' TERM\n",
		"deaf":  "trap '' TERM\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			radeon, err := os.ReadFile("output/testdata/radeon.json")
			if err != nil {
				t.Fatal(err)
			}
			f := program(t, `[ "$*" = "metric -p -E -u -t -m -c --json -w 1" ] && [ "$PYTHONUNBUFFERED" = 1 ] || exit 9
`+script+"cat <<'EOF'\n"+string(radeon)+"EOF\nwhile :; do sleep 0.05; done\n")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var in sample.Inbox
			ended := make(chan error, 1)
			go func() { ended <- f.Run(ctx, &in) }()
			var b *sample.Batch
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if b = in.Collect(); b.Len() > 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("no reading")
				}
			}
			host, _ := os.Hostname()
			if diff := cmp.Diff([]sample.Device{{ID: "amd-smi:" + host + ":0", Host: host, Source: sample.AMDSMI, Scope: sample.ScopeGPU}}, b.Devices); diff != "" {
				t.Error(diff)
			}
			if w, ok := b.Float(sample.PowerWatts, 0); !ok || w != 214 || b.Status[0] != "memory_utilization=NOT_SUPPORTED" {
				t.Errorf("%v, %v, %q", w, ok, b.Status[0])
			}
			if m, ok := b.Uint(sample.MemoryUsedBytes, 0); !ok || m != 20450<<20 {
				t.Errorf("%v, %v", m, ok)
			}
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			_, err = os.Stat(f.path + ".end")
			if heard := err == nil; heard != (name == "hears") {
				t.Errorf("the program heard SIGTERM: %v", heard)
			}
		})
	}
}

// TestRunFails: a program that ends is an error that says why, and so is one
// that cannot be found or read, which is ended then.
func TestRunFails(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"echo reading; echo 'first line' >&2; printf 'no driver\\n\\n' >&2; exit 3": "amd-smi ended: exit status 3: no driver",
		"echo 'AMDSMI_STATUS_DRIVER_NOT_LOADED'":                                    "amd-smi ended: exit status 0: AMDSMI_STATUS_DRIVER_NOT_LOADED",
		"exit 1":                                                                    "amd-smi ended: exit status 1",
		"kill -9 $$":                                                                "amd-smi ended: signal: killed",
		"echo '[7]'; exec sleep 1000":                                               "amd-smi:1: a reading's JSON: json: cannot unmarshal number into Go value of type map[string]interface {}",
	} {
		var in sample.Inbox
		if err := program(t, script).Run(t.Context(), &in); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
	if _, err := New(Options{Program: filepath.Join(t.TempDir(), "none")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
