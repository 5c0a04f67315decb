package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/comparison"
	"wattrace/reduce/compare"
)

const manual = `Compares reports of reduce (--format json): is B better than A, and by how much. Operands
are reports, or directories that hold a report.json; -- parts the groups of repeats, of
which the first is the base. Two reports without -- are two groups. Flags may stand
anywhere.

  compare base.json new.json
  compare base-*.json -- new-*.json
  compare --fail-if 'energy_per_output_token > +2%' base-*.json -- new-*.json
  compare --axis power_limit sweep-*.json

The unit is the run, which is one report: how far requests scatter within a run says
nothing of the next run. Four runs of each group are needed to tell any difference from
chance (six pairs with --paired); with fewer the table says ~ and why. Reports that are
not alike (trace, load, devices, driver, power limit, ...) are refused, unless --ignore
says which facts may differ.

With --fail-if the exit status is 1 if a condition holds, else 3 if one cannot be decided,
else 0. Without it the status is 0 whatever the table says, and 3 where no metric could be
compared at all.

--per-device adds rows of single devices. They are of the same runs as the others: they
show where a change is, and are no further evidence of it. Conditions are of all devices.

No program reads whether the clocks of a GPU are locked (nvidia-smi -lgc): the notes say
how high they rose in each group. Application clocks (-ac) are compared where recorded.`

// parting stands for a -- among the operands: package cli would take all behind the first
// for a command, flags too. No path holds a NUL.
const parting = "\x00--"

