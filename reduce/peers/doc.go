// Package peers recomputes what other tools would have published of a run: their
// names, by their formulas, with their windows, graces and quirks, from the raw
// readings and requests that wattrace has. A published number can so be checked,
// and its difference from wattrace's taken apart in joules ([Peer.Explain]).
//
// It is arithmetic: no I/O, no clock, no goroutines, no state outside a [Peer].
//
// # The tools
//
//	aiperf-g0   up to 0.9: statistics of each GPU, to the end of the recording; no derived metrics
//	aiperf-g1   four tags, " (N GPUs)" in the header; tokens/J counts visible tokens only
//	aiperf-g2   the same four, prefixed nvidia_, without the suffix
//	aiperf-g3   twelve tags, prefixed nvidia_; output tokens include reasoning; "aiperf" is this one. Released as: g0 up to
//	            0.9, g1 0.10 and 0.11, g3 from 0.12 on; g2 never
//	trtllm      "energy" of trtllm-bench throughput, and of TensorRT-LLM's benchmark_serving, with its latencies
//	vllm        gpu_energy_j and its kin (counter), --record-power (median of 5 s samples), and bench serve's latencies
//	sglang      the power recorder of a closed pull request: 5 s samples, tokens per median watt; its latencies
//	guidellm    no energy; its latencies and rates
//	inferencex  power_metric_schema_version 2: trapezoid of each GPU, valid or withheld with reason codes
//	zeus        begin_window and end_window: the counter at each edge
//	mlenergy    ML.ENERGY Benchmark: Zeus over its steady window and over all
//	srtslurm    power and energy report of srt-slurm: trapezoid between the nearest samples
//
// # What a latency is
//
// Of one request, sent at 0 s, with the role at 1 s, reasoning at 2 s, text at 3 and 4 s, the
// finish at 4.5 s, the usage at 5 s and [DONE] at 6 s, 3 output tokens:
//
//	            first token  end     per token, of which the tool calls TPOT or ITL
//	aiperf      2 s          4 s     (4-2)/2 = 1 s
//	vllm        1 s          4.5 s   (4.5-1)/2 = 1.75 s
//	trtllm      1 s          5 s     (5-1)/2 = 2 s
//	sglang      2 s          6 s     (6-2)/2 = 2 s
//	guidellm    2 s          6 s     4/3 = 1.33 s, and (4-2)/2 = 1 s
//
// A request counts once, but for guidellm, whose latencies of tokens weigh a request by them.
//
// Percentiles are numpy's, and guidellm's its own: the least value that so much of the weight
// is up to. Those of gaps between events are taken from a histogram, within
// 0.4 % of the exact ones. None of them is measured from when a request was due.
//
// # How to use it
//
// [New] takes the tool and the windows. [Peer.Device] is called once for every
// sensor of a GPU, [Device.Read] for each of its readings in order of time, and
// [Requests.AddFrom] for each request of a window. Then [Peer.Figures] and
// [Peer.Explain] may be called as often as wanted. The memory is that of devices
// times windows, but for vllm and sglang, which keep one value for each device
// and 5 s, and some 190 bytes for each request of each window.
//
// A figure that the tool would have left out is left out, with the reason; none is
// ever NaN or infinite. What the tool would have read at an instant at which the
// recording has no reading is taken from the reading before or after it, as is
// said with each tool.
//
// # An example
//
// A GPU draws 300 W at rest and 500 W in a phase from 10 s to 20 s. Its counter is read
// every second: 2850 J at 9.5 s, 7750 J at 19.5 s, 8150 J at 20.5 s. wattrace says
// 5000 J. aiperf takes the reading at 9.5 s as its baseline and the one at 20.5 s as
// the final one, since that is within 666 ms of the end: 5300 J. Explained:
//
//	5000 J  ours
//	-100 J  both ends moved to the last readings until then: 7750 - 2850 = 4900
//	+400 J  readings until the grace after the end: 8150 - 2850 = 5300
//	5300 J  theirs
package peers
