package compare

import (
	"math"
	"slices"
	"strconv"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

// Interval is a range of values.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// excludes reports whether v is outside.
func (i *Interval) excludes(v float64) bool { return i != nil && (v < i.Low || v > i.High) }

// exactPairs bounds the exact distribution of U, by the product of the sizes; beyond it
// the normal one stands for it, as benchmath has it from 50 of each on.
const exactPairs = 50 * 50

// summarise returns the median of a sample and an interval from its order statistics,
// which is nil where there are too few values.
func summarise(values []float64, confidence float64) (median float64, ci *Interval) {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds), confidence)
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) || len(values) < 2 {
		return s.Center, nil
	}
	return s.Center, &Interval{s.Lo, s.Hi}
}

// unpairedP is the two-sided p of the Mann-Whitney U test.
func unpairedP(a, b []float64, alpha float64) float64 {
	t := &benchmath.Thresholds{CompareAlpha: alpha}
	return roundP(benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(a), t), benchmath.NewSample(slices.Clone(b), t)).P)
}

// roundP rounds a p that may be more than 1 by rounding, or twice a half and more.
func roundP(p float64) float64 { return min(roundTo6(p), 1) }

// hodgesLehmann returns the median of values, which are sorted, and the interval between
// those that have so many outside on each side; below 0 there is none.
func hodgesLehmann(values []float64, outside int) (median float64, ci *Interval) {
	n := len(values)
	median = (values[(n-1)/2] + values[n/2]) / 2
	if outside < 0 || 2*outside >= n {
		return median, nil
	}
	return median, &Interval{values[outside], values[n-1-outside]}
}

// ratio and difference are how two runs are set against each other.
func ratio(base, new float64) float64      { return new / base }
func difference(base, new float64) float64 { return new - base }

// unpaired returns the median of all changes from a run of a to one of b, by Hodges and
// Lehmann, and the interval that has those changes for which the U test would find no
// difference.
func unpaired(a, b []float64, change func(base, new float64) float64, alpha float64) (float64, *Interval) {
	all := make([]float64, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			all = append(all, change(x, y))
		}
	}
	slices.Sort(all)
	return hodgesLehmann(all, criticalU(len(a), len(b), alpha))
}

// criticalU returns the largest U that is significant on two sides; -1 where none is.
func criticalU(m, n int, alpha float64) int {
	if m*n > exactPairs {
		mean, sigma := float64(m)*float64(n)/2, math.Sqrt(float64(m)*float64(n)*float64(m+n+1)/12)
		return int(math.Floor(mean - 0.5 - float64(stats.StdNormal.InvCDF(1-alpha/2)*sigma)))
	}
	d, u := stats.UDist{N1: m, N2: n}, -1
	for u < m*n/2 && d.CDF(float64(u+1)) <= alpha/2+1e-12 {
		u++
	}
	return u
}

// needed returns how many runs of each kind it takes, at least, to find any difference.
func needed(paired bool, alpha float64) int {
	for n := 2; ; n++ {
		if enough(n, n, paired, alpha) {
			return n
		}
	}
}

// enough reports whether so many runs can show a difference at all: the most extreme of
// the orders that chance could have brought about is rare enough.
func enough(m, n int, paired bool, alpha float64) bool {
	least := 2.0
	if paired {
		for range n {
			least /= 2
		}
	} else {
		for i := 1; i <= n; i++ {
			least *= float64(i) / float64(m+i)
		}
	}
	return m > 0 && n > 0 && least <= alpha*(1+1e-9)
}

// paired does what unpaired does for runs that belong together: Walsh averages of the
// changes of all pairs, and Wilcoxon's signed ranks. Of ratios the averages are geometric.
func paired(a, b []float64, relative bool, alpha float64) (p, median float64, ci *Interval) {
	var changes []float64
	for i := range a {
		if relative {
			changes = append(changes, ratio(a[i], b[i]))
		} else {
			changes = append(changes, difference(a[i], b[i]))
		}
	}
	var walsh []float64
	for i, x := range changes {
		for _, y := range changes[i:] {
			if relative {
				walsh = append(walsh, math.Sqrt(x*y))
			} else {
				walsh = append(walsh, (x+y)/2)
			}
		}
	}
	slices.Sort(walsh)
	median, ci = hodgesLehmann(walsh, criticalW(len(changes), alpha))
	return roundP(signedRankP(changes, relative)), median, ci
}

// signedRankP is the two-sided p of Wilcoxon's signed rank test, exact with ties; pairs
// that do not differ are left out, as Wilcoxon did.
func signedRankP(changes []float64, relative bool) float64 {
	type rank struct {
		size float64 // how far from no change; monotone in it
		up   bool
	}
	var ranks []rank
	for _, c := range changes {
		switch {
		case relative && c > 1:
			ranks = append(ranks, rank{c, true})
		case relative && c < 1:
			ranks = append(ranks, rank{1 / c, false})
		case !relative && c != 0:
			ranks = append(ranks, rank{math.Abs(c), c > 0})
		}
	}
	slices.SortFunc(ranks, func(x, y rank) int {
		switch {
		case x.size < y.size:
			return -1
		case x.size > y.size:
			return 1
		}
		return 0
	})
	twice := make([]int, len(ranks)) // the ranks, doubled: those of ties are their mean
	up := 0
	for i := 0; i < len(ranks); {
		j := i
		for j < len(ranks) && ranks[j].size == ranks[i].size {
			j++
		}
		for k := i; k < j; k++ {
			twice[k] = i + 1 + j
			if ranks[k].up {
				up += twice[k]
			}
		}
		i = j
	}
	below, above := 0.0, 0.0
	for sum, share := range signedRanks(twice) {
		if sum <= up {
			below += share
		}
		if sum >= up {
			above += share
		}
	}
	return min(1, 2*min(below, above))
}

// signedRanks returns how likely each sum of those ranks that point up is where up and
// down are as likely.
func signedRanks(ranks []int) []float64 {
	share := []float64{1}
	for _, r := range ranks {
		next := make([]float64, len(share)+r)
		for sum, s := range share {
			next[sum] += s / 2
			next[sum+r] += s / 2
		}
		share = next
	}
	return share
}

// criticalW returns the largest sum of ranks that is significant on two sides; -1 where
// none is.
func criticalW(n int, alpha float64) int {
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i + 1
	}
	below := 0.0
	for sum, share := range signedRanks(ranks) {
		if below += share; below > alpha/2+1e-12 {
			return sum - 1
		}
	}
	return -1
}

// quantile returns how many standard uncertainties an interval reaches to each side.
func quantile(alpha float64) float64 { return roundTo6(stats.StdNormal.InvCDF(1 - alpha/2)) }

// roundTo6 keeps six digits: the last ones of what transcendental functions return differ
// from processor to processor.
func roundTo6(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	return v
}
