package report

import (
	"fmt"
	"slices"

	"wattrace/reduce"
)

// neverNegative are figures that no run can have below 0: what reduce takes off them, as
// idle power, stands in others.
var neverNegative = []string{
	reduce.GPUEnergy, reduce.GPUPower, reduce.TotalGPUEnergy, reduce.TotalGPUEnergyWh, reduce.TotalGPUPower, reduce.AverageGPUPower, reduce.PeakGPUPower,
	reduce.OutputTokensPerJoule, reduce.EnergyPerOutputToken, reduce.EnergyPerRequest, reduce.EnergyPerUser, reduce.WattsPerUser, reduce.GPUPowerLimit,
	reduce.OutputTokenThroughput, reduce.TotalTokenThroughput, reduce.RequestThroughput,
}

// checkPhase refuses what no phase can have: times, energies, counts and uncertainties
// below 0. It names the field.
func checkPhase(ph *reduce.Phase) error {
	for _, key := range []string{"duration_seconds", "concurrency", "requests", "tokens", "devices", "metrics", "per_device"} {
		if err := checkMember(key, ph); err != nil {
			return err
		}
	}
	return nil
}

// checkMember is checkPhase of one member.
func checkMember(key string, ph *reduce.Phase) error {
	switch key {
	case "duration_seconds":
		if s := ph.DurationSeconds; s != nil && *s < 0 {
			return fmt.Errorf("%s is %g: no phase ends before it starts", key, *s)
		}
	case "concurrency":
		return checkCount(key, float64(ph.Concurrency))
	case "requests":
		if r := ph.Requests; r != nil {
			return checkCounts(key, []string{"sent", "succeeded", "failed", "cancelled", "unended"}, r.Sent, r.Succeeded, r.Failed, r.Cancelled, r.Unended)
		}
	case "tokens":
		if t := ph.Tokens; t != nil && t.Input != nil && *t.Input < 0 {
			return checkCount("tokens.input", *t.Input)
		}
		if t := ph.Tokens; t != nil && t.Output != nil {
			return checkCount("tokens.output", *t.Output)
		}
	case "devices":
		if d := ph.Devices; d != nil {
			return checkCounts(key, []string{"expected", "seen"}, int64(d.Expected), int64(d.Seen))
		}
	case "metrics":
		return checkMetrics(key, ph.Metrics)
	case "per_device":
		for i := range ph.PerDevice {
			if err := checkMetrics(fmt.Sprintf("%s[%d].metrics", key, i), ph.PerDevice[i].Metrics); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkCounts(key string, names []string, counts ...int64) error {
	for i, n := range counts {
		if err := checkCount(key+"."+names[i], float64(n)); err != nil {
			return err
		}
	}
	return nil
}

func checkCount(field string, n float64) error {
	if n < 0 {
		return fmt.Errorf("%s is %g: no count is negative", field, n)
	}
	return nil
}

// checkMetrics names the first of the metrics that are wrong, in the order of their tags.
func checkMetrics(field string, metrics map[string]reduce.Metric) error {
	first := ""
	for tag := range metrics {
		if m := metrics[tag]; (first == "" || tag < first) && checkMetric("", tag, &m) != nil {
			first = tag
		}
	}
	if m, ok := metrics[first]; ok {
		return checkMetric(fmt.Sprintf("%s.%.60s", field, first), first, &m)
	}
	return nil
}

func checkMetric(where, tag string, m *reduce.Metric) error {
	switch n, d := m.Number, m.Distribution; {
	case n != nil && n.Value < 0 && slices.Contains(neverNegative, tag):
		return fmt.Errorf("%s.value is %g: that can't be negative", where, n.Value)
	case n != nil && n.Uncertainty != nil && (n.Uncertainty.Random < 0 || n.Uncertainty.Systematic < 0):
		return fmt.Errorf("%s.uncertainty: none is negative", where)
	case n != nil && n.DevicesCovered < 0:
		return checkCount(where+".devices_covered", float64(n.DevicesCovered))
	case d != nil && d.Count < 0:
		return checkCount(where+".count", float64(d.Count))
	}
	return nil
}
