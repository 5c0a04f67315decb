package compare

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"golang.org/x/perf/benchmath"
)

// Interval is a range of values.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// excludes reports whether v is outside.
func (i *Interval) excludes(v float64) bool { return i != nil && (v < i.Low || v > i.High) }

// exactRuns bounds the exact distribution of U; beyond it the normal one stands for it, as
// in benchmath.
const exactRuns = 50

// summarise returns the median of a sample and an interval from its order statistics,
// which is nil where there are too few values.
func summarise(values []float64, confidence float64) (median float64, ci *Interval) {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds), confidence)
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) || len(values) < 2 {
		return s.Center, nil
	}
	return s.Center, &Interval{s.Lo, s.Hi}
}

// unpairedP is the two-sided p of the Mann-Whitney U test, twice that of the rarer side,
// exact to 50 runs of each (25 with ties). benchmath's is the same where no values are
// equal; where some are, it takes U of one group by the distribution of the other's, and
// says something else when the groups are swapped.
func unpairedP(a, b []float64) float64 {
	twice, ties := midranks(slices.Concat(a, b))
	if most := max(len(a), len(b)); most > exactRuns || ties && most > exactRuns/2 {
		t := &benchmath.DefaultThresholds
		return roundTo6(benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(a), t), benchmath.NewSample(slices.Clone(b), t)).P)
	}
	seen := 0
	for _, r := range twice[:len(a)] {
		seen += r
	}
	if !ties {
		u := (seen - len(a)*(len(a)+1)) / 2
		return roundTo6(twoSided(rankSums(len(a), len(b)), u))
	}
	// By how many ways so many of the ranks have each sum.
	ways := make([][]float64, len(a)+1)
	total := 0
	for _, r := range twice {
		total += r
	}
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for i, r := range twice {
		for k := min(i+1, len(a)); k > 0; k-- {
			for sum := total; sum >= r; sum-- {
				ways[k][sum] += ways[k-1][sum-r]
			}
		}
	}
	return roundTo6(twoSided(ways[len(a)], seen))
}

// twoSided returns twice the share of what is weighted that lies at v or beyond it, on the
// side where that is less.
func twoSided(weights []float64, v int) float64 {
	below, above, all := 0.0, 0.0, 0.0
	for i, w := range weights {
		all += w
		if i <= v {
			below += w
		}
		if i >= v {
			above += w
		}
	}
	return min(1, 2*min(below, above)/all)
}

// midranks returns twice the rank of each value, where those that are equal have the mean
// of their ranks, and whether some are.
func midranks(values []float64) (twice []int, ties bool) {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(values[i], values[j]) })
	twice = make([]int, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			twice[k] = i + 1 + j
		}
		ties = ties || j-i > 1
		i = j
	}
	return twice, ties
}

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
	if max(m, n) > exactRuns {
		mean, sigma := float64(m)*float64(n)/2, math.Sqrt(float64(m)*float64(n)*float64(m+n+1)/12)
		return max(-1, int(math.Floor(mean-0.5-float64(quantile(alpha)*sigma))))
	}
	return critical(rankSums(m, n), alpha)
}

// critical returns the largest value whose chance, and that of all below it, is at most
// alpha/2; -1 where there is none.
func critical(chance []float64, alpha float64) int {
	below := 0.0
	for v, p := range chance {
		if below += p; below > alpha/2+1e-12 {
			return v - 1
		}
	}
	return -1
}

// rankSums returns how likely each U of m and n runs is where both groups are alike and no
// two values are equal. The largest of all values is of either group by its share: U is
// then that of a run less, plus n if it was one of the m.
func rankSums(m, n int) []float64 {
	rows := make([][]float64, n+1) // of i runs of the one, by runs of the other
	for j := range rows {
		rows[j] = []float64{1}
	}
	for i := 1; i <= m; i++ {
		for j := 1; j <= n; j++ {
			chance := make([]float64, i*j+1)
			mine := float64(i) / float64(i+j)
			for u, p := range rows[j] { // of i-1
				chance[u+j] += float64(mine * p)
			}
			for u, p := range rows[j-1] {
				chance[u] += float64((1 - mine) * p)
			}
			rows[j] = chance
		}
		rows[0] = []float64{1}
	}
	return rows[n]
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
	return roundTo6(signedRankP(changes, relative)), median, ci
}

// signedRankP is the two-sided p of Wilcoxon's signed rank test, exact with ties; pairs
// that do not differ are left out, as Wilcoxon did.
func signedRankP(changes []float64, relative bool) float64 {
	var sizes []float64 // how far from no change; monotone in it
	var ups []bool
	for _, c := range changes {
		switch {
		case relative && c != 1:
			sizes, ups = append(sizes, max(c, 1/c)), append(ups, c > 1)
		case !relative && c != 0:
			sizes, ups = append(sizes, math.Abs(c)), append(ups, c > 0)
		}
	}
	twice, _ := midranks(sizes)
	up := 0
	for i, r := range twice {
		if ups[i] {
			up += r
		}
	}
	return twoSided(signedRanks(twice), up)
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
	return critical(signedRanks(ranks), alpha)
}

// quantile returns how many standard uncertainties an interval reaches to each side.
func quantile(alpha float64) float64 { return roundTo6(math.Sqrt2 * math.Erfinv(1-alpha)) }

// roundTo6 keeps six digits: the last ones of what transcendental functions return differ
// from processor to processor.
func roundTo6(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	return v
}
