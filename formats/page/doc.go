// Package page writes reports as pages: one HTML file each that loads nothing. Scripts,
// styles and data are in it; its Content-Security-Policy is default-src 'none' with the
// hashes of its one style sheet and its scripts, so that nothing else runs, whatever stands
// in a name.
//
// # Data
//
// The course of a run is a JSON document in a script element of type application/json.
// Instants are steps from an origin, and sums stand at their ends:
//
//	unix       nanoseconds of the origin, a decimal string; "" without a wall clock
//	step       nanoseconds; n, how many steps
//	phases     {n name, k kind, a start, b end}: seconds from the origin
//	devices    {name, model, host, scope, doubt, and:
//	           e    microjoules by step, the differences of E(t) at its ends
//	           in   [from, to] pairs of the ends that readings bracket
//	           cov  {step: nanoseconds} where readings do not cover all of a step
//	           lo, hi   least and highest reading of the gauge by step, tenths of a watt; null is none
//	           f    "1" where the highest came first
//	           lim  [step, watts] pairs where the limit changes
//	           thr  {step: percent} in which clocks were held down}
//	out        output tokens by step, in millionths
//	unk        [from, to] pairs of steps in which it is not known how many arrived
//	busy       mean requests in flight by step, in thousandths
//	sent       requests sent by step
//	req        {s sent, p until the first token, d until the end, o outcome, l lane}: in
//	           units of 0.1 ms, s as differences; p is -1 where no token came
//
// The energy of an interval is the sum of e between two ends of steps, for each device that
// readings bracket and cover to 99 %: the same integers that reduce subtracts for a
// --window of these instants, so that both say the same. The tokens likewise, but for a
// millionth per request, since shares of a request are rounded down once per step.
//
// uPlot (MIT, see uplot/LICENSE) is version 1.6.32 as its authors minified it; SHA-256 of
// the script and the style sheet stand in the tests.
package page
