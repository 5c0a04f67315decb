package hwmon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
)

// write puts files below root: "hwmon0/device/power1_average" and its text.
func write(t *testing.T, root string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(root, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, root string) *Source {
	t.Helper()
	s, err := Open(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// readings are the rows of one reading: average, instant, headline or status.
func readings(s *Source) (all []string) {
	b := &sample.Batch{Devices: s.Devices()}
	var rows []sample.Row
	for i := range s.Devices() {
		rows = append(rows, b.Append(i, 0, 0))
	}
	s.Read(0, false, rows)
	for i := range b.Len() {
		line := b.Status[i]
		for _, id := range []sample.MetricID{sample.PowerAverageWatts, sample.PowerInstantWatts, sample.PowerWatts} {
			if v, ok := b.Float(id, i); ok {
				line += fmt.Sprint(" ", id, "=", v)
			}
		}
		all = append(all, line)
	}
	return all
}

// TestGrace has a GH200 of two sockets, as older kernels and newer ones show
// it, beside what is none of ours.
func TestGrace(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for n, what := range []string{"Module Power Socket 0", "Grace Power Socket 0", "CPU Power Socket 0", "SysIO Power Socket 0"} {
		dir := fmt.Sprintf("hwmon%d/", n)
		write(t, root, dir+"name", "power_meter", dir+"device/power1_oem_info", what, dir+"device/power1_average", fmt.Sprint((n+1)*100_500_000),
			dir+"device/power1_average_interval", "50")
	}
	write(t, root,
		"hwmon10/name", "power_meter", "hwmon10/power1_oem_info", "Module Power socket 1", "hwmon10/power1_average", "612345678",
		"hwmon9/name", "amdgpu", "hwmon9/power1_average", "1",
		"hwmon8/name", "power_meter", "hwmon8/power1_oem_info", "DRAM Power Socket 0", "hwmon8/power1_average", "1",
		"hwmon7/name", "nvme", "hwmon7/temp1_input", "1",
		"hwmon6/device/name", "power_meter", "hwmon6/device/power1_input", "77000000", "hwmon6/device/power1_average_interval", "1000",
		"hwmon5/name", "power_meter", "hwmon5/power1_oem_info", "CPU Power Socket 0", "hwmon5/power1_average", "1",
	)
	s := open(t, root)
	host, _ := os.Hostname()
	var got []string
	for _, d := range s.Devices() {
		got = append(got, strings.ReplaceAll(fmt.Sprintf("%s %s %d %q %s", d.ID, d.Scope, d.Index, d.Name, d.Module), host, "H"))
	}
	want := []string{
		`hwmon:H:0 module 0 "Module Power Socket 0 (average of 50 ms)" H:socket0`,
		`hwmon:H:0 cpu_package 0 "Grace Power Socket 0 (average of 50 ms)" H:socket0`,
		`hwmon:H:0 cpu_rail 0 "CPU Power Socket 0 (average of 50 ms)" H:socket0`,
		`hwmon:H:0 io_rail 0 "SysIO Power Socket 0 (average of 50 ms)" H:socket0`,
		`hwmon:H:0 board 0 "Total power" `,
		`hwmon:H:1 module 1 "Module Power socket 1" H:socket1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	want = []string{
		" power_average_watts=100.5 power_watts=100.5", " power_average_watts=201 power_watts=201",
		" power_average_watts=301.5 power_watts=301.5", " power_average_watts=402 power_watts=402",
		" power_instant_watts=77 power_watts=77", " power_average_watts=612.345678 power_watts=612.345678",
	}
	if diff := cmp.Diff(want, readings(s)); diff != "" {
		t.Error(diff)
	}
	if got, want := s.Info().API, "Linux hwmon, without hwmon5: CPU Power Socket 0, which is there already, hwmon8: DRAM Power Socket 0"; got != want {
		t.Errorf("API %q, want %q", got, want)
	}
	if diff := cmp.Diff([][]int{{0, 1, 2, 3, 4, 5}}, s.Units()); diff != "" {
		t.Error(diff)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{root, filepath.Join(root, "none")} {
		if _, err := Open(Options{Root: dir}); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	write(t, root, "hwmon0/name", "power_meter")
	if _, err := Open(Options{Root: root}); err == nil || !strings.Contains(err.Error(), "no power meter can be read: ") {
		t.Error(err)
	}
	write(t, root, "hwmon1/name", "power_meter", "hwmon1/power1_average", "-5")
	s := open(t, root)
	write(t, root, "hwmon2/name", "power_meter", "hwmon2/power1_average", "1000000")
	if diff := cmp.Diff([]string{"power_watts=NOT_FOUND", "power_watts=NOT_A_NUMBER"}, readings(s)); diff != "" {
		t.Error(diff)
	}
}
