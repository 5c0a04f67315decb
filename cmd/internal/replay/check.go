package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/replay"
	"wattrace/replay/dialect"
	"wattrace/trace"
)

// checkOptions are the flags of --check.
type checkOptions struct {
	check   bool
	dialect string
	format  string
}

func (o *checkOptions) flags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.BoolFlag{Name: "check", Usage: "send nothing: check the trace and say what it and the load are", Destination: &o.check},
		&ucli.StringFlag{Name: "dialect", Usage: "with --check, say what a server of `KIND` would refuse: trtllm, vllm, sglang or openai", Destination: &o.dialect},
		&ucli.StringFlag{Name: "format", Usage: "of --check and --selftest: `text` or json", Value: "text", Destination: &o.format},
	}
}

// maxFaults bounds the faults of a trace that are shown, and what is listed of
// anything else.
const maxFaults = 20

// check is the tool with --check.
func check(_ context.Context, env *cli.Env, o *options, isSet func(string) bool) error {
	path, err := operand(env)
	if err != nil {
		return err
	}
	if o.format != "text" && o.format != "json" {
		return cli.Usagef("--format %q: want text or json", o.format)
	}
	server := dialect.Dialect(o.dialect)
	if o.dialect != "" && !slices.Contains(dialect.All, server) {
		return cli.Usagef("--dialect %q: want trtllm, vllm, sglang or openai", o.dialect)
	}
	if len(o.url) == 0 && os.Getenv("WATTRACE_URL") == "" {
		o.url = []string{"http://nowhere.invalid"} // so that the other flags are checked as in a run
	}
	opt, err := o.engineOptions(isSet)
	if err != nil {
		return err
	}
	t, closer, err := o.bodies.Load(env, path, o.timing, isSet)
	if err != nil {
		return faults(env, err, func() []error { return o.bodies.Faults(env, path, isSet) })
	}
	defer closer.Close()
	opt.Turns, opt.Client.KernelTimestamps = t.Turns, false
	if _, err := replay.New(opt); err != nil {
		return err
	}
	c, err := examine(t.Trace, &opt, server)
	if err != nil {
		return err
	}
	out, err := env.Output(cli.OutputOptions{Atomic: true})
	if err != nil {
		return err
	}
	write := c.text
	if o.format == "json" {
		write = c.json
	}
	if err := errors.Join(write(out), out.Close()); err != nil {
		return err
	}
	if c.Refused > 0 {
		return cli.Incompletef("%s would refuse %d of %d requests", server, c.Refused, c.Lines)
	}
	return nil
}

// faults shows what is wrong with a trace, line by line, and ends with status 2.
// err is the first fault, or why the trace could not be read; again reads it past its faults.
func faults(env *cli.Env, err error, again func() []error) error {
	var syntax *trace.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	all := again()
	if len(all) == 0 { // of the side file, or of what cannot be read again
		all = []error{err}
	}
	for i, fault := range all {
		if i == maxFaults {
			env.Printf("and %d more", len(all)-maxFaults)
			break
		}
		env.Printf("%s", fault)
	}
	return cli.ExitStatus(cli.ExitUsage)
}

// checked is what --check says; its JSON is that of --format json. What is not
// known is absent.
type checked struct {
	Trace         string         `json:"trace"`
	SHA256        string         `json:"sha256"`
	Lines         int            `json:"lines"`
	Conversations int            `json:"conversations"`
	MostTurns     int            `json:"most_turns"` // of a conversation
	Endpoints     map[string]int `json:"endpoints"`
	Models        map[string]int `json:"models"` // as sent: overlays applied
	Streamed      int            `json:"streamed"`
	BodyBytes     spread         `json:"body_bytes"` // as sent
	Expected      expected       `json:"expected_tokens"`
	Times         *times         `json:"trace_times,omitempty"`
	Phases        []phaseLoad    `json:"phases"`
	Seconds       *float64       `json:"plan_seconds,omitempty"`
	PeakRate      *float64       `json:"peak_requests_per_second,omitempty"`
	Dialect       string         `json:"dialect,omitempty"`
	Refused       int            `json:"refused"`
	Refusals      []refusal      `json:"refusals,omitempty"`
}

type spread struct {
	Total int64 `json:"total"`
	Min   int   `json:"min"`
	P50   int   `json:"p50"`
	P90   int   `json:"p90"`
	P99   int   `json:"p99"`
	Max   int   `json:"max"`
}

type expected struct {
	Input       int64 `json:"input"`
	InputLines  int   `json:"input_lines"` // lines whose count is known
	Output      int64 `json:"output"`
	OutputLines int   `json:"output_lines"`
}

// times is what the side file says of when requests were sent.
type times struct {
	Lines    int     `json:"lines"` // that have a time
	Seconds  float64 `json:"seconds"`
	PeakRate float64 `json:"peak_requests_per_second"` // the most in any one second
}

