// Package reduce is the arithmetic of wattrace: from requests and telemetry on
// one clock to a report. It does no I/O, reads no clock, starts no goroutine.
//
// # How energy is computed
//
// Each device and scope has one cumulative function E(t), monotone, in integer
// microjoules. The energy of a window [a, b) is E(b)-E(a), so that the energies
// of windows that meet add up exactly, and no draw can leak from one into the
// next. Beside it runs C(t), the time until t that readings cover, in
// nanoseconds; C(b)-C(a) is what is known of a window, and b-a less that is
// missing. Nothing is extrapolated: before the first knot, after the last, and
// where a segment breaks, both functions are flat.
//
// A counter moves only when the device updates it. A change between two polls
// happened in between, and not longer ago than one update period Tu, so the
// knot of a changed value read at t, the poll before at t', is at
// t - min(Tu, t-t')/2. Tu is the mean time between changes where the polls are
// fast enough to see the updates apart, else the sensor table's, and then the
// method says "assumed". Where Tu is seen, the updates are followed as the regular
// events that they are (tickphase.go), within the bounds that each poll sets: after
// some seconds the stamps are good to a millisecond or less. Between two updates E(t) is a straight
// line where the power moves as it usually does, bent by the power before and
// after; beside a step of the power, as at the ends of a phase that follows a
// rest, it has a kink at t. Segments break where the counter falls (a reset), where
// it rises by more than the device can draw, and at gaps.
//
// Against a simulated truth, at a 20 ms poll and 360 W, a window of 1 to 60 s errs
// by 2.4 to 2.7 J RMS (fidelity_test.go), and by 3.6 to 3.9 J where it begins and
// ends with a prefill; the difference of the last readings before its ends, which
// is what public tools take, by 14 to 20 J.
//
// A device without a counter has its power integrated, on its own grid. What a
// power field is (an average over 1.1 s, a short window, and of which update
// period) says the table in sensor.go, which the readings can refute. Where the
// polls show the field's updates, an average is deconvolved by its law
// (deconvolve.go) and an instant field taken from update to update (gauge.go);
// otherwise samples are moved earlier by what the sensor lags, half its window and
// half its period, and the trapezoid rule is applied with interpolated edges. A
// step of power between two updates is where their energies say.
// Beside a power meter, windows of 1 s scatter by 0.3 to 0.5 % the first way, by 2
// to 6 % the second, and by 8 to 20 % without either (meter_test.go).
//
// # How much of it is uncertain
//
// The random part of a counter's energy comes from its two edges: when the
// neighbouring updates really happened, and how the power moved between them;
// the errors of devices that serve together go together in part. That of a gauge
// has a part that grows with the window besides: what a sensor does not see of the
// time, and values that stand for a little longer or shorter than is thought.
//
// Against a simulated truth (make fidelity: five kinds of sensor, six loads, polls
// of 10 ms to 1 s, windows of 1 to 60 s, anywhere and at steps) 1.96 of it cover 93
// to 98 % of the windows of two strata in three, at a mean width of at most 1.5 times
// that of the errors. Of the others 27 in 528 are covered less, 153 more, and 2 are
// too wide only; each mixes calm loads with stepped ones, whose errors have heavy tails:
//
//   - Counters that move every 20 ms, polled every 50 ms or slower: nothing shows
//     that they do. 100 ms are assumed and stated, which covers 96 to 100 %, at up
//     to 3.9 times the width. Polled every 20 ms, 94 to 98.6 %.
//   - Counters of 20 ms polled every 10 ms, 85 to 94 %, and of 100 ms polled every
//     50 ms, 88 to 98.7 %: polls that keep step with the updates must first walk past
//     them, and then they are at times taken for others.
//   - Counters of 100 ms polled every 100 ms: the stamps of both ends of a short window
//     err alike, by how much is not known, so that 1 s is stated up to 2.5 times too wide.
//   - Counters polled once in 333 ms: 95 to 99.5 %, up to 2.1 times the width. Once in a
//     second: 86 to 92 % where a pulse or a step falls between two polls, 94 to 99 % else.
//   - An average that is deconvolved, anywhere: 94 to 99.3 %, over 1 s at up to 1.8
//     times the width. What it leaves open is judged by how rough the load is, so that it
//     holds for a server; squares and pulses are known better. One polled every 333 ms or
//     slower is not deconvolved: 93 to 97.5 % at steps, which it blurs over a second, and
//     96 to 99.7 % elsewhere, at up to 1.8 times the width.
//   - A sensor that sees a part of the time only, over 10 to 60 s: 98 to 99.6 %, since
//     what it misses of a load that repeats evens out. One of 10 ms in 20 polled every
//     10 ms, 1 s at steps: 91 %.
//   - Instant fields that see all of the time: 93 to 98.8 %.
//
// A load whose average always stands for one second looks like a device at rest, whose
// average covers twice the time. What comes next tells them apart: by how much one
// update rises (updates.go). Pulses that are far higher than the highest average can
// be taken for the wrong one all the same, which is not stated.
//
// Loads that repeat as often as such a sensor is updated cannot be measured with it:
// the warning is "aliased". Where an average is beside it that says something else,
// that counts, and the warning is "undersampled" (alias.go).
//
// The systematic part is the sensor's gain and offset,
// u^2 = sum (5% E_m)^2 + sum (1.5% E_i)^2 + (5 W L N)^2 for N devices over L seconds,
// E_m being the energy of the devices of a model
// (five boards of one model beside a power meter: common part -3.4 %, unit to
// unit 1.4 %; others -7 to +5 %). A [Calibration] takes its place. Both are standard
// uncertainties. Where the clocks of two files are not known to agree, a range says
// what the energy would be if they did not: it is narrow where power is the same at
// both ends.
// The enclosure beside the counter's energy is rigorous for the counter: it
// follows from the counter being monotone and from nothing else.
//
// A device that has a counter and a gauge has its energy by both. The headline is the
// counter's unless [Options.EnergySource] says otherwise, and stays so; where both
// differ by more than 1 % and three times what is random, a warning says so
// ("disagreement") and half the difference joins the systematic part. Agreement says
// that nothing was lost on the way, not that the sensor is right: both come from it.
//
// # Doubts about the inputs
//
// Where new readings are more than a twentieth of a phase apart (and more than 0.5 s),
// as an exporter's that is refreshed every 30 s, the warning is "slow_refresh". Where a
// server's own count of output tokens is in the recording, its growth over a phase is
// compared with the log's: they may differ by the tokens of requests that cross an end or did
// not succeed, by what the counter grew between the two readings around each end, and by
// 1 %; beyond that it is "tokens_disagree" (servers.go).
//
// Where the trace expects numbers of tokens, they are compared with those that the server
// counted, request by request ([Audit]); a difference is "not_as_expected".
//
// # Phases by marks
//
// Without a request log the phases are those that the recorder was told of
// ([Reducer.Marked]), else the recording is one. The moment of a mark is known between two
// instants. The range beside a figure (clock_range) has the ends drawn together and apart
// by that, at each shift of the clocks: E is monotone, so that no other moments give less
// or more. What the recording covers outside of the phases is measured, too, and said in a
// warning, so that no energy is lost without a word.
//
// Sensors of other scopes than the GPUs' have a total each, which nothing adds to another:
// a module contains its GPUs, a platform its processors. What several sources say of a
// host's processors, memory or platform has no identity in common, so that of each scope
// one source counts. Servers and recorders have no power.
//
// # Windows
//
// Besides the phases there are their parts that follow from the load (ramp, steady,
// drain: steady.go), slices of equal length, and windows that were asked for. All are
// computed in the same way, slices one by one when the report is written. What the
// GPUs draw at rest, and the net energy, come from the idle phases next to a phase
// (idle.go). The power of all GPUs over time lies in cells of 10 ms (cells.go) whose sums
// are the energies of the phases and of those parts, to the microjoule; slices and
// windows that were asked for only look at them. Package attribute splits them over the
// requests, package peers recomputes what other tools would have published.
//
// # How long requests take
//
// Latencies are of the requests that succeeded (latency.go), from when they were sent: that
// is what other tools report. The same from when a request was due has _scheduled in its
// name. In a closed loop both differ by the client's lateness alone; in an open one users
// wait from when they come, so that there the scheduled ones come first: measured from when
// a request was sent, a stall of the server or of the client hides in those that could not be
// sent meanwhile. An inter-token latency is a request's mean and needs the server's count of
// tokens; the gaps between events need none, and of all requests together weigh long
// answers more. An event may hold several tokens: a gap is no time per token. Where it is known
// how many each brought, by usage with each event or because events are as many as tokens,
// inter_token_latency_pooled has gap / tokens, once for each token; it says of how many
// requests. Answers that end by themselves often have one token more than events, the
// end: without usage with each event they are not among them.
// A ratio of good requests divides by all that were sent: a failure, or a time-out, is not
// good. An open loop's requests are good or not by what their users saw, from when they
// were due, unless the [SLO] says otherwise; the method of the figure has it. What other
// tools would have published goes by when they were sent, as those have it.
//
// Beside them stands how late the client sent (send_lateness), and what it says of itself.
// It is client_late where one request in a hundred, and two, were sent more than 5 ms after
// they were due, or more than 1 % of the mean request latency if that is less, but for 1 ms;
// the first request of each slot of a closed loop does not count, since those come in a
// burst. A ceiling on an open loop makes requests wait by the plan, and is
// capped_open_loop where any did, by more than 1 ms.
//
// # Which devices
//
// A device that several sources report counts once, by the source that was read most
// often; so does a module that each of its GPUs reports (cohort.go). A topology says
// which GPUs should be there and what for: one that is missing is named in every
// phase, one that is not listed is left out. Scopes that contain each other, as a
// module does its GPUs, are never added.
//
// # How to use it
//
// A Reducer reads telemetry twice and requests twice: Survey and SurveyRequest see all
// of it once, to choose methods, periods and windows; then Start; then Telemetry, then
// Request see everything again; then Report. Where there is both, WeighRequest and
// RequestEnergy split the energy: most of the work, which Splitters share. Its memory
// does not grow with the length of the telemetry but by some 220 bytes for each cell of
// 10 ms in the phases, which get longer before there are two million, and of each
// Splitter 80 bytes; by some 80 bytes for each request in each window that it was sent in; and by some 300 bytes for each device in each slice, of which a
// gigabyte at most is kept.
package reduce
