package peers

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/trace"
)

// Sample is what one reading of one device says, as far as the device said it.
type Sample struct {
	At     trace.Time
	Joules trace.Opt[float64]    // cumulative counter
	Watts  trace.Opt[float64]    // the headline power, as nvmlDeviceGetPowerUsage, nvidia-smi's power.draw and DCGM's field 155 give it
	Stamp  trace.Opt[trace.Time] // what the file says of when; unknown is At
	Unread bool                  // the file has a power here that is no number
}

// Interval is a stretch of time, both ends known.
type Interval struct{ Start, End trace.Time }

// Window is a span of the run that figures are wanted of.
type Window struct {
	Name        string
	Start       trace.Opt[trace.Time]    // of the phase, just before its first request
	End         trace.Opt[trace.Time]    // of its last request
	Concurrency int                      // configured; 0 is none
	Profiling   bool                     // a phase of measurement; aiperf takes the concurrency of the first of them for all
	Reported    trace.Opt[time.Duration] // the duration that the load generator's own clock gave; unknown is End-Start
	Steady      trace.Opt[Steady]        // ML.ENERGY's steady window, see [Load.MLEnergy]
	Metered     trace.Opt[Metered]       // by the server's own meter, as its answers before and after say
	Archive     *Archive                 // what aiperf left of the window; nil is nothing
}

// Metered is the energy between two answers of a server's own meter, GET /energy_metrics of
// trtllm-serve, in joules, and the time between them by the server's clock, in seconds.
type Metered struct{ Joules, Seconds float64 }

// Archive is what a run of aiperf says of itself beside its requests and readings, with
// which its figures can be had again to the digit.
type Archive struct {
	// Bounded: the window's Start and End are the phase's own, as aiperf had them, and not
	// those of its requests.
	Bounded bool
	// Observed: this version divides by the time between them, and not by
	// benchmark_duration.
	Observed bool
	// Epoch is time 0 in Unix nanoseconds: aiperf keeps instants in doubles, which are
	// 256 ns apart.
	Epoch trace.Opt[int64]
	// Unknown are objectives that are not recomputed: with one of them goodput is not
	// either.
	Unknown []string
}

// Steady is a steady window within a Window, and the output tokens that arrived in
// it.
type Steady struct {
	Interval
	OutputTokens float64
}

// Options are choices of those who ran the tool. The zero value is the defaults.
type Options struct {
	ExpectDevices int                      // GPUs that the deployment has; 0 is not known
	Grace         trace.Opt[time.Duration] // AIPERF_GPU_FINAL_SCRAPE_GRACE_NS; unknown is 666 ms
	// Unbounded makes aiperf's total energy run to the end of the recording, as the
	// first version of its pull request had it.
	Unbounded bool
	// WorldSize is TensorRT-LLM's number of ranks. Above the number of devices seen
	// the energy is scaled up to it, as trtllm-bench does. 0 is not known.
	WorldSize int
	// Epoch is time 0 in Unix nanoseconds: InferenceX keeps instants in doubles, which are
	// 256 ns apart. Unknown is that it did not.
	Epoch trace.Opt[int64]
	// Accumulated is the energy between two readings of each GPU's counter before and after
	// its log of power, in joules, by the index of the GPU; nil is none.
	Accumulated map[int]float64
}

// DeviceInfo says which sensor of which device readings are from.
type DeviceInfo struct {
	ID     string // identity of the GPU: its UUID
	Host   string
	Index  int
	Source string        // the API or URL; aiperf counts a GPU once for every source
	Role   string        // prefill, decode or agg; "" is none
	Lag    time.Duration // how far the power gauge lags; 0 is not known. For Explain alone.
}

// The tools by their names, with aiperf standing for its latest generation.
var tools = map[string]func(*Peer) tool{
	"aiperf":     func(p *Peer) tool { return aiperf{p, 3} },
	"aiperf-g0":  func(p *Peer) tool { return aiperf{p, 0} },
	"aiperf-g1":  func(p *Peer) tool { return aiperf{p, 1} },
	"aiperf-g2":  func(p *Peer) tool { return aiperf{p, 2} },
	"aiperf-g3":  func(p *Peer) tool { return aiperf{p, 3} },
	"trtllm":     func(p *Peer) tool { return trtllm{p} },
	"vllm":       func(p *Peer) tool { return vllm{p} },
	"sglang":     func(p *Peer) tool { return sglang{p} },
	"guidellm":   func(p *Peer) tool { return guidellm{p} },
	"inferencex": func(p *Peer) tool { return inferencex{p} },
	"zeus":       func(p *Peer) tool { return zeus{p} },
	"mlenergy":   func(p *Peer) tool { return mlenergy{p} },
	"srtslurm":   func(p *Peer) tool { return srtslurm{p} },
}

// tool is what one tool makes of a window.
type tool interface {
	// figures writes the tool's figures of the window.
	figures(b *builder, window int, r *Requests)
	// energy says how the tool comes to the energy of the window.
	energy(window int) energy
}

