package reduce

import (
	"slices"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/reduce"
)

// Flags are the flags that say how inputs are to be read and figures to be made of them:
// those of Follow. The others of reduce are of its own output.
func Flags() []ucli.Flag {
	return slices.Concat([]ucli.Flag{
		&ucli.IntFlag{Name: "expect-devices", Usage: "`N` GPUs should have been seen"},
		&ucli.StringSliceFlag{Name: "window", Usage: "one more window, which may overlap the phases: `NAME=START..END`, in RFC 3339 or Unix seconds"},
		&ucli.StringFlag{Name: "energy-source", Usage: "which method gives the energy: `auto|counter|power`", Value: "auto"},
		&ucli.Float64Flag{Name: "idle-watts", Usage: "all GPUs together draw `W` watts at rest"},
		&ucli.DurationFlag{Name: "idle-head", Usage: "the recording's first `TIME` was at rest"},
		&ucli.StringFlag{Name: "steady", Usage: "rule of the steady window: `wattrace|mlenergy`", Value: "wattrace"},
		&ucli.StringSliceFlag{Name: "slo", Usage: "a good request has `ttft=TIME`, itl=TIME or latency=TIME at most"},
		&ucli.Float64Flag{Name: "price", Usage: "of energy, per kWh, in any currency: `N`"},
		&ucli.Float64Flag{Name: "carbon", Usage: "of energy, `GRAMS` of CO2e per kWh"},
		&ucli.BoolFlag{Name: "mig-board", Usage: "a partitioned board's energy is the server's: say it per token"},
		&ucli.BoolFlag{Name: "keep-going", Usage: "use what precedes the fault of a damaged recording, and leave rows out that are wrong"},
	}, inputFlags())
}

// Follow reduces the operands as reduce does with the same flags, and follows the run over
// time, in so many steps at most; the course is nil where nothing has a place in time. The
// operands are looked at as by reduce: standard input first.
func Follow(env *cli.Env, c *ucli.Context, operands []string, steps int) (*reduce.Report, *reduce.Course, error) {
	opt, err := parseOptions(c)
	if err != nil {
		return nil, nil, err
	}
	if opt.inputs, err = parseInputs(env, c); err != nil {
		return nil, nil, err
	}
	opt.reduce.Course, opt.reports = steps, true
	s := newJob(opt)
	rep, err := s.report(env, operands)
	return rep, s.course, err
}