type phaseLoad struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`
	Load        string   `json:"load,omitempty"` // trace.LoadKind
	Concurrency int      `json:"concurrency,omitempty"`
	Requests    *int64   `json:"requests,omitempty"` // not known where time ends the phase
	Seconds     *float64 `json:"seconds,omitempty"`  // not known where the server's speed decides
}

type refusal struct {
	Key       string `json:"key"`
	Why       string `json:"why"`
	Lines     int    `json:"lines"`
	FirstLine string `json:"first"` // file:line
}

// examine looks at every body as it would be sent.
func examine(t *trace.Trace, opt *replay.Options, server dialect.Dialect) (*checked, error) {
	c := &checked{
		Trace: t.Path, SHA256: t.SHA256, Lines: len(t.Turns),
		Endpoints: map[string]int{}, Models: map[string]int{}, Dialect: string(server),
	}
	turns := map[string]int{}
	sizes := make([]int, 0, len(t.Turns))
	refusals := map[dialect.Refusal]*refusal{}
	var buffers [2][]byte
	for i := range t.Turns {
		turn := &t.Turns[i]
		if turn.Conversation == "" {
			c.Conversations++
			c.MostTurns = max(c.MostTurns, 1)
		} else {
			turns[turn.Conversation]++
		}
		c.Expected.add(&turn.Timing)
		body, err := sent(turn.Payload, opt, &buffers)
		if err != nil {
			return nil, err
		}
		c.Endpoints[string(turn.Endpoint)]++
		sizes = append(sizes, len(body))
		model, stream := topLevel(body)
		c.Models[model]++
		if stream {
			c.Streamed++
		}
		if server == "" {
			continue
		}
		found := server.Check(turn.Endpoint, body)
		if len(found) > 0 {
			c.Refused++
		}
		for _, r := range found {
			if refusals[r] == nil {
				refusals[r] = &refusal{Key: r.Key, Why: r.Why, FirstLine: turn.Pos.String()}
			}
			refusals[r].Lines++
		}
	}
	for _, n := range turns {
		c.Conversations++
		c.MostTurns = max(c.MostTurns, n)
	}
	c.BodyBytes = spreadOf(sizes)
	c.Times = timesOf(t.Turns)
	for _, r := range refusals {
		c.Refusals = append(c.Refusals, *r)
	}
	slices.SortFunc(c.Refusals, func(a, b refusal) int {
		return cmp.Or(cmp.Compare(b.Lines, a.Lines), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Why, b.Why))
	})
	return c, c.plan(opt)
}

// sent returns a body as it would be sent.
func sent(body []byte, opt *replay.Options, buffers *[2][]byte) ([]byte, error) {
	overlays := opt.Overlays
	if opt.CacheSalt.OK {
		salt, err := replay.ParseOverlay(`cache_salt="0000000000000000"`)
		if err != nil {
			return nil, err
		}
		overlays = append(slices.Clip(overlays), salt)
	}
	for i, o := range overlays {
		b, err := o.Apply(buffers[i%2][:0], body)
		if err != nil {
			return nil, err
		}
		buffers[i%2], body = b, b
	}
	return body, nil
}

// topLevel returns a body's model, in quotes where it is no plain word, and
// whether it asks for a stream. Of a key that is given twice the last counts.
func topLevel(body []byte) (model string, stream bool) {
	trace.WalkObject(body, func(m trace.Member) error {
		switch string(m.Name) {
		case "model":
			model = string(m.Value)
			if s := ""; json.Unmarshal(m.Value, &s) == nil {
				model = s
			}
		case "stream":
			stream = string(m.Value) == "true"
		}
		return nil
	})
	return model, stream
}

func (e *expected) add(t *trace.Timing) {
	if n, ok := t.InputTokens.Get(); ok {
		e.Input += n
		e.InputLines++
	}
	if n, ok := t.OutputTokens.Get(); ok {
		e.Output += n
		e.OutputLines++
	}
}

// spreadOf returns the distribution of sizes, by the nearest rank.
func spreadOf(sizes []int) (s spread) {
	slices.Sort(sizes)
	for _, n := range sizes {
		s.Total += int64(n)
	}
	rank := func(q float64) int { return sizes[max(0, int(math.Ceil(q*float64(len(sizes))))-1)] }
	s.Min, s.P50, s.P90, s.P99, s.Max = sizes[0], rank(0.5), rank(0.9), rank(0.99), sizes[len(sizes)-1]
	return s
}

func timesOf(turns []trace.Turn) *times {
	var at []float64
	for i := range turns {
		if v, ok := turns[i].Timing.AtSeconds.Get(); ok {
			at = append(at, v)
		}
	}
	if len(at) == 0 {
		return nil
	}
	slices.Sort(at)
	most, first := 0, 0
	for i := range at {
		for at[i]-at[first] >= 1 {
			first++
		}
		most = max(most, i-first+1)
	}
	return &times{Lines: len(at), Seconds: at[len(at)-1] - at[0], PeakRate: float64(most)}
}

// plan says how long the load is. In a closed loop the server decides how fast
// it goes, so that there is no rate to foretell.
func (c *checked) plan(opt *replay.Options) error {
	total, known := 0.0, true
	for i := range opt.Plan.Phases {
		ph := &opt.Plan.Phases[i]
		p := phaseLoad{Name: ph.Name, Kind: string(ph.Kind), Load: string(ph.LoadKind()), Concurrency: max(ph.Concurrency, ph.Users)}
		seconds := ph.Duration.Seconds()
		f, open, err := replay.ForecastPhase(opt.Turns, &opt.Plan, i+1)
		if err != nil {
			return err
		}
		switch {
		case open:
			last, peak := f.Last.Seconds(), float64(f.Peak)
			p.Requests, p.Seconds = &f.Requests, &last
			if ph.Duration > 0 {
				p.Seconds = &seconds
			}
			if c.PeakRate == nil || *c.PeakRate < peak {
				c.PeakRate = &peak
			}
		case ph.Kind == trace.Idle:
			n := int64(0)
			p.Requests, p.Seconds = &n, &seconds
		case ph.Requests > 0:
			p.Requests = &ph.Requests
		case ph.Duration > 0:
			p.Seconds = &seconds
		default:
			n := int64(len(opt.Turns)) - max(0, ph.FirstLine-1)
			p.Requests = &n
		}
		if p.Seconds == nil {
			known = false
		} else {
			total += *p.Seconds
		}
		c.Phases = append(c.Phases, p)
	}
	if known {
		c.Seconds = &total
	}
	return nil
}

func (c *checked) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(c)
}

func (c *checked) text(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-16s "+format+"\n", append([]any{name}, args...)...)
	}
	row("trace", "%s", c.Trace)
	row("sha256", "%s", c.SHA256)
	row("requests", "%d, of %d conversations of up to %d turns", c.Lines, c.Conversations, c.MostTurns)
	row("endpoints", "%s", counts(c.Endpoints))
	row("models", "%s", counts(c.Models))
	row("streamed", "%d of %d", c.Streamed, c.Lines)
	s := c.BodyBytes
	row("body bytes", "min %d, p50 %d, p90 %d, p99 %d, max %d; %d in all", s.Min, s.P50, s.P90, s.P99, s.Max, s.Total)
	row("expected tokens", "%s in, %s out", tokens(c.Expected.Input, c.Expected.InputLines, c.Lines), tokens(c.Expected.Output, c.Expected.OutputLines, c.Lines))
	if t := c.Times; t != nil {
		row("trace's times", "%.1f s, at most %.0f requests in one second (%d of %d lines)", t.Seconds, t.PeakRate, t.Lines, c.Lines)
	}
	for _, p := range c.Phases {
		row("phase", "%s", p)
	}
	switch {
	case c.Seconds != nil:
		row("load", "%s, and until the last answer", time.Duration(*c.Seconds*1e9).Round(time.Millisecond))
	default:
		row("load", "as long as the server takes")
	}
	if c.PeakRate != nil {
		row("peak rate", "%.0f conversations begin within a second", *c.PeakRate)
	} else {
		row("peak rate", "closed loop: as fast as the server answers")
	}
	if c.Dialect != "" {
		row("dialect", "%s would refuse %d of %d requests", c.Dialect, c.Refused, c.Lines)
	}
	for i, r := range c.Refusals {
		if i == maxFaults {
			fmt.Fprintf(&b, "  and %d more\n", len(c.Refusals)-maxFaults)
			break
		}
		what := r.Why
		if !strings.Contains(what, r.Key) {
			what += fmt.Sprintf(" %q", r.Key)
		}
		fmt.Fprintf(&b, "  %s: %d requests, the first at %s\n", what, r.Lines, r.FirstLine)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// counts lists names by how often they come, the rarer ones in one.
func counts(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	var all []string
	for i, name := range names {
		if i == 5 {
			all = append(all, fmt.Sprintf("%d others", len(names)-i))
			break
		}
		show := name
		switch {
		case name == "":
			show = "(none)"
		case len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			show = fmt.Sprintf("%.100q", name)
		}
		all = append(all, fmt.Sprintf("%s %d", show, m[name]))
	}
	return strings.Join(all, ", ")
}

func tokens(n int64, lines, of int) string {
	switch lines {
	case 0:
		return "unknown"
	case of:
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d (of %d lines)", n, lines)
}

// String says what a phase is, as the summary shows it.
func (p phaseLoad) String() string {
	s := p.Name + ", " + p.Kind
	switch trace.LoadKind(p.Load) {
	case trace.OpenLoop:
		s += ", open loop"
	case trace.TraceTimes:
		s += ", the trace's times"
	case trace.UserLoop:
		s += ", users"
	}
	if p.Concurrency > 0 {
		s += fmt.Sprintf(", concurrency %d", p.Concurrency)
	}
	if p.Requests != nil && p.Kind != string(trace.Idle) {
		s += fmt.Sprintf(", %d requests", *p.Requests)
	}
	if p.Seconds != nil {
		s += fmt.Sprintf(", %s", time.Duration(*p.Seconds*1e9).Round(time.Millisecond))
	}
	return s
}
