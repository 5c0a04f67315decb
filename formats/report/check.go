package report

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"wattrace/reduce"
)

// neverNegative are figures that no run can have below 0: what reduce takes off them, as
// idle power, stands in others.
var neverNegative = []string{
	reduce.GPUEnergy, reduce.GPUPower, reduce.TotalGPUEnergy, reduce.TotalGPUEnergyWh, reduce.TotalGPUPower, reduce.AverageGPUPower, reduce.PeakGPUPower,
	reduce.OutputTokensPerJoule, reduce.EnergyPerOutputToken, reduce.EnergyPerRequest, reduce.EnergyPerUser, reduce.WattsPerUser, reduce.GPUPowerLimit,
}

// checkPhase refuses what no phase can have: times, energies, counts and uncertainties
// below 0. It names the field.
func checkPhase(ph *reduce.Phase) error {
	if s := ph.DurationSeconds; s != nil && *s < 0 {
		return fmt.Errorf("duration_seconds is %g: no phase ends before it starts", *s)
	}
	counts := []count64{{"concurrency", int64(ph.Concurrency)}}
	if r := ph.Requests; r != nil {
		counts = append(counts, count64{"requests.sent", r.Sent}, count64{"requests.succeeded", r.Succeeded}, count64{"requests.failed", r.Failed}, count64{"requests.cancelled", r.Cancelled})
	}
	if d := ph.Devices; d != nil {
		counts = append(counts, count64{"devices.expected", int64(d.Expected)}, count64{"devices.seen", int64(d.Seen)})
	}
	for _, c := range counts {
		if c.n < 0 {
			return fmt.Errorf("%s is %d: no count is negative", c.field, c.n)
		}
	}
	if t := ph.Tokens; t != nil && (t.Input != nil && *t.Input < 0 || t.Output != nil && *t.Output < 0) {
		return errors.New("tokens: no count is negative")
	}
	err := checkMetrics("metrics", ph.Metrics)
	for i := range ph.PerDevice {
		err = cmp.Or(err, checkMetrics(fmt.Sprintf("per_device[%d].metrics", i), ph.PerDevice[i].Metrics))
	}
	return err
}

type count64 struct {
	field string
	n     int64
}

func checkMetrics(field string, metrics map[string]reduce.Metric) error {
	for _, tag := range slices.Sorted(maps.Keys(metrics)) {
		m := metrics[tag]
		where := fmt.Sprintf("%s.%.60s", field, tag)
		switch n, d := m.Number, m.Distribution; {
		case n != nil && n.Value < 0 && slices.Contains(neverNegative, tag):
			return fmt.Errorf("%s.value is %g: that can't be negative", where, n.Value)
		case n != nil && n.Uncertainty != nil && (n.Uncertainty.Random < 0 || n.Uncertainty.Systematic < 0):
			return fmt.Errorf("%s.uncertainty: none is negative", where)
		case n != nil && n.DevicesCovered < 0:
			return fmt.Errorf("%s.devices_covered is %d: no count is negative", where, n.DevicesCovered)
		case d != nil && d.Count < 0:
			return fmt.Errorf("%s.count is %d: no count is negative", where, d.Count)
		}
	}
	return nil
}
