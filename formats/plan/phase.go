package plan

import (
	"math"

	"wattrace/formats/strictyaml"
	"wattrace/trace"
)

func (f file) phase(n strictyaml.Node) (trace.Phase, error) {
	ph := trace.Phase{Kind: trace.Measure}
	err := f.Object(n, "a phase", func(name string, v strictyaml.Node) (err error) {
		if name == "name" {
			ph.Name, err = f.Text(name, v)
			return err
		}
		for _, k := range keys {
			if k.name == name {
				return k.field(&ph).yaml(f, name, v)
			}
		}
		return strictyaml.ErrUnknown
	})
	if i := len(ph.Ramp) - 1; i >= 0 && math.IsNaN(ph.Ramp[i].Value) {
		ph.Ramp[i].Value = ph.Rate
		if ph.Rate == 0 {
			ph.Ramp[i].Value = float64(ph.Concurrency)
		}
	}
	return ph, err
}