// Main runs compare with args (without the program's name) and returns its exit status.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			args[i] = parting
		}
	}
	return cli.Main(ctx, cli.Tool{
		Name: "compare", Usage: "differences between reports, with statistics",
		Args: "REPORT.json|DIR... [-- REPORT.json|DIR...]...", Manual: manual, Output: true,
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT` of the comparison: text, json, csv or markdown"},
			&ucli.StringSliceFlag{Name: "fail-if", Usage: "exit status 1 if `CONDITION` holds: [PHASE:]METRIC then < or > and a bound: +2%, '+0.5 J/token' (a difference), '9 J/token' (a value)"},
			&ucli.StringSliceFlag{Name: "phase", Usage: "compare this `PHASE`, or window of one as PHASE/WINDOW; all is every phase (default: those that are measured)"},
			&ucli.StringSliceFlag{Name: "metric", Usage: "compare this `METRIC`, as in energy_per_request, time_to_first_token.p90, '*energy*'; all is every metric (default: the usual ones)"},
			&ucli.StringSliceFlag{Name: "ignore", Usage: "these `FACTS` may differ: " + strings.Join(compare.FactNames(), ", ") + ", or all"},
			&ucli.BoolFlag{Name: "per-device", Usage: "power and energy of each device, too, matched by its UUID; where the groups have other devices by its index, with a note"},
			&ucli.BoolFlag{Name: "paired", Usage: "runs of the groups took turns: those that followed each other, by when they started, belong together"},
			&ucli.Float64Flag{Name: "alpha", Value: 0.05, Usage: "`LEVEL` of each test; intervals are of confidence 1 - LEVEL"},
			&ucli.StringFlag{Name: "axis", Usage: "the groups are a sweep of `power_limit|concurrency`; reports of one group are put into groups by it"},
		},
		Action: action,
	}, args, stdin, stdout, stderr)
}

// forms are the forms of a comparison.
var forms = map[string]func(io.Writer, *compare.Comparison) error{
	"text": comparison.WriteText, "json": comparison.WriteJSON, "csv": comparison.WriteCSV, "markdown": comparison.WriteMarkdown,
}

func action(_ context.Context, env *cli.Env, c *ucli.Context) error {
	write, ok := forms[c.String("format")]
	if !ok {
		return cli.Usagef("--format %q: want text, json, csv or markdown", c.String("format"))
	}
	opt, err := parseOptions(c)
	if err != nil {
		return err
	}
	if env.Force() && env.OutputPath() == "-" {
		return cli.Usagef("--force is of -o")
	}
	paths, err := split(env.Operands, opt.Axis)
	if err != nil {
		return err
	}
	for i, group := range paths {
		for j, path := range group {
			paths[i][j] = reportIn(path)
			env.Reads(paths[i][j])
		}
	}
	out, err := env.Output(cli.OutputOptions{Atomic: true})
	if err != nil {
		return err
	}
	groups, err := open(env, paths)
	if err != nil {
		return err
	}
	if len(groups) == 1 { // split has seen to it that there is an axis
		if groups, err = compare.GroupBy(opt.Axis, groups[0].Runs); err != nil {
			return usage(err)
		}
		if len(groups) == 1 {
			return cli.Usagef("all reports have the same %s: there is nothing to compare", opt.Axis)
		}
	}
	result, err := compare.Compare(groups, opt)
	if err != nil {
		return usage(err)
	}
	result.Producer = cli.Producer()
	if err := write(out, result); err != nil {
		out.Abort()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return outcome(result)
}

// usage makes mistakes in what was asked for of what package compare says of it.
func usage(err error) error {
	var choice *compare.ChoiceError
	var unlike *compare.UnlikeError
	switch {
	case errors.As(err, &choice):
		err = cli.Usagef("%s", choice.Msg)
		if names := near(choice.Asked, choice.Known); len(names) > 0 {
			err = cli.Hint(err, "there are %s", strings.Join(names, ", "))
		} else if choice.Hint != "" {
			err = cli.Hint(err, "%s", choice.Hint)
		}
	case errors.As(err, &unlike):
		err = cli.Hint(cli.Usagef("the reports are not alike:\n%s", unlike), "--ignore %s compares them all the same", strings.Join(unlike.Names(), ","))
	}
	return err
}

// mostNear is how many names a hint has at most.
const mostNear = 6

// near returns the names that somebody may have meant who asked for one that is none: those
// that are spelt nearly so, and those that have all its words.
func near(asked string, known []string) (names []string) {
	for _, n := range known {
		if cli.EditDistance(asked, n) <= max(2, len(asked)/4) || hasWords(n, asked) {
			names = append(names, n)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(cli.EditDistance(asked, a), cli.EditDistance(asked, b)) })
	return names[:min(len(names), mostNear)]
}

// hasWords reports whether a name has all words of another.
func hasWords(name, words string) bool {
	have := strings.Split(name, "_")
	for w := range strings.SplitSeq(words, "_") {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

// outcome is the exit status that the conditions give.
func outcome(c *compare.Comparison) error {
	var lines []string
	say := func(which compare.Outcome) error {
		for _, v := range c.Conditions {
			if v.Outcome == which {
				line := fmt.Sprintf("%s: %s", v.Phase, v.Condition)
				if len(c.Groups) > 2 {
					line = v.Group + ": " + line
				}
				if v.Reason != "" {
					line += ": " + v.Reason
				}
				lines = append(lines, line)
			}
		}
		return errors.New(strings.Join(lines, "\n"))
	}
	switch c.Outcome() {
	case compare.Holds:
		return fmt.Errorf("a condition holds:\n%w", say(compare.Holds))
	case compare.Unsure:
		return cli.Incompletef("a condition cannot be decided:\n%w", say(compare.Unsure))
	}
	if !c.Compared() {
		return cli.Incompletef("nothing was compared: no metric has a value in the base and in another group")
	}
	return nil
}

// parseOptions checks the flags.
func parseOptions(c *ucli.Context) (compare.Options, error) {
	o := compare.Options{Alpha: c.Float64("alpha"), Phases: c.StringSlice("phase"), Paired: c.Bool("paired"), PerDevice: c.Bool("per-device"), Axis: compare.Axis(c.String("axis"))}
	if !(o.Alpha >= 1e-6 && o.Alpha <= 0.5) {
		return o, cli.Usagef("--alpha %v: want a number from 1e-6 to 0.5", o.Alpha)
	}
	switch o.Axis {
	case "", compare.PowerLimitAxis, compare.ConcurrencyAxis:
	default:
		return o, cli.Usagef("--axis %q: want power_limit or concurrency", o.Axis)
	}
	if o.Axis != "" && o.Paired {
		return o, cli.Usagef("--axis and --paired exclude each other")
	}
	if o.Axis != "" && o.PerDevice {
		return o, cli.Usagef("--axis and --per-device exclude each other: a sweep's table is of all devices")
	}
	for _, s := range list(c.StringSlice("metric")) {
		p, err := compare.ParsePattern(s)
		if err != nil {
			return o, cli.Usagef("--metric: %v", err)
		}
		o.Metrics = append(o.Metrics, p)
	}
	o.Ignore = list(c.StringSlice("ignore"))
	for _, name := range o.Ignore {
		if name != "all" && !slices.Contains(compare.FactNames(), name) {
			return o, cli.Usagef("--ignore %q: want some of %s, or all", name, strings.Join(compare.FactNames(), ", "))
		}
	}
	for _, s := range c.StringSlice("fail-if") {
		cond, err := compare.ParseCondition(s)
		if err != nil {
			return o, cli.Usagef("--fail-if: %v", err)
		}
		o.Conditions = append(o.Conditions, cond)
	}
	return o, nil
}

// list splits what is given in one flag by commas, which a space may follow.
func list(given []string) (out []string) {
	for _, s := range given {
		for name := range strings.SplitSeq(s, ",") {
			out = append(out, strings.TrimSpace(name))
		}
	}
	return out
}
