package replay

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/plan"
	"wattrace/replay"
	"wattrace/trace"
)

// engineOptions turns the flags into options of the engine, all but the trace.
func (o *options) engineOptions(isSet func(string) bool) (opt replay.Options, err error) {
	if opt.Targets, err = o.targets(); err != nil {
		return opt, err
	}
	if !utf8.ValidString(o.like) || len(o.like) > mostLike {
		return opt, cli.Usagef("--trace-like: want UTF-8 of at most %d bytes", mostLike)
	}
	for _, s := range o.set {
		overlay, err := replay.ParseOverlay(s)
		if err != nil {
			return opt, cli.Usagef("--set: %s", err)
		}
		opt.Overlays = append(opt.Overlays, overlay)
	}
	if opt.Client.Header, err = o.headers(); err != nil {
		return opt, err
	}
	if opt.Client.Key, err = o.key(); err != nil {
		return opt, err
	}
	if opt.Client.Key != "" && opt.Client.Header.Get("Authorization") != "" {
		return opt, cli.Usagef("an API key and --header Authorization: one of them is enough")
	}
	if o.timeout < 0 {
		return opt, cli.Usagef("--timeout is negative")
	}
	opt.Client.Timeout, opt.Client.ServerMessages = o.timeout, o.serverMessages
	if opt.Shard, err = parseShard(o.shard, os.Getenv); err != nil {
		return opt, err
	}
	if opt.StartAt, err = parseStart(o.startAt, time.Now()); err != nil {
		return opt, err
	}
	if err := o.clientOptions.apply(&opt, isSet); err != nil {
		return opt, err
	}
	opt.Plan, err = o.plan(isSet)
	return opt, err
}

// mostLike bounds a text that stands in a line of each log and a table of compare.
const mostLike = 200

func (o *options) targets() (all []replay.Target, err error) {
	urls, from := o.url, "--url"
	if len(urls) == 0 {
		urls, from = strings.Fields(os.Getenv("WATTRACE_URL")), "WATTRACE_URL"
	}
	if len(urls) == 0 {
		return nil, cli.Usagef("no server: give --url or set WATTRACE_URL")
	}
	for _, u := range urls {
		t, err := replay.ParseTarget(u)
		if err != nil {
			return nil, cli.Usagef("%s: %s", from, err) // the URL may hold a password
		}
		all = append(all, t)
	}
	return all, nil
}

