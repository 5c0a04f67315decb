// Package compare says whether one configuration of a server is better than another, and
// by how much, from the reports of their runs. It does arithmetic only.
//
// # The unit
//
// The unit is the run: one report. A configuration is a group of runs, its repeats. The
// requests of a run share its server, its GPUs' temperature and its luck, so that their
// scatter says nothing of the next run, and no number of requests stands for repeats.
//
// # Change, interval, p
//
// Of two groups x_1..x_m (the base) and y_1..y_n every ratio y_j/x_i is taken. The change
// is their median, the estimate of Hodges and Lehmann (1963) for a factor between two
// groups that are alike but for it. Its interval is from the (c+1)-th smallest ratio to
// the (c+1)-th largest, where c is the largest U with P(U <= c) <= alpha/2 if both groups
// are alike (Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3rd ed., 4.3):
// it holds just those factors that the U test would not refute. p is of that test, of Mann
// and Whitney (1947), two-sided and exact to 50 runs of each (25 with ties), from
// golang.org/x/perf/benchmath, as benchstat has it. Nothing is assumed of how runs scatter
// but that they are independent, and both groups alike.
//
// Where a value is 0 or below there are no ratios, and the differences y_j - x_i stand for
// them, in the metric's unit.
//
// The smallest p that m and n runs can have is 2/C(m+n, n): at alpha = 0.05 four runs of
// each are needed, at 0.01 five. With fewer nothing is said, and no interval is made up.
// Six of each find a difference of two standard deviations in four of five cases.
//
// Medians have the interval of benchmath (order statistics by the binomial distribution),
// which needs six runs at 0.95.
//
// # Pairs
//
// Where runs of the groups took turns, a drift of the machine is in both alike. They are
// ordered by the start of the earliest phase of each report; every k that follow each
// other, of k groups, must have one of each group, in any order (ABAB, ABBA), and belong
// together. The change is then the median of the Walsh averages sqrt(r_i r_j), i <= j, of
// the pairs' ratios r, with the interval of the same kind, and p is of Wilcoxon's signed
// rank test (1945), exact, with mean ranks where there are ties and without pairs that do
// not differ. Six pairs are needed at 0.05.
//
// # One run of each
//
// The report's random uncertainties u_x, u_y give the interval r ± z r sqrt((u_x/x)^2 +
// (u_y/y)^2), with z = 1.96 for alpha = 0.05. It is of the measurement alone, what another
// measurement of the same joules would vary, and decides nothing.
//
// # Sensors
//
// What nobody knows of a sensor is the same in all runs, so that repeats do not show it.
// A figure of energy E with the devices' shares s_i = E_i/E changes relatively by
//
//	model of devices m:  g_m * sum of s_i over the devices of m
//	unit i:              g_i * s_i
//	zero:                w_0 * sum of T/E over the devices
//
// for one standard uncertainty of each (5 %, 1.5 % and 5 W where nobody has calibrated; a
// report has them in devices[].sensor). Of a ratio of two figures the same quantity counts
// with the difference of both sides' terms, and the squares are added: between runs on the
// same devices, with the same shares, gains cancel; between devices of one model that of
// the model does, and what differs from unit to unit stays; between models nothing does.
// What is left of the zero is w_0 N (1/P_y - 1/P_x) for mean powers P: power that falls
// makes it weigh more. What a report's systematic uncertainty has beside the sensors', as
// for a disagreement of two methods, is each report's own. In differences of energies
// (net) the zero cancels before.
//
// The total interval has both: each half of the random one and z times this uncertainty
// are added as squares.
//
// # What a row says
//
// A row is better, worse, or differs where neither way is better (reduce.BetterOf), if p
// is at most alpha and the total interval does not hold the value of no change. Else it is
// undecided.
//
// # Many metrics
//
// Each row is tested alone: of 20 rows without any difference one shows one, at alpha =
// 0.05, and metrics of one run go together, so that it is seldom one alone. Which metric
// decides is to be said before: the metrics of record are marked, and a condition names
// its own. Several conditions are each decided at alpha; no p is adjusted.
//
// # Conditions
//
// A condition such as "energy_per_output_token > +2%" holds where the total interval of the
// change lies wholly beyond the bound, does not hold where it lies wholly on the other
// side, and is undecided else: the chance that one holds by mistake is alpha/2. A bound
// with a sign and a unit is of the difference, one without a sign of the new group's
// median. Of several one that holds decides, else one that is undecided.
//
// # What has to be alike
//
// The facts of factTable, where reports say them. Metrics that grow with the duration
// (joules, joules per user) are compared only where the durations, or the requests that
// succeeded, are the same within 1 %.
//
// No program reads whether the clocks of a GPU are locked: NVML sets and resets a range, and
// has no call that returns it. Application clocks it returns, and those are a fact. Of a
// lock the highest SM clocks in a phase are evidence, as heat and the power limit are of the
// same: where they are further apart than a step of the clocks a note says it.
//
// # Single devices
//
// Power and energy of a device are compared as those of all are, with its sensor alone: on
// the same device the gain cancels. Devices are the same by their identity where all runs
// have the same, or some fewer of them; else they are matched by host and index, or by
// index. The rows of the devices of a run are not independent of each other, nor of the
// total's: they say where a change is.
//
// # Sweeps
//
// Along an axis each group is a point, by medians. It is on the Pareto front of two
// figures unless another point has no less of either and more of one.
package compare
