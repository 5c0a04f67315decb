package plan

import (
	"io"
	"sort"

	"wattrace/formats/strictyaml"
	"wattrace/trace"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.plan/1"

// Read reads a whole plan file. Errors of the file are *trace.SyntaxError with
// the position of what is wrong; name is the file's.
func Read(r io.Reader, name string) (trace.Plan, error) {
	f := file{strictyaml.File{Name: name, What: "a plan", Schema: Schema}}
	var p trace.Plan
	var nodes []strictyaml.Node
	body, err := f.Read(r, func(key string, value strictyaml.Node) (err error) {
		switch key {
		case "seed":
			var seed int64
			seed, err = f.Whole(key, value, 0, 1<<53)
			p.Seed = uint64(seed)
		case "phases":
			nodes, err = f.List(key, value)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	if err != nil {
		return p, err
	}
	for _, n := range nodes {
		ph, err := f.phase(n)
		if err != nil {
			return p, err
		}
		p.Phases = append(p.Phases, ph)
	}
	if err := p.Validate(); err != nil {
		return p, f.Errorf(guilty(&p, body, nodes), "%w", err)
	}
	return p, nil
}

// file is the file being read.
type file struct{ strictyaml.File }

// guilty finds where a plan that does not validate goes wrong: at the first
// phase with which the phases so far do not validate either.
func guilty(p *trace.Plan, body strictyaml.Node, nodes []strictyaml.Node) strictyaml.Node {
	i := sort.Search(len(nodes), func(i int) bool {
		sofar := trace.Plan{Phases: append([]trace.Phase(nil), p.Phases[:i+1]...)}
		if last := &sofar.Phases[i]; i < len(nodes)-1 && last.Kind != trace.Idle {
			last.Handover = false // there is a phase after it
		}
		return sofar.Validate() != nil
	})
	if i < len(nodes) {
		return nodes[i]
	}
	return body
}

// checkSchema accepts exactly the versions that this package knows.
func checkSchema(s string) error {
	return strictyaml.File{What: "a plan", Schema: Schema}.CheckSchema(s)
}
