package record

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/sample"
	"wattrace/sample/nvml"
)

// chooser finds the GPUs that --devices names.
type chooser struct {
	nvml.Inventory
	lookup func(string) (string, bool) // os.LookupEnv
}

// The variables of CUDA that --devices cuda goes by.
const (
	cudaVisible = "CUDA_VISIBLE_DEVICES"
	cudaOrder   = "CUDA_DEVICE_ORDER"
)

// choose returns the places of the GPUs in the inventory, each once.
func (c *chooser) choose(list string) ([]int, error) {
	var chosen []int
	named := map[int]string{}
	for _, entry := range strings.Split(list, ",") {
		entry = strings.TrimSpace(entry)
		gpus, err := c.entry(entry)
		if err != nil {
			return nil, err
		}
		for _, g := range gpus {
			if before, double := named[g]; double {
				return nil, cli.Usagef("--devices %s: %s and %s are one GPU", list, before, entry)
			}
			named[g] = entry
			chosen = append(chosen, g)
		}
	}
	return chosen, nil
}

// entry finds what one entry of the list names.
func (c *chooser) entry(entry string) ([]int, error) {
	if entry == "cuda" {
		return c.cuda()
	}
	g, err := c.find("--devices", entry)
	return []int{g}, err
}

var (
	isIndex = regexp.MustCompile(`^[0-9]+$`)
	isPCI   = regexp.MustCompile(`^(?:([0-9A-Fa-f]{4,8}):)?([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})(?:\.([0-7]))?$`)
)

// find finds one GPU: by its index, its PCI address, its UUID or the beginning
// of that, or an instance on it. what is where the name stands.
func (c *chooser) find(what, name string) (int, error) {
	var is func(d *sample.Device) bool
	instance := strings.HasPrefix(name, "MIG-")
	if uuid, old := strings.CutPrefix(name, "MIG-GPU-"); old {
		// Before driver 470: the board's UUID and the numbers of the instance.
		uuid, _, _ = strings.Cut(uuid, "/")
		name, instance = "GPU-"+uuid, false
	}
	switch {
	case instance:
		if g, ok := c.Board(name); ok {
			return g, nil
		}
		is = func(*sample.Device) bool { return false }
	case isIndex.MatchString(name):
		is = func(d *sample.Device) bool { return strconv.Itoa(d.Index) == name }
	case isPCI.MatchString(name):
		address := pciOf(name)
		is = func(d *sample.Device) bool { return pciOf(d.PCIBusID) == address }
	default:
		is = func(d *sample.Device) bool {
			return name != "" && len(d.UUID) >= len(name) && strings.EqualFold(d.UUID[:len(name)], name)
		}
	}
	found := -1
	for g := range c.GPUs {
		switch {
		case !is(&c.GPUs[g]):
		case found >= 0:
			return 0, c.usage("%s: %q is more than one GPU", what, name)
		default:
			found = g
		}
	}
	if found < 0 {
		return 0, c.usage("%s: no GPU is %q", what, name)
	}
	return found, nil
}

// pciOf writes a PCI address in one way; "" is none.
func pciOf(s string) string {
	m := isPCI.FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	domain, _ := strconv.ParseUint("0"+m[1], 16, 64) // as the expression has it
	if m[4] == "" {
		m[4] = "0"
	}
	return strings.ToLower(fmt.Sprintf("%x:%s:%s.%s", domain, m[2], m[3], m[4]))
}

// cuda returns the GPUs that a CUDA program of this environment sees.
func (c *chooser) cuda() ([]int, error) {
	list, set := c.lookup(cudaVisible)
	var chosen []int
	if !set {
		for g := range c.GPUs {
			chosen = append(chosen, g)
		}
		return chosen, nil
	}
	boards := map[int]bool{} // of instances: several may be on one
	for _, entry := range strings.Split(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "" || strings.HasPrefix(entry, "-") {
			break // CUDA, too, looks no further
		}
		if isIndex.MatchString(entry) && !c.numbered() {
			return nil, cli.Hint(cli.Usagef("%s=%s: CUDA numbers GPUs of several models by speed", cudaVisible, list),
				"set %s=PCI_BUS_ID for the server as for record, or name UUIDs", cudaOrder)
		}
		g, err := c.find(cudaVisible, entry)
		if err != nil {
			return nil, err
		}
		instance := strings.HasPrefix(entry, "MIG-")
		switch {
		case !slices.Contains(chosen, g):
			chosen = append(chosen, g)
			boards[g] = instance
		case !instance || !boards[g]:
			return nil, cli.Usagef("%s=%s: %s is there already", cudaVisible, list, entry)
		}
	}
	if len(chosen) == 0 {
		return nil, cli.Usagef("%s=%s: a CUDA program sees no GPU", cudaVisible, list)
	}
	return chosen, nil
}

// numbered reports whether CUDA's numbers are NVML's.
func (c *chooser) numbered() bool {
	if order, _ := c.lookup(cudaOrder); order == "PCI_BUS_ID" {
		return true
	}
	return !slices.ContainsFunc(c.GPUs, func(d sample.Device) bool { return d.Name == "" || d.Name != c.GPUs[0].Name })
}

// usage is a mistake, with what there is.
func (c *chooser) usage(format string, args ...any) error {
	var have []string
	for i := range c.GPUs {
		d := &c.GPUs[i]
		have = append(have, strings.TrimSpace(fmt.Sprintf("%d %s %s", d.Index, d.UUID, d.PCIBusID)))
	}
	hint := "this host has no GPUs"
	if have != nil {
		hint = "there are " + strings.Join(have, ", ")
	}
	return cli.Hint(cli.Usagef(format, args...), "%s", hint)
}
