package replay

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"wattrace/trace"
)

// look reads what the kernel tells.
func (m *Machine) look() {
	var set unix.CPUSet
	first := 0
	if unix.SchedGetaffinity(0, &set) == nil && set.Count() > 0 {
		m.CPUs = trace.Some(set.Count())
		for !set.IsSet(first) {
			first++
		}
	}
	if b, err := os.ReadFile("/sys/devices/system/cpu/cpu" + strconv.Itoa(first) + "/cpufreq/scaling_governor"); err == nil {
		m.Governor = strings.TrimSpace(string(b))
	}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		m.CPUModel = cpuModel(f)
		f.Close()
	}
	if b, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		m.CPUQuota = cpuQuota(b, os.ReadFile)
	}
}

// cpuModel finds the processor's name in /proc/cpuinfo, which not all
// architectures have there.
func cpuModel(r io.Reader) string {
	for s := bufio.NewScanner(r); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// cpuQuota returns the least of the limits of a process's cgroups and of those
// above them, in processors. cgroups are what /proc/self/cgroup has.
func cpuQuota(cgroups []byte, read func(string) ([]byte, error)) (quota trace.Opt[float64]) {
	note := func(quotaText, periodText string) {
		q, err := strconv.ParseFloat(quotaText, 64)
		p, errPeriod := strconv.ParseFloat(periodText, 64)
		if err == nil && errPeriod == nil && q > 0 && p > 0 && q/p < quota.Or(q/p+1) {
			quota = trace.Some(q / p)
		}
	}
	for line := range bytes.Lines(cgroups) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for at := path.Join("/", parts[2]); ; at = path.Dir(at) {
			if parts[1] == "" { // version 2
				if b, err := read(path.Join("/sys/fs/cgroup", at, "cpu.max")); err == nil {
					if f := strings.Fields(string(b)); len(f) == 2 {
						note(f[0], f[1])
					}
				}
			} else if strings.Contains(","+parts[1]+",", ",cpu,") {
				q, err := read(path.Join("/sys/fs/cgroup/cpu", at, "cpu.cfs_quota_us"))
				p, errPeriod := read(path.Join("/sys/fs/cgroup/cpu", at, "cpu.cfs_period_us"))
				if err == nil && errPeriod == nil {
					note(strings.TrimSpace(string(q)), strings.TrimSpace(string(p)))
				}
			}
			if at == "/" {
				break
			}
		}
	}
	return quota
}
