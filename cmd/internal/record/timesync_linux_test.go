package record

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"wattrace/formats/telemetry"
)

// A line of chronyc -c -n tracking, of chrony 4.3: the clock is 21.3 us slow.
const tracking = "C0A80101,192.168.1.1,3,1780000000.123456789,0.000021300,-0.000004100,0.000012000,-12.345,0.001,0.024,0.003400000,0.000250000,64.2,Normal\n"

func TestParseTracking(t *testing.T) {
	t.Parallel()
	want := telemetry.TimeSync{Source: "chrony", Synchronised: true, Offset: -21300, MaxError: 1_950_000, Stratum: 3}
	if got, ok := parseTracking(tracking); !ok || got != want {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
	free := "7F7F0101,,10,0.0,0.000000000,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,Not synchronised\n"
	if got, ok := parseTracking(free); !ok || got.Synchronised {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, bad := range []string{
		"", "506 Cannot talk to daemon\n", "a,b,c\n",
		"C0A80101,x,three,0,0,0,0,0,0,0,0,0,0,Normal\n", "C0A80101,x,3,0,slow,0,0,0,0,0,0,0,0,Normal\n", "C0A80101,x,3,0,NaN,0,0,0,0,0,0,0,0,Normal\n",
	} {
		if got, ok := parseTracking(bad); ok {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

// TestTimeSync has a chronyc that answers, one that hangs, and none.
func TestTimeSync(t *testing.T) {
	dir := t.TempDir()
	script := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "chronyc"), []byte("#!/bin/sh\n"+text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	script("[ \"$*\" = '-c -n tracking' ] && echo " + tracking)
	if got := timeSync(); got.Source != "chrony" || got.Stratum != 3 {
		t.Errorf("%+v", got)
	}
	script("exec sleep 60\n")
	begin := time.Now()
	if got := timeSync(); got.Source == "chrony" || time.Since(begin) > 30*time.Second {
		t.Errorf("%+v after %v", got, time.Since(begin))
	}
	os.Remove(filepath.Join(dir, "chronyc"))
	if got := timeSync(); got.Source != "kernel" && got != (telemetry.TimeSync{}) {
		t.Errorf("%+v", got)
	}
}

// TestUnit has systemd look at the unit, where it is.
func TestUnit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze")
	}
	unit, err := os.ReadFile(filepath.Join("..", "..", "record", "record.service"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "wattrace-record.service")
	if err := os.WriteFile(path, unit, 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
