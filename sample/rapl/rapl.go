package rapl

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/sample/sysfs"
)

// Source reads all domains of the host, which are one unit: a reading of one
// takes microseconds.
type Source struct {
	domains []*domain
	now     func() time.Time
}

var _ sample.Source = (*Source)(nil)

// domain is one counter.
type domain struct {
	sample.Device
	counter *os.File
	lost    string // why there is no file; "" is that there is
	span    uint64 // microjoules after which the counter is 0 again; 0 is unknown

	begun  bool
	at     time.Time // of the reading before
	raw    uint64
	joules counted
}

// counted is a sum of microjoules, which float64 would round.
type counted uint64

func (c counted) joules() float64 { return float64(c) / 1e6 }

var (
	directory = regexp.MustCompile(`^([a-z-]+):(\d+)((?::\d+)*)$`)
	socket    = regexp.MustCompile(`^package-(\d+(?:-die-\d+)?)$`)
)

// zone is a directory of the tree.
type zone struct {
	path   string
	kind   string // "intel-rapl", "intel-rapl-mmio"
	number string // "0" of intel-rapl:0:1
	name   string
}

// Open finds the domains.
func Open(o Options) (*Source, error) {
	root := cmp.Or(o.Root, "/sys/class/powercap")
	zones, err := find(root)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	s := &Source{now: time.Now}
	denied := error(nil)
	oneCore := coreOfOne(cmp.Or(o.CPUInfo, "/proc/cpuinfo"))
	for _, z := range zones {
		d := &domain{Device: sample.Device{Host: host, Index: len(s.domains), Source: sample.RAPL, Name: z.name}}
		where := z.name
		switch name := z.name; {
		case socket.MatchString(name):
			d.Scope = sample.ScopeCPUPackage
		case name == "dram":
			d.Scope = sample.ScopeDRAM
		case name == "core" && !oneCore:
			d.Scope = sample.ScopeCPURail
		case name == "psys":
			d.Scope = sample.ScopePlatform
		default:
			continue
		}
		if d.Scope != sample.ScopePlatform {
			if where = packageOf(zones, z); where == "" {
				continue // a part of what is not known
			}
		}
		d.ID = fmt.Sprintf("%s:%s:%s", sample.RAPL, host, where)
		if slices.ContainsFunc(s.domains, func(e *domain) bool { return e.ID == d.ID && e.Scope == d.Scope }) {
			if d.Scope != sample.ScopePlatform {
				continue // the same by memory-mapped registers, which come second
			}
			d.ID += "-" + z.number
		}
		d.span, _ = number(filepath.Join(z.path, "max_energy_range_uj"))
		if d.counter, err = os.Open(filepath.Join(z.path, "energy_uj")); err != nil {
			denied, d.lost = err, sysfs.Status(err)
		}
		s.domains = append(s.domains, d)
	}
	switch {
	case len(s.domains) == 0:
		return nil, fmt.Errorf("%w: none in %s", ErrNone, root)
	case !slices.ContainsFunc(s.domains, func(d *domain) bool { return d.lost == "" }):
		return nil, fmt.Errorf("RAPL: no domain can be read: %w", denied)
	}
	return s, nil
}

// find lists the zones: registers before memory, packages in order.
func find(root string) ([]zone, error) {
	entries, err := os.ReadDir(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	case err != nil:
		return nil, fmt.Errorf("RAPL: %w", err)
	}
	var zones []zone
	for _, e := range entries {
		m := directory.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		z := zone{path: filepath.Join(root, e.Name()), kind: m[1], number: m[2] + m[3]}
		if z.name = text(filepath.Join(z.path, "name")); z.name != "" {
			zones = append(zones, z)
		}
	}
	slices.SortStableFunc(zones, func(a, b zone) int {
		return cmp.Or(cmp.Compare(len(a.kind), len(b.kind)), cmp.Compare(a.kind, b.kind), compareNumbers(a.number, b.number))
	})
	return zones, nil
}

// compareNumbers puts 2:1 before 10.
func compareNumbers(a, b string) int {
	parts := func(s string) (all []int) {
		for p := range strings.SplitSeq(s, ":") {
			n, _ := strconv.Atoi(p)
			all = append(all, n)
		}
		return all
	}
	return slices.Compare(parts(a), parts(b))
}

// packageOf returns the number of the package that a zone is or is part of, as
// "0" or "0-die-1".
func packageOf(zones []zone, z zone) string {
	top, _, _ := strings.Cut(z.number, ":")
	for _, p := range zones {
		if p.kind == z.kind && p.number == top {
			if m := socket.FindStringSubmatch(p.name); m != nil {
				return m[1]
			}
		}
	}
	return ""
}

// coreOfOne reports whether the processors are of a maker whose core counter is
// that of one core.
func coreOfOne(cpuinfo string) bool {
	f, err := os.Open(cpuinfo)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "vendor_id" {
			v := strings.TrimSpace(value)
			return v == "AuthenticAMD" || v == "HygonGenuine"
		}
	}
	return false
}

func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(b)), "?")
}

func number(path string) (uint64, error) { return strconv.ParseUint(text(path), 10, 64) }

// Info describes the source.
func (s *Source) Info() sample.Info {
	return sample.Info{Source: sample.RAPL, API: "Linux powercap", Metrics: []sample.MetricID{sample.EnergyJoules}}
}

// Devices lists the domains, packages with their parts in order.
func (s *Source) Devices() []sample.Device {
	all := make([]sample.Device, len(s.domains))
	for i, d := range s.domains {
		all[i] = d.Device
	}
	return all
}

// Units has all domains in one.
func (s *Source) Units() [][]int { return sample.Together(len(s.domains)) }

// Read reads every counter.
func (s *Source) Read(_ int, _ bool, rows []sample.Row) {
	for i, d := range s.domains {
		if why := d.read(s.now); why != "" {
			rows[i].Fail(sample.EnergyJoules, why)
		} else {
			rows[i].Set(sample.EnergyJoules, d.joules.joules())
		}
	}
}

// read brings the sum up to date, or says why there is none.
func (d *domain) read(now func() time.Time) (why string) {
	if d.lost != "" {
		return d.lost
	}
	raw, why := sysfs.Number(d.counter)
	if why != "" {
		return why
	}
	at := now()
	passed, before := at.Sub(d.at), d.raw
	first := !d.begun
	d.begun, d.at, d.raw = true, at, raw
	switch {
	case first:
	case d.span > 0 && passed.Seconds()*maxWatts > float64(d.span)/2e6:
		d.joules = 0
		return "WRAPPED_MORE_THAN_ONCE"
	case raw >= before:
		d.joules += counted(raw - before)
	case d.span < before: // unknown, or not what the counter keeps to
		d.joules = 0
		return "RESET"
	default:
		d.joules += counted(d.span - before + raw)
	}
	return ""
}

// Close closes the files.
func (s *Source) Close() error {
	var all error
	for _, d := range s.domains {
		if d.counter != nil {
			all = errors.Join(all, d.counter.Close())
		}
	}
	return all
}
