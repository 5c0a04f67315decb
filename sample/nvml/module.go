package nvml

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var pciAddress = regexp.MustCompile(`^([0-9A-Fa-f]{4,8}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})\.([0-7])$`)

// socketOf finds the CPU socket that a PCI device is at, from Linux's /sys
// below root: the device's NUMA node, a CPU of that, its package.
func socketOf(root, busID string) (socket int, ok bool) {
	m := pciAddress.FindStringSubmatch(busID)
	if m == nil {
		return 0, false
	}
	domain, err := strconv.ParseUint(m[1], 16, 32)
	if err != nil {
		return 0, false
	}
	number := func(path ...string) (int, bool) {
		text, err := os.ReadFile(filepath.Join(append([]string{root, "sys"}, path...)...))
		if err != nil {
			return 0, false
		}
		// The first of a list, as 72 of "72-143".
		first := strings.TrimRight(string(text), "\n")
		if i := strings.IndexAny(first, "-,"); i > 0 {
			first = first[:i]
		}
		n, err := strconv.Atoi(first)
		return n, err == nil && n >= 0 // -1 is no node
	}
	// NVML writes eight digits and capitals, Linux at least four, small.
	address := strings.ToLower(fmt.Sprintf("%04x:%s:%s.%s", domain, m[2], m[3], m[4]))
	node, ok := number("bus", "pci", "devices", address, "numa_node")
	if !ok {
		return 0, false
	}
	cpu, ok := number("devices", "system", "node", fmt.Sprintf("node%d", node), "cpulist")
	if !ok {
		return 0, false
	}
	return number("devices", "system", "cpu", fmt.Sprintf("cpu%d", cpu), "topology", "physical_package_id")
}

// moduleOf names the module that a GPU is on: "host:socket0".
func moduleOf(root, host, busID string) string {
	socket, ok := socketOf(root, busID)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s:socket%d", host, socket)
}
