package rapl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
)

// tree is a powercap directory that a test writes.
type tree struct {
	t    *testing.T
	root string
}

func newTree(t *testing.T) *tree {
	t.Helper()
	t.Parallel()
	return &tree{t, t.TempDir()}
}

// zone adds a zone, or changes its counter.
func (tr *tree) zone(dir, name string, microjoules, span uint64) {
	tr.t.Helper()
	tr.write(dir, "name", name+"\n")
	tr.write(dir, "energy_uj", fmt.Sprintln(microjoules))
	tr.write(dir, "max_energy_range_uj", fmt.Sprintln(span))
}

func (tr *tree) write(dir, file, text string) {
	tr.t.Helper()
	if err := os.MkdirAll(filepath.Join(tr.root, dir), 0o777); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tr.root, dir, file), []byte(text), 0o666); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) open() *Source {
	tr.t.Helper()
	s, err := Open(Options{Root: tr.root, CPUInfo: filepath.Join(tr.root, "cpuinfo")})
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			tr.t.Error(err)
		}
	})
	return s
}

// identity is what tells domains apart, less the host.
func identities(s *Source) (all []string) {
	host, _ := os.Hostname()
	for _, d := range s.Devices() {
		all = append(all, fmt.Sprint(d.ID[len("rapl:"+host+":"):], " ", d.Scope, " ", d.Name))
	}
	return all
}

// read reads the first n domains: joules, or the status.
func read(s *Source, n int) (all []any) {
	b := &sample.Batch{Devices: s.Devices()}
	var rows []sample.Row
	for i := range s.Devices() {
		rows = append(rows, b.Append(i, 0, 0))
	}
	s.Read(0, true, rows)
	for i := range n {
		if v, ok := b.Float(sample.EnergyJoules, i); ok {
			all = append(all, v)
		} else {
			all = append(all, b.Status[i])
		}
	}
	return all
}

func want(t *testing.T, got []any, want ...any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDomains has a server of two sockets whose numbers are not the zones', a
// platform counter, a package that memory-mapped registers show again, and the
// graphics of a client.
func TestDomains(t *testing.T) {
	tr := newTree(t)
	for _, z := range [][2]string{
		{"intel-rapl", ""},
		{"intel-rapl:0", "package-1"}, {"intel-rapl:0:0", "core"}, {"intel-rapl:0:1", "dram"},
		{"intel-rapl:1", "package-0"}, {"intel-rapl:1:0", "dram"}, {"intel-rapl:1:1", "uncore"},
		{"intel-rapl:2", "psys"}, {"intel-rapl:10", "psys"}, {"intel-rapl:11", "package-2-die-1"},
		{"intel-rapl-mmio:0", "package-0"}, {"intel-rapl-mmio:0:0", "dram"}, {"intel-rapl-mmio:1", "package-7"},
		{"dtpm:0", "package-9x"},
	} {
		tr.zone(z[0], z[1], 1, 1e9)
	}
	got := identities(tr.open())
	wanted := []string{
		"1 cpu_package package-1", "1 cpu_rail core", "1 dram dram", "0 cpu_package package-0", "0 dram dram",
		"psys platform psys", "psys-10 platform psys", "2-die-1 cpu_package package-2-die-1", "7 cpu_package package-7",
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Error(diff)
	}
}

// TestCoreOfAMD: the counter is one core's.
func TestCoreOfAMD(t *testing.T) {
	tr := newTree(t)
	tr.zone("intel-rapl:0", "package-0", 1, 1e9)
	tr.zone("intel-rapl:0:0", "core", 1, 1e9)
	tr.write(".", "cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\n")
	if diff := cmp.Diff([]string{"0 cpu_package package-0"}, identities(tr.open())); diff != "" {
		t.Error(diff)
	}
}

// TestEnergy follows a counter of 100 kJ around its end, and over a time in
// which it may have gone around twice.
func TestEnergy(t *testing.T) {
	tr := newTree(t)
	const span = 100e9
	tr.zone("intel-rapl:0", "package-0", 99_999e6, span)
	tr.zone("intel-rapl:1", "package-1", 5e6, 0)
	s := tr.open()
	var at time.Time
	s.now = func() time.Time { return at }
	step := func(d time.Duration, a, b uint64) []any {
		at = at.Add(d)
		tr.zone("intel-rapl:0", "package-0", a, span)
		tr.zone("intel-rapl:1", "package-1", b, 0)
		return read(s, 2)
	}
	want(t, step(0, 99_999e6, 5e6), 0.0, 0.0)
	want(t, step(time.Second, 99_999_500_001, 6e6), 0.500001, 1.0)
	want(t, step(time.Second, 250e6, 7_000_001), 0.5+0.5+250, 2.000001)
	want(t, step(time.Second, 250e6, 1e6), 251.0, "energy_joules=RESET")
	want(t, step(24*time.Second, 300e6, 2e6), 301.0, 1.0)
	want(t, step(26*time.Second, 400e6, 3e6), "energy_joules=WRAPPED_MORE_THAN_ONCE", 2.0)
	want(t, step(time.Second, 401e6, 4e6), 1.0, 3.0)
}

// TestSums: what float64 would round, were it added up in joules, is exact.
func TestSums(t *testing.T) {
	tr := newTree(t)
	tr.zone("intel-rapl:0", "package-0", 0, 1<<62)
	s := tr.open()
	read(s, 1)
	for i := range uint64(1000) {
		tr.zone("intel-rapl:0", "package-0", (i+1)*100_001, 1<<62)
		read(s, 1)
	}
	want(t, read(s, 1), 100.001)
}

// TestUnreadable: one domain is a status, all are an error.
func TestUnreadable(t *testing.T) {
	tr := newTree(t)
	tr.zone("intel-rapl:0", "package-0", 7e6, 1e12)
	tr.zone("intel-rapl:1", "package-1", 7e6, 1e12)
	for i, dir := range []string{"intel-rapl:0", "intel-rapl:1"} {
		path := filepath.Join(tr.root, dir, "energy_uj")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Root: tr.root})
		if i == 1 {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("all domains unreadable: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want(t, read(s, 2), "energy_joules=NOT_FOUND", 0.0)
		s.Close()
	}
}

// TestPermission: what root alone may read is an error that says so.
func TestPermission(t *testing.T) {
	tr := newTree(t)
	tr.zone("intel-rapl:0", "package-0", 7e6, 1e12)
	path := filepath.Join(tr.root, "intel-rapl:0", "energy_uj")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(path); err == nil {
		f.Close()
		t.Skip("root may read everything")
	}
	if _, err := Open(Options{Root: tr.root}); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	tr.zone("intel-rapl:1", "package-1", 7e6, 1e12)
	want(t, read(tr.open(), 2), "energy_joules=NO_PERMISSION", 0.0)
}

func TestNone(t *testing.T) {
	tr := newTree(t)
	for _, root := range []string{tr.root, filepath.Join(tr.root, "none")} {
		if _, err := Open(Options{Root: root}); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", root, err)
		}
	}
	tr.write("intel-rapl:0", "name", "package-0\n")
	tr.write("intel-rapl:0", "energy_uj", "many\n")
	want(t, read(tr.open(), 1), "energy_joules=NOT_A_NUMBER")
}
