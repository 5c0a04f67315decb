package plan

import (
	"wattrace/formats/strictyaml"
	"wattrace/trace"
)

func (f file) phase(n strictyaml.Node) (trace.Phase, error) {
	ph := trace.Phase{Kind: trace.Measure}
	err := f.Object(n, "a phase", func(key string, v strictyaml.Node) (err error) {
		var count int64
		switch key {
		case "name":
			ph.Name, err = f.Text(key, v)
		case "kind":
			var kind string
			kind, err = f.Text(key, v)
			ph.Kind = trace.PhaseKind(kind)
		case "concurrency":
			count, err = f.Whole(key, v, 1, 1<<20)
			ph.Concurrency = int(count)
		case "requests":
			ph.Requests, err = f.Whole(key, v, 1, 1<<53)
		case "first_line":
			ph.FirstLine, err = f.Whole(key, v, 1, 1<<53)
		case "duration":
			ph.Duration, err = f.Duration(key, v)
		case "grace":
			ph.Grace, err = f.Duration(key, v)
		case "handover":
			ph.Handover, err = f.Boolean(key, v)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	return ph, err
}
