package compare

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"wattrace/reduce"
)

// ofRecord are the metrics of record, which come first.
var ofRecord = []string{reduce.TotalGPUPower, reduce.TotalGPUEnergy, reduce.OutputTokensPerJoule, reduce.EnergyPerUser}

// usual are the metrics that are shown unless others are asked for, where a report has
// them: what users pay and what they wait for.
var usual = []Pattern{
	{Tag: reduce.TotalGPUPower}, {Tag: reduce.TotalGPUEnergy}, {Tag: reduce.OutputTokensPerJoule}, {Tag: reduce.EnergyPerUser},
	{Tag: reduce.EnergyPerOutputToken}, {Tag: reduce.EnergyPerRequest}, {Tag: reduce.WattsPerUser}, {Tag: reduce.NetEnergyPerOutputToken},
	{Tag: reduce.OutputTokenThroughput}, {Tag: reduce.RequestThroughput}, {Tag: reduce.GoodputRatio}, {Tag: reduce.GoodputPerWatt},
	{reduce.TimeToFirstTokenScheduled, "p50"}, {reduce.TimeToFirstTokenScheduled, "p99"},
	{reduce.TimeToFirstToken, "p50"}, {reduce.TimeToFirstToken, "p99"}, {reduce.InterTokenLatency, "p50"}, {reduce.InterTokenLatency, "p99"},
	{reduce.RequestLatencyScheduled, "p50"}, {reduce.RequestLatencyScheduled, "p99"}, {reduce.RequestLatency, "p50"}, {reduce.RequestLatency, "p99"},
}

// usualStatistics are those of a distribution of which none is named.
var usualStatistics = []string{"mean", "p50", "p99"}

// Pattern asks for metrics: a tag, in which * stands for any part of it, and of a
// distribution a statistic ("" are the usual ones).
type Pattern struct{ Tag, Statistic string }

// String is what ParsePattern reads.
func (p Pattern) String() string {
	if p.Statistic == "" {
		return p.Tag
	}
	return p.Tag + "." + p.Statistic
}

// ParsePattern reads TAG or TAG.STATISTIC; "all" is every metric.
func ParsePattern(s string) (Pattern, error) {
	if s == "all" {
		return Pattern{Tag: "*"}, nil
	}
	tag, statistic, has := strings.Cut(s, ".")
	if _, ok := statistics[statistic]; tag == "" || has && !ok {
		return Pattern{}, fmt.Errorf("%q: want TAG or TAG.STATISTIC, where a statistic is one of mean, min, p1, p5, p10, p25, p50, p75, p90, p95, p99, max, std", s)
	}
	if _, err := path.Match(tag, ""); err != nil {
		return Pattern{}, fmt.Errorf("%q: %v", s, err)
	}
	return Pattern{tag, statistic}, nil
}

// metric is what a row is of.
type metric struct {
	tag, statistic string
	device         *deviceChoice // nil is all
}

// ChoiceError says that a choice does not fit the reports.
type ChoiceError struct {
	Msg, Hint string
	Asked     string   // a name that there is not, if that is why
	Known     []string // the names that there are, sorted
}

func (e *ChoiceError) Error() string { return e.Msg }

// tags returns the tags that the reports have in the phases, sorted: those of record
// first.
func (c *comparer) tags() (tags []string) {
	seen := map[string]bool{}
	for _, g := range c.groups {
		for i := range g.Runs {
			for _, name := range c.phases {
				if ph := g.Runs[i].phase(name); ph != nil {
					for tag := range ph.Metrics {
						seen[tag] = true
					}
				}
			}
		}
	}
	for tag := range seen {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	slices.SortStableFunc(tags, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return tags
}

// rank orders metrics as they are usually shown, and the others behind.
func rank(tag string) int {
	if i := slices.IndexFunc(usual, func(p Pattern) bool { return p.Tag == tag }); i >= 0 {
		return i
	}
	return len(usual)
}

// known reports whether a tag is that of a metric, of one of the reports or of any.
func known(tag string, tags []string) bool {
	_, ok := reduce.BetterOf(tag)
	return ok || slices.Contains(tags, tag)
}

// unknownTag says that a tag is none.
func unknownTag(tag string, tags []string) error {
	all := slices.Concat(tags, reduce.Tags())
	slices.Sort(all)
	return &ChoiceError{Msg: fmt.Sprintf("no metric has the name %q", tag), Asked: tag, Known: slices.Compact(all)}
}

// chooseMetrics returns what rows are of.
func (c *comparer) chooseMetrics() (list []metric, err error) {
	patterns := c.opt.Metrics
	if patterns == nil {
		patterns = usual
	}
	tags := c.tags()
	for _, p := range patterns {
		matches := []string{p.Tag}
		if strings.ContainsAny(p.Tag, "*?[") {
			matches = slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { ok, _ := path.Match(p.Tag, tag); return !ok })
			if len(matches) == 0 {
				return nil, &ChoiceError{Msg: fmt.Sprintf("no metric of the reports fits %q", p.Tag)}
			}
		} else if !known(p.Tag, tags) {
			return nil, unknownTag(p.Tag, tags)
		}
		for _, tag := range matches {
			for _, statistic := range c.statisticsOf(tag, p.Statistic) {
				if m := (metric{tag: tag, statistic: statistic}); !slices.Contains(list, m) {
					list = append(list, m)
				}
			}
		}
	}
	return list, nil
}

// statisticsOf returns the statistics that are meant: of a number none.
func (c *comparer) statisticsOf(tag, asked string) []string {
	if asked != "" {
		return []string{asked}
	}
	distribution := c.anyRun(func(r *Run) bool {
		return slices.ContainsFunc(c.phases, func(name string) bool {
			ph := r.phase(name)
			return ph != nil && ph.Metrics[tag].Distribution != nil
		})
	})
	if distribution {
		return usualStatistics
	}
	return []string{""}
}

// shown reports whether a row is of interest: what no report has is shown only if it was
// asked for by name. Unless they are asked for, latencies are those from when a request
// was due in an open loop, where users wait from then on, and else those from when it
// was sent.
func (c *comparer) shown(phase string, m metric) bool {
	if c.opt.Metrics == nil {
		open := c.anyRun(func(r *Run) bool { ph := r.phase(phase); return ph != nil && ph.Load != "" })
		switch m.tag {
		case reduce.TimeToFirstTokenScheduled, reduce.RequestLatencyScheduled:
			if !open {
				return false
			}
		case reduce.TimeToFirstToken, reduce.RequestLatency:
			if open {
				return false
			}
		}
	}
	asked := slices.ContainsFunc(c.opt.Metrics, func(p Pattern) bool { return p.Tag == m.tag })
	return asked || c.anyRun(func(r *Run) bool {
		ph := r.phase(phase)
		if ph == nil {
			return false
		}
		_, ok := ph.Metrics[m.tag]
		return ok
	})
}
