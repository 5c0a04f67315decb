package measure

import (
	"fmt"
	"os"
	"path/filepath"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/plan"
	"wattrace/trace"
)

// perUser is how many synthetic requests each of a closed loop's slots sends when
// nothing else is said.
const perUser = 10

// forAWhile is how many synthetic prompts there are for a load that a time ends.
const forAWhile = 1000

// readPlan reads --phases; without it the plan is empty.
func (o *options) readPlan() (trace.Plan, error) {
	if o.phases == "" {
		return trace.Plan{}, nil
	}
	f, err := os.Open(o.phases)
	if err != nil {
		return trace.Plan{}, err
	}
	defer f.Close()
	return plan.Read(f, o.phases)
}

// planOf makes the plan of a run: that of --phases or of the flags, with a rest before and
// after where it has none. concurrency 0 is what the plan says, or 1.
func (o *options) planOf(given trace.Plan, concurrency int) (trace.Plan, error) {
	p := trace.Plan{Seed: given.Seed}
	if o.isSet("seed") {
		p.Seed = o.seed
	}
	p.Phases = append(p.Phases, given.Phases...)
	if o.phases == "" {
		p.Phases = o.loadPhases(concurrency)
	} else if concurrency > 0 {
		for i := range p.Phases {
			ph := &p.Phases[i]
			if ph.Kind == trace.Idle {
				continue
			}
			if ph.LoadKind() != trace.ClosedLoop || len(ph.Ramp) > 0 {
				return p, cli.Usagef("--concurrency: phase %q of %s is no closed loop of a constant concurrency", ph.Name, o.phases)
			}
			ph.Concurrency = concurrency
		}
	}
	if o.idle > 0 {
		if first := p.Phases[0]; first.Kind != trace.Idle {
			p.Phases = append([]trace.Phase{{Name: free(&p, "idle_before"), Kind: trace.Idle, Duration: o.idle}}, p.Phases...)
		} else if o.isSet("idle") {
			return p, cli.Usagef("--idle: the plan %s begins with a rest of its own", o.phases)
		}
		if last := p.Phases[len(p.Phases)-1]; last.Kind != trace.Idle {
			p.Phases = append(p.Phases, trace.Phase{Name: free(&p, "idle_after"), Kind: trace.Idle, Duration: o.idle})
		}
	}
	if err := p.Validate(); err != nil {
		return p, cli.Usagef("the load: %v", err)
	}
	return p, nil
}

// loadPhases are those of the flags.
func (o *options) loadPhases(concurrency int) (phases []trace.Phase) {
	main := trace.Phase{Name: "profiling", Kind: trace.Measure, Requests: o.requests, Duration: o.duration, Grace: o.grace}
	main.Rate, main.Concurrency = o.rate, concurrency
	if concurrency == 0 && o.rate == 0 {
		main.Concurrency = 1
	}
	if o.trace == "" && main.Requests == 0 && main.Duration == 0 {
		main.Requests = int64(perUser * max(main.Concurrency, 1))
	}
	if o.warmup > 0 {
		warmup := main
		warmup.Name, warmup.Kind, warmup.Requests, warmup.Duration = "warmup", trace.Warmup, o.warmup, 0
		phases = append(phases, warmup)
		if o.trace == "" {
			main.FirstLine = o.warmup + 1 // prompts that no cache has seen
		}
	}
	return append(phases, main)
}

// prompts returns how many synthetic prompts a plan needs, so that none is sent twice if
// that can be known.
func (o *options) prompts(p *trace.Plan) int64 {
	if o.phases != "" {
		if o.requests > 0 {
			return o.requests
		}
		var n int64
		for _, ph := range p.Phases {
			n = max(n, ph.FirstLine-1+ph.Requests)
		}
		return max(n, forAWhile)
	}
	n := o.requests
	if n == 0 && o.duration > 0 {
		n = forAWhile
	}
	for _, ph := range p.Phases {
		n = max(n, max(ph.FirstLine-1, 0)+ph.Requests)
	}
	return min(n, mostRequests)
}

// free returns a name that no phase of the plan has.
func free(p *trace.Plan, name string) string {
	for n := 1; ; n++ {
		candidate := name
		if n > 1 {
			candidate = fmt.Sprintf("%s_%d", name, n)
		}
		taken := false
		for _, ph := range p.Phases {
			taken = taken || ph.Name == candidate
		}
		if !taken {
			return candidate
		}
	}
}

// writePlan writes plan.yaml, which replay reads.
func writePlan(dir string, p *trace.Plan) (path string, err error) {
	path = filepath.Join(dir, "plan.yaml")
	return path, writeWhole(path, func(f *os.File) error { return plan.Write(f, p) })
}