// Tools returns the names that New knows, in order.
func Tools() []string {
	var names []string
	for name := range tools {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A Peer recomputes the figures of one tool. It is not safe for concurrent use.
type Peer struct {
	name    string
	tool    tool
	windows []Window
	opt     Options
	devices []*Device
	ended   bool
}

// New returns a peer for the tool of that name and windows on one clock. The error
// of an unknown name names those there are.
func New(name string, windows []Window, opt Options) (*Peer, error) {
	make, ok := tools[name]
	if !ok {
		return nil, fmt.Errorf("unknown tool %q: have %s", name, strings.Join(Tools(), ", "))
	}
	p := &Peer{name: name, windows: slices.Clone(windows), opt: opt}
	p.tool = make(p)
	return p, nil
}

// Device adds a sensor of a device, and is called before the first Figures.
func (p *Peer) Device(info DeviceInfo) *Device {
	d := newDevice(p, info)
	p.devices = append(p.devices, d)
	return d
}

// SteadyTokens sets how many output tokens arrived in a window's steady part, where that
// is known only after the readings have begun.
func (p *Peer) SteadyTokens(window int, tokens float64) {
	p.windows[window].Steady.V.OutputTokens = tokens
}

// grace is how long after a window's end aiperf still takes readings of counters.
func (p *Peer) grace() time.Duration {
	return p.opt.Grace.Or(666 * time.Millisecond)
}

// end ends the reading. The devices get an order of their own, so that nothing
// depends on the order in which recordings were given.
func (p *Peer) end() {
	if p.ended {
		return
	}
	p.ended = true
	for _, d := range p.devices {
		d.end()
	}
	slices.SortStableFunc(p.devices, func(a, b *Device) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Source, b.Source))
	})
}

// once returns every GPU once, through the source that is preferred, else the first
// by name: most tools know of one source only.
func (p *Peer) once(prefer string) []*Device {
	best := map[string]*Device{}
	for _, d := range p.devices {
		if old := best[d.ID]; old == nil || d.Source == prefer && old.Source != prefer {
			best[d.ID] = d
		}
	}
	var list []*Device
	for _, d := range p.devices {
		if best[d.ID] == d {
			list = append(list, d)
		}
	}
	return list
}

// Figure is one number that the tool would have published.
type Figure struct {
	Name    string // the key or tag
	Header  string // the tool's own title of it; "" where it has none
	Unit    string // as the tool spells it
	Value   float64
	Formula string
}

// Omission is a figure that the tool would have left out.
type Omission struct {
	Name string
	Why  string
}

// DeviceResult is what the tool says of one sensor, or would use of it.
type DeviceResult struct {
	Device  DeviceInfo
	Joules  trace.Opt[float64] // its part of the total
	Figures []Figure           // what is published of this device
	Issues  []string           // the tool's reason codes
}

// Result is what a tool would have published of a window.
type Result struct {
	Tool    string
	Window  string
	Figures []Figure
	Omitted []Omission
	// Reasons are the tool's own reason codes for withholding everything: only
	// InferenceX has such.
	Reasons []string
	Devices []DeviceResult
	Joules  trace.Opt[float64] // the tool's total energy, before any rounding
	Covered int                // devices that contributed to it; a GPU seen twice may count twice
}

// Figure returns the figure of that name.
func (r Result) Figure(name string) (Figure, bool) {
	for _, f := range r.Figures {
		if f.Name == name {
			return f, true
		}
	}
	return Figure{}, false
}

// Figures returns what the tool would have published of a window, of which r holds
// the requests; nil is no request log. Nothing may be read after it.
func (p *Peer) Figures(window int, r *Requests) Result {
	p.end()
	if r == nil {
		r = &Requests{absent: true}
	}
	b := &builder{Result: Result{Tool: p.name, Window: p.windows[window].Name}}
	p.tool.figures(b, window, r)
	return b.Result
}

// Cohort is how wattrace says in a header how many GPUs a figure covers: " (8
// GPUs)", " (1 GPU)", " (7 of 8 GPUs)". With expected 0 it is aiperf's suffix of
// generation 1.
func Cohort(covered, expected int) string {
	switch {
	case expected > 0 && covered != expected:
		return fmt.Sprintf(" (%d of %d GPUs)", covered, expected)
	case covered == 1:
		return " (1 GPU)"
	}
	return fmt.Sprintf(" (%d GPUs)", covered)
}

// builder gathers a result.
type builder struct{ Result }

// add adds a figure, but never one that is no number.
func (b *builder) add(name, unit string, value float64, formula string) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		b.omit(name, "not a finite number")
		return
	}
	b.Figures = append(b.Figures, Figure{Name: name, Unit: unit, Value: value, Formula: formula})
}

// titled adds a figure with the tool's title of it.
func (b *builder) titled(name, header, unit string, value float64, formula string) {
	n := len(b.Figures)
	b.add(name, unit, value, formula)
	if len(b.Figures) > n {
		b.Figures[n].Header = header
	}
}

// over adds a quotient, if both are known and the divisor is above zero.
func (b *builder) over(name, unit string, a, c trace.Opt[float64], formula string) {
	switch {
	case !a.OK || !c.OK:
		b.omit(name, "not known: "+formula)
	case c.V <= 0:
		b.omit(name, "nothing to divide by: "+formula)
	default:
		b.add(name, unit, a.V/c.V, formula)
	}
}

func (b *builder) omit(name, why string) {
	b.Omitted = append(b.Omitted, Omission{name, why})
}

// omitAll leaves out all names for one reason.
func (b *builder) omitAll(why string, names ...string) {
	for _, name := range names {
		b.omit(name, why)
	}
}

// duration is the window's length in seconds, by our clock; unknown without both
// bounds, and for a window that does not last.
func (w *Window) duration() trace.Opt[float64] {
	if !w.Start.OK || !w.End.OK || w.End.V <= w.Start.V {
		return trace.Opt[float64]{}
	}
	return trace.Some(w.End.V.Sub(w.Start.V).Seconds())
}
