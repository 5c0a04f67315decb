package reduce

import (
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/reduce"
	"wattrace/trace"
)

// options are what the flags say.
type options struct {
	reduce     reduce.Options // without Windows, which need the clock, and Truth
	windows    []window
	perRequest string // file for the energies of requests; "" is none
	truth      string
	keepGoing  bool
	inputs     inputOptions
	reports    bool // the tool takes reports, too
}

// leastEvery is the shortest slice: shorter ones no sensor sees.
const leastEvery = 10 * time.Millisecond

// mostNumber bounds watts, prices and grams: what is made of them stays finite.
const mostNumber = 1e12

// parseOptions checks the flags.
func parseOptions(c *ucli.Context) (options, error) {
	o := options{truth: c.String("truth"), perRequest: c.String("per-request"), keepGoing: c.Bool("keep-going")}
	r := &o.reduce
	r.ExpectDevices, r.Every, r.MIG, r.Idle.Head = c.Int("expect-devices"), c.Duration("every"), c.Bool("mig-board"), c.Duration("idle-head")
	if r.ExpectDevices < 0 {
		return o, cli.Usagef("--expect-devices is negative")
	}
	for _, s := range c.StringSlice("window") {
		w, err := parseWindow(s)
		if err != nil {
			return o, err
		}
		if slices.ContainsFunc(o.windows, func(other window) bool { return other.name == w.name }) {
			return o, cli.Usagef("--window: %s is given twice", w.name)
		}
		o.windows = append(o.windows, w)
	}
	if r.Every != 0 && r.Every < leastEvery {
		return o, cli.Usagef("--every %v: want at least %v", r.Every, leastEvery)
	}
	if r.Idle.Head < 0 {
		return o, cli.Usagef("--idle-head is negative")
	}
	var ok bool
	if r.EnergySource, ok = energySources[c.String("energy-source")]; !ok {
		return o, cli.Usagef("--energy-source %q: want auto, counter or power", c.String("energy-source"))
	}
	if r.Steady, ok = steadyRules[c.String("steady")]; !ok {
		return o, cli.Usagef("--steady %q: want wattrace or mlenergy", c.String("steady"))
	}
	for _, flag := range []string{"idle-watts", "price", "carbon"} {
		to := map[string]*trace.Opt[float64]{"idle-watts": &r.Idle.Watts, "price": &r.Price, "carbon": &r.Carbon}[flag]
		if !c.IsSet(flag) {
			continue
		}
		v := c.Float64(flag)
		if !(v >= 0 && v <= mostNumber) {
			return o, cli.Usagef("--%s %v: want a number from 0 to %v", flag, v, mostNumber)
		}
		*to = trace.Some(v)
	}
	if r.Idle.Head > 0 && r.Idle.Watts.OK {
		return o, cli.Usagef("--idle-watts and --idle-head exclude each other")
	}
	r.Peers, r.Explain = splitList(c.StringSlice("as")), c.Bool("explain")
	for i, name := range r.Peers {
		if name == "srt-slurm" { // as it calls itself
			name, r.Peers[i] = "srtslurm", "srtslurm"
		}
		if err := reduce.CheckTool(name); err != nil {
			return o, cli.Usagef("--as: %v", err)
		}
		if slices.Contains(r.Peers[:i], name) {
			return o, cli.Usagef("--as: %s is given twice", name)
		}
	}
	if r.Explain && len(r.Peers) == 0 {
		return o, cli.Usagef("--explain needs --as")
	}
	return o, parseSLO(c.StringSlice("slo"), &r.SLO)
}

// splitList splits what is given in one flag by commas, which a space may follow.
func splitList(list []string) (out []string) {
	for _, s := range list {
		for name := range strings.SplitSeq(s, ",") {
			out = append(out, strings.TrimSpace(name))
		}
	}
	return out
}

var energySources = map[string]reduce.EnergySource{
	"auto": reduce.SourceAuto, "counter": reduce.SourceCounter, "power": reduce.SourcePower,
}

var steadyRules = map[string]reduce.SteadyRule{"wattrace": reduce.SteadyDefault, "mlenergy": reduce.SteadyMLEnergy}

// parseSLO reads the latencies that a good request keeps.
func parseSLO(list []string, slo *reduce.SLO) error {
	for _, s := range list {
		name, text, _ := strings.Cut(s, "=")
		limit, err := time.ParseDuration(text)
		to := map[string]*time.Duration{
			"ttft": &slo.TTFT, "ttft_sent": &slo.TTFTSent, "ttft_scheduled": &slo.TTFTScheduled, "itl": &slo.ITL,
			"latency": &slo.E2E, "latency_sent": &slo.E2ESent, "latency_scheduled": &slo.E2EScheduled,
		}[name]
		if to == nil || err != nil || limit <= 0 {
			return cli.Usagef("--slo %q: want ttft=TIME, itl=TIME or latency=TIME, as in ttft=500ms, or ttft or latency with _sent or _scheduled", s)
		}
		if *to != 0 {
			return cli.Usagef("--slo: %s is given twice", name)
		}
		*to = limit
	}
	return nil
}
