// Package characterise finds out what the power fields and the energy counter of
// a device show: how often they are updated, over which time they look, what
// they miss. It is arithmetic only, on readings that were polled as fast as is
// sensible, of a device at rest and under a load that switches between two
// powers.
//
// # Period
//
// A value that differs between two polls was updated in between; the middle of
// the two is its stamp. Values may repeat, so the times g between stamps are
// multiples of the period Tu. Of all T the largest is taken whose coherence
//
//	S(T) = mean of cos(2 pi g/T), or -1 where g < T/2
//
// is nearly the highest: fractions of Tu are about as coherent as it is,
// multiples are not. (The periodogram of a point process, by gaps, so that a grid
// that jumps does no harm.) Then stamps are numbered, and Tu is the slope of stamp
// over number, by least squares, in every run in which no gap is further than Tu/4
// from a multiple. Its uncertainty is that of the slope.
//
// Hopper's power fields keep to no grid: a value is made anew when it is read and
// at least 100 ms old (testdata/h100: every 100.0 ms at polls of 10 ms, 101.3 ms at
// 4.2 ms). Of such a field Tu is the median of the gaps of one period.
//
// Polls that are no part of the period tell when an update was to a fraction of a
// poll, since neighbours on the grid are averaged; polls that are do not.
//
// # Edges
//
// Where no edges of the load are given, the counter tells them: if power is lo
// before the knot (a, E(a)) and hi after (b, E(b)), the step between was at
//
//	e = (hi b - lo a - (E(b) - E(a))) / (hi - lo)
//
// by conservation of energy: exact for a counter that misses nothing and a load that
// is square, up to the stamps. Without a counter the edges are where the instant
// field steps, to half a period. Both need three updates of a plateau on either side.
//
// # Kind and window
//
// A field is instant if the largest change in one update is the greater part of
// most steps, and an average if it is a small one: a mean over W changes by
// at most Tu/W of the step at once.
//
// An instant field answers a step at e, in an update at t, with the share
//
//	r = (t - d - e) / W, at least 0 and at most 1
//
// of it. W and the delay d are fitted to all updates around all edges by least
// squares, with residuals that are cut off at a fifth of the step, since real power
// overshoots and trails. The uncertainty is the jackknife's over edges, if that is more
// than the fit's. Independent of when the edges were, the mean number of updates per
// edge with r between 0.1 and 0.9 is 0.8 W/Tu: an edge at random falls into the
// window with the probability W/Tu, its duty. This count stands alone where no
// counter gives the edges, and elsewhere has to agree. A window that is not known to a
// quarter of itself, or is shorter than two polls, is not known.
//
// An average follows the law of reduce/sensor.go: a value covers the time since the
// latest update that is at least Span older, a whole number of periods then. It is
// fitted to
//
//	v(t) = gain (E(t - d) - E(t - d - W)) / W + offset
//
// with E of the counter, linear between
// its updates and the edges, or, where there is none, the sum of an instant field
// whose windows leave no gaps. This needs no edges and no plateaus, only power that
// changes. A window holds one independent value, by which the uncertainty is reckoned; it
// must be below half a period, and what the fit leaves below 3 % of the range of power
// (boards that are real leave up to 1 %, a filter of 0.3 s 5 %). W then is the nearest whole number of periods, if one is
// near; the span may be anything in the period below, so half a period less is written.
//
// What the readings do not tell is unknown, with a reason. Nothing is guessed.
package characterise
