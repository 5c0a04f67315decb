// Plot draws a run: the page that one sends to a colleague, and the figure for a paper.
//
//	$ plot -o report.html requests.jsonl power.arrows
//
// Operands are those of reduce: request logs and recordings of any format, the directory
// of a run of aiperf, in any order; "-" is standard input. The flags that say how inputs
// are to be read and figures to be made are reduce's, too (--topology, --calibration,
// --sensors, --idle-watts, --window, --timezone, --same-boot, ...), and so are the figures.
//
// The page is one file of which nothing is loaded from anywhere: scripts, styles and data
// are in it, and its Content-Security-Policy allows nothing else. It holds no prompts and
// no answers. It has
//
//   - the headline figures with ±, and every warning;
//   - over time, under one cursor: the power of all GPUs with its limit and the marks of
//     clocks that were held down, that of each device, requests in flight, tokens per second
//     and per joule, and each request until its first token and until its end;
//   - how latencies and the energy of requests are spread;
//   - tables of phases and devices, and what every figure rests on: method, coverage,
//     sensors, inputs.
//
// Dragging over a chart selects an interval, and its energy, tokens and tokens per joule
// are shown: those that reduce says of it, for which the page has the command (reduce
// --window 'selected=START..END'). Its ends fall on the steps that the page has: the time is
// cut into 4,000 at most (--steps), of 10 ms or more. Power of single devices is the least
// and the highest reading of each step, or of several where they are narrower than can be
// seen, so that no peak is lost; power of all is their energy by the time.
//
// The keys of a page whose charts have the focus: arrows pan, + and - zoom, 0 shows all;
// shift with arrows, or [ and ], moves the ends of the selection, Enter zooms to it, Escape
// clears it. Ctrl or Shift with the wheel zooms, a double-click shows all. A finger that
// moves sideways over a chart selects, two zoom and pan. On paper the page has a figure in
// the place of the charts, and what is folded on the screen is open.
//
// A figure for papers is SVG without scripts, with generic fonts:
//
//	plot --svg power.svg requests.jsonl power.arrows
//
// Reports of reduce (--format json) are drawn as far as they go, which is all but what is
// over time. Several of them are a sweep: output tokens per second and GPU against tokens
// per joule, and against tokens per second that a user sees, with Pareto fronts. Measured
// phases that are alike in name, load, GPUs and power limit are repeats of one point, whose
// bars are their range:
//
//	plot -o sweep.html sweep-*.json
//	plot -o sweep.svg sweep-*.json
//
// A directory that holds a report.json, as measure leaves it, stands for that report.
//
// Flags of its own:
//
//	--format FORMAT  html or svg; else the ending of the name says which, else html.
//	                 A name that promises another format (.pdf, .png) is refused
//	--svg FILE       a figure, beside the page of -o or alone; - is standard output
//	--title TEXT     above it
//	--steps N        follow the run in so many steps at most
//	-o FILE, --force write to FILE; replace it if it exists
//
// Exit status: 0 ok, 1 failed, 2 usage, 3 a report lacks something (what, is said), 130
// interrupted.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/plot"
)

func main() { cli.Exec(plot.Main) }
