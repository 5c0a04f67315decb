package measure

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"wattrace/formats/requests"
	"wattrace/formats/summary"
	"wattrace/formats/telemetry"
	"wattrace/reduce"
	"wattrace/trace"
)

// record are the metrics that a summary has of each phase: those of record, and those that
// say how the load went.
var record = []string{
	"total_gpu_power", "total_gpu_energy", "output_tokens_per_joule", "energy_per_user",
	"average_gpu_power", "net_gpu_energy", "energy_per_output_token", "energy_per_request", "watts_per_user",
	"output_token_throughput", "total_token_throughput", "request_throughput",
	"time_to_first_token", "inter_token_latency", "request_latency",
}

// readReport takes from the report what the summary repeats.
func (r *run) readReport(before, after *spotAt, checked bool) error {
	path := r.path("report.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var rep reduce.Report
	if err := json.Unmarshal(b, &rep); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if rep.Schema != reduce.Schema {
		return fmt.Errorf("%s: schema %q, want %s: reduce is of another version", path, rep.Schema, reduce.Schema)
	}
	var window *reduce.Phase
	for i := range rep.Phases {
		ph := &rep.Phases[i]
		if checked && ph.Kind == "window" && ph.Name == checkWindow {
			window = ph
			continue
		}
		r.sum.Phases = append(r.sum.Phases, phaseOf(ph))
	}
	for _, w := range rep.Warnings {
		if w.Phase == checkWindow && window != nil && w.Code != reduce.WarnNotBracketed && w.Code != reduce.WarnMissing {
			continue // the window holds all phases, which were warned of themselves
		}
		r.sum.Warnings = append(r.sum.Warnings, summary.Warning{Code: string(w.Code), Message: w.Message, Phase: w.Phase})
	}
	r.sum.EnergyCheck = r.energyCheck(before, after, window)
	return r.readHeads()
}

func phaseOf(ph *reduce.Phase) summary.Phase {
	out := summary.Phase{
		Name: ph.Name, Kind: ph.Kind, Start: ph.Start, End: ph.End, DurationSeconds: ph.DurationSeconds,
		Concurrency: ph.Concurrency, Metrics: map[string]summary.Metric{},
	}
	if q := ph.Requests; q != nil {
		out.Requests = &summary.Requests{Sent: q.Sent, Succeeded: q.Succeeded, Failed: q.Failed, Cancelled: q.Cancelled}
	}
	if d := ph.Devices; d != nil {
		out.Devices = &summary.Devices{Expected: d.Expected, Seen: d.Seen, Missing: append([]string{}, d.Missing...)}
	}
	for _, tag := range record {
		m, ok := ph.Metrics[tag]
		if !ok {
			continue
		}
		to := summary.Metric{Unit: m.Unit}
		if n := m.Number; n != nil {
			to.Value, to.Method, to.DevicesCovered = &n.Value, n.Method, n.DevicesCovered
			if u := n.Uncertainty; u != nil {
				to.Uncertainty = &summary.Uncertainty{Random: u.Random, Systematic: u.Systematic}
			}
		}
		if d := m.Distribution; d != nil {
			to.Mean, to.P50, to.P90, to.P99, to.Count = &d.Mean, &d.P50, &d.P90, &d.P99, &d.Count
		}
		out.Metrics[tag] = to
	}
	return out
}

// energyCheck compares the counters with the report.
func (r *run) energyCheck(before, after *spotAt, window *reduce.Phase) *summary.EnergyCheck {
	c := &summary.EnergyCheck{Method: checkMethod}
	switch {
	case !r.o.spots():
		c.Absent = "only NVML's counters are read"
		return c
	case before == nil || after == nil:
		c.Absent = "the counters were not read both before and after the load"
		return c
	}
	rise := reduce.Rise(before.Spot, after.Spot)
	if rise.Devices == 0 {
		c.Absent = "no GPU has an energy counter that both readings know"
		return c
	}
	c.Window, c.Start, c.End = checkWindow, stamp(before.at), stamp(after.at)
	c.Devices, c.CounterJoules = rise.Devices, &rise.Joules
	if v, ok := rise.Resolution.Get(); ok {
		c.ResolutionJoules = &v
	}
	if len(rise.Lacking) > 0 {
		c.Absent = fmt.Sprintf("the counters of %v cannot be compared", rise.Lacking)
		return c
	}
	if window == nil || window.Metrics["total_gpu_energy"].Number == nil {
		c.Absent = "the report has no energy of this interval"
		return c
	}
	n := window.Metrics["total_gpu_energy"].Number
	if n.DevicesCovered != rise.Devices {
		c.Absent = fmt.Sprintf("the report's energy is that of %d GPUs", n.DevicesCovered)
		return c
	}
	difference := n.Value - rise.Joules
	c.ReportJoules, c.DifferenceJoules = &n.Value, &difference
	if rise.Joules > 0 {
		relative := difference / rise.Joules
		c.DifferenceRelative = &relative
	}
	return c
}

// readHeads takes what the files say at their beginning: clocks, devices, the trace's hash.
func (r *run) readHeads() error {
	clocks := summary.Clocks{}
	if f, err := os.Open(r.path("requests.jsonl")); err == nil {
		defer f.Close()
		var rec requests.Record
		in := requests.NewReader(bufio.NewReaderSize(f, 64<<10), f.Name())
		if err := in.Read(&rec); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if rec.Type == requests.TypeRun {
			clocks.Requests = clockOf(rec.Run.Clock)
			if t := r.sum.Trace; t != nil && rec.Run.Trace.SHA256 != t.SHA256 {
				return fmt.Errorf("%s changed while it was measured: its SHA-256 was %s, and replay sent %s", t.Path, t.SHA256, rec.Run.Trace.SHA256)
			}
		}
	}
	f, err := os.Open(r.path("power.arrows"))
	if err != nil {
		return nil // which the report says
	}
	defer f.Close()
	in, err := telemetry.NewReader(f, f.Name())
	if err != nil {
		return nil
	}
	head := in.Head()
	clocks.Telemetry = clockOf(head.Clock)
	r.sum.Clocks = &clocks
	for _, d := range head.Devices {
		driver := d.Driver
		if driver == "" {
			driver = head.Info.Driver
		}
		r.sum.Devices = append(r.sum.Devices, summary.Device{
			Device: d.ID, DeviceIndex: d.Index, Host: d.Host, Name: d.Name, Source: string(d.Source), Scope: string(d.Scope),
			Architecture: d.Architecture, Driver: driver, PCIBusID: d.PCIBusID, MIG: d.MIG, Simulated: d.Simulated,
		})
	}
	return nil
}

func clockOf(c trace.Clock) *summary.Clock {
	out := &summary.Clock{Host: c.Host, BootID: c.BootID, UnixNanos: strconv.FormatInt(c.Anchor.UnixNanos, 10)}
	if c.Anchor.BootNanos != 0 {
		out.BootNanos = strconv.FormatInt(c.Anchor.BootNanos, 10)
	}
	if c.Anchor.MonotonicNanos != 0 {
		out.MonotonicNanos = strconv.FormatInt(c.Anchor.MonotonicNanos, 10)
	}
	return out
}

// quoteJSON returns s as a JSON string, of which Marshal cannot fail.
func quoteJSON(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
