package hwmon

import (
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

	"wattrace/sample"
	"wattrace/sample/sysfs"
)

// Source reads all meters of the host, which are one unit.
type Source struct {
	meters  []*meter
	leftOut []string
}

var _ sample.Source = (*Source)(nil)

// meter is one sensor.
type meter struct {
	sample.Device
	power   *os.File
	average bool   // the file is power1_average
	lost    string // why there is no file; "" is that there is
}

var (
	directory = regexp.MustCompile(`^hwmon(\d+)$`)
	grace     = regexp.MustCompile(`(?i)^(module|grace|cpu|sysio) power socket (\d+)$`)
)

var scopes = map[string]sample.Scope{
	"module": sample.ScopeModule, "grace": sample.ScopeCPUPackage, "cpu": sample.ScopeCPURail, "sysio": sample.ScopeIORail,
}

// Open finds the meters.
func Open(o Options) (*Source, error) {
	root := cmp.Or(o.Root, "/sys/class/hwmon")
	entries, err := os.ReadDir(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	case err != nil:
		return nil, fmt.Errorf("hwmon: %w", err)
	}
	numbers := []int{} // hwmon10 comes after hwmon9
	for _, e := range entries {
		if m := directory.FindStringSubmatch(e.Name()); m != nil {
			n, _ := strconv.Atoi(m[1])
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	s := &Source{}
	denied := error(nil)
	boards := 0
	for _, n := range numbers {
		dir := filepath.Join(root, fmt.Sprint("hwmon", n))
		if text(dir, "name") != "power_meter" {
			continue
		}
		what := text(dir, "power1_oem_info")
		m := &meter{Device: sample.Device{Host: host, Source: sample.HWMon, Name: cmp.Or(what, "Total power")}}
		if match := grace.FindStringSubmatch(what); match != nil {
			m.Scope = scopes[strings.ToLower(match[1])]
			m.Index, _ = strconv.Atoi(match[2])
			m.Module = fmt.Sprintf("%s:socket%s", host, match[2])
		} else if what == "" {
			m.Scope, m.Index = sample.ScopeBoard, boards
			boards++
		} else {
			s.leftOut = append(s.leftOut, fmt.Sprintf("hwmon%d: %s", n, what))
			continue
		}
		m.ID = fmt.Sprintf("%s:%s:%d", sample.HWMon, host, m.Index)
		if slices.ContainsFunc(s.meters, func(o *meter) bool { return o.ID == m.ID && o.Scope == m.Scope }) {
			s.leftOut = append(s.leftOut, fmt.Sprintf("hwmon%d: %s, which is there already", n, what))
			continue
		}
		if err := m.open(dir); err != nil {
			denied, m.lost = err, sysfs.Status(err)
		}
		s.meters = append(s.meters, m)
	}
	switch {
	case len(s.meters) == 0 && len(s.leftOut) > 0:
		return nil, fmt.Errorf("%w that is known: %s", ErrNone, strings.Join(s.leftOut, ", "))
	case len(s.meters) == 0:
		return nil, fmt.Errorf("%w: none in %s", ErrNone, root)
	case !slices.ContainsFunc(s.meters, func(m *meter) bool { return m.lost == "" }):
		s.Close()
		return nil, fmt.Errorf("hwmon: no power meter can be read: %w", denied)
	}
	return s, nil
}

// open opens the file of the meter's power.
func (m *meter) open(dir string) error {
	f, err := attribute(dir, "power1_average")
	m.average = err == nil
	if errors.Is(err, fs.ErrNotExist) {
		f, err = attribute(dir, "power1_input")
	}
	if err != nil {
		return err
	}
	m.power = f
	if ms, err := strconv.ParseUint(text(dir, "power1_average_interval"), 10, 64); err == nil && m.average && ms > 0 {
		m.Name += fmt.Sprintf(" (average of %d ms)", ms)
	}
	return nil
}

// attribute opens a file of a meter: kernels have it in the directory or, as
// all had it once, in that of its device.
func attribute(dir, name string) (*os.File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(dir, "device", name))
	}
	return f, err
}

func text(dir, name string) string {
	f, err := attribute(dir, name)
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [256]byte
	n, _ := f.Read(b[:])
	return strings.ToValidUTF8(strings.TrimSpace(string(b[:n])), "?")
}

// Info describes the source, with what was left out.
func (s *Source) Info() sample.Info {
	api := "Linux hwmon"
	if len(s.leftOut) > 0 {
		api += ", without " + strings.Join(s.leftOut, ", ")
	}
	return sample.Info{Source: sample.HWMon, API: api, Metrics: []sample.MetricID{sample.PowerWatts, sample.PowerInstantWatts, sample.PowerAverageWatts}}
}

// Devices lists the meters in the order of their directories' numbers.
func (s *Source) Devices() []sample.Device {
	all := make([]sample.Device, len(s.meters))
	for i, m := range s.meters {
		all[i] = m.Device
	}
	return all
}

// Units has all meters in one.
func (s *Source) Units() [][]int { return sample.Together(len(s.meters)) }

// Read reads every meter.
func (s *Source) Read(_ int, _ bool, rows []sample.Row) {
	for i, m := range s.meters {
		watts, why := m.read()
		if why != "" {
			rows[i].Fail(sample.PowerWatts, why)
			continue
		}
		rows[i].Set(sample.PowerWatts, watts)
		if m.average {
			rows[i].Set(sample.PowerAverageWatts, watts)
		} else {
			rows[i].Set(sample.PowerInstantWatts, watts)
		}
	}
}

func (m *meter) read() (watts float64, why string) {
	if m.lost != "" {
		return 0, m.lost
	}
	microwatts, why := sysfs.Number(m.power)
	return float64(microwatts) / 1e6, why
}

// Close closes the files.
func (s *Source) Close() error {
	var all error
	for _, m := range s.meters {
		if m.power != nil {
			all = errors.Join(all, m.power.Close())
		}
	}
	return all
}
