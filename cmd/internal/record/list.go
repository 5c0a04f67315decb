package record

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"wattrace/sample"
)

// listPause is between the two readings of --list: some metrics are means over
// the time since the reading before.
const listPause = 150 * time.Millisecond

// list prints the devices that are asked, and what each says now.
func list(w io.Writer, s *sources) error {
	devices := s.devices()
	if err := listDevices(w, devices); err != nil || len(devices) == 0 {
		return err
	}
	b := &sample.Batch{Devices: devices}
	s.readAll(b)
	time.Sleep(listPause)
	s.readAll(b)
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return s.listMetrics(w, b)
}

// readAll reads every unit in full.
func (s *sources) readAll(b *sample.Batch) {
	base := 0
	for _, src := range s.pulled {
		for unit, places := range src.Units() {
			var rows []sample.Row
			for _, i := range places {
				rows = append(rows, b.Append(base+i, s.clock.Now(), 0))
			}
			src.Read(unit, true, rows)
		}
		base += len(src.Devices())
	}
}

// identity is what the scopes of one device have in common.
type identity struct {
	id     string
	source sample.SourceName
}

func identityOf(d *sample.Device) identity { return identity{d.ID, d.Source} }

// listDevices prints a line per device, with the scopes that it has.
func listDevices(w io.Writer, devices []sample.Device) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "INDEX\tDEVICE\tNAME\tPCI BUS ID\tARCHITECTURE\tDRIVER\tMIG\tMPS\tSCOPES")
	or := func(s string) string {
		if s == "" {
			return "?"
		}
		return s
	}
	on := map[bool]string{false: "off", true: "on"}
	for i := range devices {
		d := &devices[i]
		same := func(o sample.Device) bool { return identityOf(&o) == identityOf(d) }
		if slices.ContainsFunc(devices[:i], same) {
			continue
		}
		var scopes []string
		for _, o := range devices[i:] {
			if same(o) {
				scopes = append(scopes, string(o.Scope))
			}
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Index, d.ID, or(d.Name), or(d.PCIBusID), or(d.Architecture), or(d.Driver),
			on[d.MIG], on[d.MPS], strings.Join(scopes, ","))
	}
	return t.Flush()
}

// listMetrics prints a line per scope and metric and a column per device: the
// value of the latest reading that has one, or why there is none.
func (s *sources) listMetrics(w io.Writer, b *sample.Batch) error {
	type row struct {
		scope  sample.Scope
		metric sample.MetricID
	}
	cells := map[row]map[identity]string{}
	var columns []identity
	var heads []string
	var scopes []sample.Scope
	for i := range b.Devices {
		d := &b.Devices[i]
		if !slices.Contains(columns, identityOf(d)) {
			columns = append(columns, identityOf(d))
			heads = append(heads, strconv.Itoa(d.Index))
		}
		if !slices.Contains(scopes, d.Scope) {
			scopes = append(scopes, d.Scope)
		}
	}
	set := func(d *sample.Device, id sample.MetricID, text string) {
		at := row{d.Scope, id}
		if cells[at] == nil {
			cells[at] = map[identity]string{}
		}
		cells[at][identityOf(d)] = text
	}
	for i, place := range b.Device {
		d := &b.Devices[place]
		for _, failure := range strings.Split(b.Status[i], ",") {
			name, reason, _ := strings.Cut(failure, "=")
			if id, ok := sample.MetricByName(name); ok {
				set(d, id, reason)
			}
		}
		for id := range sample.NumMetrics {
			if v, ok := valueOf(b, id, i); ok {
				set(d, id, v)
			}
		}
		if d.Scope == sample.ScopeGPU && s.mayHave(d.Source, sample.XIDError) {
			set(d, sample.XIDError, "when it happens")
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "SCOPE\tMETRIC\tUNIT\t%s\n", strings.Join(heads, "\t"))
	for _, scope := range scopes {
		for id := range sample.NumMetrics {
			of := cells[row{scope, id}]
			if of == nil {
				continue
			}
			unit := sample.Metrics[id].Unit
			if unit == "" {
				unit = "-"
			}
			fmt.Fprintf(t, "%s\t%s\t%s", scope, id, unit)
			for _, c := range columns {
				text := of[c]
				if text == "" {
					text = "-"
				}
				fmt.Fprintf(t, "\t%s", text)
			}
			fmt.Fprintln(t)
		}
	}
	return t.Flush()
}

// mayHave reports whether a source says that it may have a metric.
func (s *sources) mayHave(source sample.SourceName, id sample.MetricID) bool {
	return slices.ContainsFunc(s.infos, func(i sample.Info) bool { return i.Source == source && slices.Contains(i.Metrics, id) })
}

// valueOf writes a value as it is in a recording; masks are hexadecimal.
func valueOf(b *sample.Batch, id sample.MetricID, i int) (string, bool) {
	if v, ok := b.Float(id, i); ok {
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	v, ok := b.Uint(id, i)
	if sample.Metrics[id].Kind == sample.Mask {
		return fmt.Sprintf("%#x", v), ok
	}
	return strconv.FormatUint(v, 10), ok
}
