// Package attribute splits the energy of a run over its requests: how many
// joules each one took, how many of them its prefill and its decode, and how far
// that can be known. It is arithmetic only, to the same bits on every machine.
//
// # What is split
//
// Time is cut into cells of 10 ms and at the edges of phases and windows
// ([Grid]). The energy dE of a cell is what the devices draw at rest, I =
// min(dE, idle watts x length), and the rest A, the active energy. I is nobody's.
// A is shared by the requests that weigh something there; by time, where a mode
// places no work while requests are in flight; and where none are, it is
// unattributed. A request that failed or was cancelled has its share, as far as is
// known what it had the server do; one that the server refused has none. Cells
// whose energy is not known give nothing, and a request says which share of its
// time they are.
//
// Shares are floored to whole microjoules, by request, cell and stage, and what
// that leaves is unattributed; so that exactly, in every window between edges and
// in the run,
//
//	idle + prefill + decode + unattributed = total
//	sum of requests = prefill + decode
//
// Weights are integers or multiply sums of integers, so that the order of
// requests does not matter.
//
// # Modes
//
// Time: a request weighs the time that it is in flight, from sent to the last
// output. Tokens: it weighs its prompt tokens that were not cached, over the
// time to first token, and sixteen times its output tokens, each since the event
// before. Fitted: active energy is modelled, from this run alone, as
//
//	a x prompt tokens + b x output tokens + c x output tokens x context + s x steps
//
// with coefficients that are not negative (Lawson and Hanson). Steps are those
// of continuous batching, of which each reads the weights once however many
// requests it serves: they are counted from the decoding, one for each token of a
// request. Their s is shared equally by the requests that are served. What the
// model predicts of a request is its weight; the measurement says how much there
// is in each stretch of time that the sensor resolves. Fitted is refused, with the
// reason ([Fit]), where the run is too short, where the load does not tell the
// terms apart, where a term's 95 % interval is wide, and where much is left
// unexplained, as when the server does not say what it had in its prefix cache.
//
// Where a prefill ran inside the time to first token is known only if the server
// says how long a request waited. Otherwise the weights are gathered under both
// extremes, from sent on and as late as may be, and the fit that leaves less is
// taken.
//
// # How good it is
//
// The truth that a split can have is the Shapley value: what a request adds to
// the energy of each step, over all orders in which the step's requests might
// have joined it. Simulated servers have one, with power that is concave in the
// batch in six ways, weights read once a step, chunked prefill, prefix caches,
// context that costs, queues, and a counter that moves every 100 ms. The relative
// error of a request's energy, in percent, as median and 95th percentile; half the
// width of the bounds; and of how many requests, prefills and decodes they hold
// the truth (make attribution). Constants were chosen on other loads.
//
//	                                   time      tokens    fitted    ±width  within
//	closed 8                            8   25    3    9    2    7     14  100  99 100
//	closed 64                          17   47    6   15    3    9     18  100 100 100
//	closed 64, 4 tokens an event       12   37    7   21    3    8     18  100 100 100
//	Poisson 1.5/s                      10   36    3   10    2    7     14  100 100 100
//	Poisson 3/s, 1/4 not streamed      21   58    7   29    5   16     22   99 100  99
//	bursts of 48                       14   43    4   13    4   12     26  100  99 100
//	long context                       19   73    4   15    2   11     43  100 100 100
//	short chat                          5   16    3   10    3   10     13   99 100  98
//	agents, cached                     33   82    5   17    2    8     20  100  99 100
//	agents, cache not told             28   79    6   22   refused     56   98  99 100
//	overload                           22   78    6   17    4   14     24  100 100  96
//	overload of a small batch          23   75    4   14    4   13     20  100  99  97
//	cheap prefill                       9   27    4   14    2    6     14  100  99 100
//	dear prefill                       16   42    8   27    2    9     29  100  99 100
//
// So the headline is fitted, else tokens. With a sensor of 1 s, or without the
// fit, the bounds hold for 92 % or more of the requests of each load. That tokens do so well is
// partly the servers': a prompt token's worth differs by model, and nothing in a
// log tells it; and stages by tokens are worth little (their bounds say so).
//
// Bounds do not contain the error of the sensor, which all requests share, nor
// that of the idle power. The model takes the servers of a run for one.
//
// # How to use it
//
// Two passes over the log: Survey every request; Energy once; Request every
// request, which returns its [Share]; then Sum for any window between edges.
// Memory is some 130 bytes a cell, and nothing per request.
package attribute
