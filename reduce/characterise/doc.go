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
// from a multiple.
//
// # Edges
//
// Where no edges of the load are given, the counter tells them: if power is lo
// before the knot (a, E(a)) and hi after (b, E(b)), the step between was at
//
//	e = (hi b - lo a - (E(b) - E(a))) / (hi - lo)
//
// which is exact for a counter that misses nothing, up to the stamps. Without a
// counter the edges are where the instant field steps, to half a period.
//
// # Kind and window
//
// A field is instant if the largest change in one update is the greater part of
// most steps, and an average if it is the smaller part: a mean over W changes by
// at most Tu/W of the step at once.
//
// An instant field answers a step at e, in an update at t, with the share
//
//	r = (t - d - e) / W, at least 0 and at most 1
//
// of it. W and the delay d are fitted to all updates around all edges by least
// squares. Independent of when the edges were, the mean number of updates per
// edge with r between 0.1 and 0.9 is 0.8 W/Tu: an edge at random falls into the
// window with the probability W/Tu (Yang, Adamek and Armour, SC24, arXiv
// 2312.02741, who find windows of 25 of 100 ms of A100 and H100, fit a window to a
// square load that is aliased). This count stands alone where the counter gives no edges.
//
// An average follows the law of reduce/sensor.go: a value covers the time since the latest
// update that is at least Span older, a whole number of periods then. It is fitted to
//
//	v(t) = gain (E(t - d) - E(t - d - W)) / W + offset
//
// with E of the counter, or, where there is none, the sum of an instant field
// whose windows leave no gaps. This needs no edges and no plateaus, only power that
// changes. W then is the nearest whole number of periods, if one is near; the span may
// be anything in the period below, so half a period less is written.
//
// What the readings do not tell is unknown, with a reason. Nothing is guessed.
package characterise