func (o *options) headers() (http.Header, error) {
	h := http.Header{}
	for _, s := range o.header {
		name, value, ok := strings.Cut(s, ":")
		if !ok || name == "" {
			return nil, cli.Usagef("--header: want 'NAME: VALUE'")
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

// key reads the API key. It never comes from the command line, which other users
// of the machine can see.
func (o *options) key() (string, error) {
	if o.keyFile == "" {
		return os.Getenv("WATTRACE_API_KEY"), nil
	}
	b, err := os.ReadFile(o.keyFile)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(b))
	if key == "" {
		return "", fmt.Errorf("%s: the file is empty", o.keyFile)
	}
	return key, nil
}

// loadFlags are those that --phases replaces.
var loadFlags = []string{
	"concurrency", "requests", "duration", "warmup-requests", "warmup-duration",
	"handover", "grace", "idle-before", "idle-after",
	"rate", "arrival", "burstiness", "arrival-normalize", "trace-times", "speedup", "from", "to", "max-gap",
	"open-loop-strict", "users", "turn-gap", "think", "stagger", "ramp", "prefill-concurrency", "cancel",
	"order", "repeat", "max-error-rate",
}

func (o *options) plan(isSet func(string) bool) (trace.Plan, error) {
	if o.phases != "" {
		for _, name := range loadFlags {
			if isSet(name) {
				return trace.Plan{}, cli.Usagef("--phases has the whole load: --%s cannot be added to it", name)
			}
		}
		p, err := readPlan(o.phases)
		if err == nil && isSet("seed") {
			p.Seed = o.seed
		}
		return p, err
	}
	for _, name := range loadFlags {
		if isSet(name) && o.isZero(name) {
			return trace.Plan{}, cli.Usagef("--%s must be more than 0", name)
		}
	}
	p := trace.Plan{Seed: o.seed}
	load, err := o.shape()
	if err != nil {
		return p, err
	}
	concurrency := o.concurrency
	if probe := (trace.Phase{Load: load}); probe.LoadKind() != trace.ClosedLoop && !isSet("concurrency") {
		concurrency = 0 // its default is a closed loop's
	}
	if o.idleBefore > 0 {
		p.Phases = append(p.Phases, trace.Phase{Name: "idle_before", Kind: trace.Idle, Duration: o.idleBefore})
	}
	if o.warmupRequests > 0 || o.warmupDuration > 0 {
		p.Phases = append(p.Phases, trace.Phase{
			Name: "warmup", Kind: trace.Warmup, Concurrency: concurrency, Load: load,
			Requests: o.warmupRequests, Duration: o.warmupDuration, Grace: o.grace, Handover: o.handover,
		})
	} else if o.handover {
		return trace.Plan{}, cli.Usagef("--handover needs --warmup-requests or --warmup-duration")
	}
	p.Phases = append(p.Phases, trace.Phase{
		Name: "profiling", Kind: trace.Measure, Concurrency: concurrency, Load: load,
		Requests: o.requests, Duration: o.duration, Grace: o.grace,
	})
	if o.idleAfter > 0 {
		p.Phases = append(p.Phases, trace.Phase{Name: "idle_after", Kind: trace.Idle, Duration: o.idleAfter})
	}
	if err := p.Validate(); err != nil {
		return p, cli.Usagef("%s", inFlags(err.Error()))
	}
	return p, nil
}

// flagOf are the flags of a plan's keys, where they have other names.
var flagOf = map[string]string{"strict": "open-loop-strict", "shape": "burstiness", "normalize": "arrival-normalize"}

// saidByFlags are messages about a plan, as they are about flags.
var saidByFlags = map[string]string{
	"rate, times and users exclude each other":                     "--rate, --trace-times and --users exclude each other",
	"concurrency must be at least 1":                               "--concurrency must be at least 1",
	"users need a turn_gap":                                        "--users needs --turn-gap",
	"to must be after from":                                        "--to must be after --from",
	"stagger and ramp exclude each other":                          "--stagger and --ramp exclude each other",
	"gamma arrivals and a shape need each other":                   "--arrival gamma and --burstiness need each other",
	"normalize needs a number of requests and no ramp":             "--arrival-normalize needs --requests and no --ramp",
	"max_error_rate must be from 0 to less than 1":                 "--max-error-rate must be from 0 to less than 1",
	fmt.Sprintf("rate must be at most %g", float64(trace.MaxRate)): fmt.Sprintf("--rate must be at most %g", float64(trace.MaxRate)),
}

// inFlags turns what is wrong with a plan that was made of flags into their words.
func inFlags(msg string) string {
	for _, phase := range []string{"warmup", "profiling"} {
		msg = strings.TrimPrefix(msg, fmt.Sprintf("phase %q: ", phase))
	}
	if flags, ok := saidByFlags[msg]; ok {
		return flags
	}
	if key, rest, ok := strings.Cut(msg, " means nothing in "); ok && !strings.Contains(key, " ") {
		name := cmp.Or(flagOf[key], strings.ReplaceAll(key, "_", "-"))
		if slices.Contains(loadFlags, name) {
			return "--" + name + " means nothing in " + rest
		}
	}
	return msg
}

// isZero reports whether a flag of the load is zero or negative.
func (o *options) isZero(name string) bool {
	return map[string]bool{
		"rate": !(o.load.Rate > 0), "burstiness": !(o.load.Shape > 0), "speedup": !(o.load.Speedup > 0),
		"to": o.load.To <= 0, "max-gap": o.load.MaxGap <= 0, "users": o.load.Users <= 0, "turn-gap": o.load.TurnGap <= 0,
		"prefill-concurrency": o.load.Prefills <= 0, "repeat": o.load.Repeat <= 0,
		"concurrency": o.concurrency <= 0, "requests": o.requests <= 0, "duration": o.duration <= 0,
		"warmup-requests": o.warmupRequests <= 0, "warmup-duration": o.warmupDuration <= 0,
		"grace": o.grace <= 0, "idle-before": o.idleBefore <= 0, "idle-after": o.idleAfter <= 0,
	}[name]
}

func readPlan(path string) (trace.Plan, error) {
	f, err := os.Open(path)
	if err != nil {
		return trace.Plan{}, err
	}
	defer f.Close()
	return plan.Read(f, path)
}
