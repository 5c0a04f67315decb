package measure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/sibling"
	"wattrace/formats/plan"
	"wattrace/formats/summary"
	"wattrace/reduce"
	"wattrace/trace"
)

// run is one measurement, in a directory of its own.
type run struct {
	*session
	dir  string
	what string // what messages begin with; "" of a single run
	sum  *summary.Summary
	plan trace.Plan

	unready bool // at its end: there was no server

	mu    sync.Mutex // guards what progress shows
	stage string
	since time.Time
	rec   *recorder

	watch watch // of progress alone
}

func (r *run) path(name string) string { return filepath.Join(r.dir, name) }

// said passes on what a tool says.
func (r *run) said(line string) { r.env.Summaryf("%s%s", r.what, line) }

func (r *run) warn(code, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	r.sum.Warnings = append(r.sum.Warnings, summary.Warning{Code: code, Message: msg})
	r.env.Printf("%swarning: %s", r.what, msg)
}

func (r *run) enter(stage string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stage, r.since = stage, time.Now()
}

func (r *run) recording(rec *recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec = rec
}

// do measures, and leaves the directory whole whatever happens. What went wrong is in the
// summary, whose error is that it could not be written.
func (r *run) do() error {
	r.sum.Status = summary.Running
	if err := writeSummary(r.dir, r.sum); err != nil {
		return err
	}
	err := r.measure()
	var unready *serverError
	r.unready = errors.As(err, &unready)
	r.conclude(err)
	return writeSummary(r.dir, r.sum)
}

// conclude turns the error of a run into its status.
func (r *run) conclude(err error) {
	r.sum.End = stamp(time.Now())
	r.listArtifacts()
	var lacking *lackError
	lacks := errors.As(err, &lacking)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		first = strings.TrimSuffix(strings.TrimSuffix(first, "; it said last:"), " ends:")
		r.sum.Reason = redactText(strings.TrimSuffix(first, ","))
	}
	switch {
	case r.soft.Err() != nil: // whatever else is lacking may come of that
		r.sum.Status = summary.Interrupted
		if err == nil || lacks || errors.Is(err, errStopped) {
			r.sum.Reason = errStopped.Error()
		}
	case lacks:
		r.sum.Status = summary.Incomplete
	case err != nil:
		r.sum.Status = summary.Failed
	default:
		r.sum.Status = summary.Complete
	}
	if err != nil && r.soft.Err() == nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			r.env.Printf("%s%s", r.what, line)
		}
		if hint := cli.HintOf(err); hint != "" {
			r.env.Printf("hint: %s", hint)
		}
	}
}

// serverError is of a server that never was ready.
type serverError struct{ err error }

func (e *serverError) Error() string { return e.err.Error() }
func (e *serverError) Unwrap() error { return e.err }

// lackError is of a run that went through and lacks something.
type lackError struct{ msg string }

func (e *lackError) Error() string { return e.msg }

func (r *run) measure() error {
	if r.o.workload != "" {
		return r.measureWorkload()
	}
	if err := r.ensureServer(r); err != nil {
		r.serverEnd("")
		return &serverError{err}
	}
	if err := r.makeTrace(); err != nil {
		return err
	}
	planFile, err := writePlan(r.dir, &r.plan)
	if err != nil {
		return err
	}
	r.sum.Plan = plan.AppendJSON(nil, &r.plan)
	r.enter("starting to record")
	rec, err := r.startRecorder(nil, nil, nil)
	if err != nil {
		return err
	}
	r.recording(rec)
	defer r.endRecording(rec) // also if this panics; a second end does nothing

	before := r.spotInto("before")
	r.pause(r.o.margin, rec.Done)
	loadErr := r.load(planFile, rec)
	after := r.spotInto("after")
	if r.hard.Err() == nil {
		pause := time.NewTimer(r.o.margin)
		select {
		case <-pause.C:
		case <-rec.Done:
		case <-r.hard.Done():
		}
		pause.Stop()
	}
	r.endRecording(rec)
	r.serverEnd("left")
	return r.finish(loadErr, r.recordFault(rec), before, after)
}

// serverEnd says of a server of measure's what became of it so far: while it runs, what
// is given.
func (r *run) serverEnd(running string) {
	switch p := r.server.p; {
	case p == nil || r.sum.Server == nil:
	case p.Ended():
		r.sum.Server.End = "died"
		r.sum.ReturnCodes["server"] = p.Status()
	default:
		r.sum.Server.End = running
	}
}

// recordFault is what became of a recording.
func (r *run) recordFault(rec *recorder) error {
	code := rec.Status()
	r.sum.ReturnCodes["record"] = code
	switch code {
	case 0:
		return nil
	case cli.ExitIncomplete:
		return &lackError{"the recording is incomplete:\n" + rec.Tail.Last()}
	}
	return rec.Fault()
}

func (r *run) endRecording(rec *recorder) {
	r.recording(nil)
	rec.end(r.hard)
	rec.remove()
}

// pause waits, and less if there is a reason to end.
func (r *run) pause(d time.Duration, ended <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ended:
	case <-r.soft.Done():
	}
}

// makeTrace names the trace in the summary, and makes a synthetic one.
func (r *run) makeTrace() error {
	if r.o.trace != "" {
		r.sum.Trace = r.given
		r.sum.InputFile = r.given.Path
		return nil
	}
	model := r.o.model
	if model == "" {
		var err error
		if model, err = r.server.askModel(r.soft, r.env); err != nil {
			return err
		}
	}
	r.enter("making the trace")
	path, err := filepath.Abs(r.path("trace.jsonl"))
	if err != nil {
		return err
	}
	r.sum.Trace, err = writeSynthetic(path, &summary.Synthetic{
		InputTokens: r.o.isl, OutputTokens: r.o.osl, Requests: r.o.prompts(&r.plan), Seed: r.plan.Seed, Run: r.place, Model: model, Target: r.o.target,
	})
	r.sum.InputFile = path
	return err
}

// replayArgs are the flags of replay that a plan and the command line decide.
func (o *options) replayArgs(planFile string, urls []string) []string {
	args := []string{"--phases", planFile, "--timeout", o.timeout.String()}
	for _, u := range urls {
		args = append(args, "--url", u)
	}
	if o.timing != "" {
		args = append(args, "--timing", o.timing)
	}
	if o.keyFile != "" {
		args = append(args, "--api-key-file", o.keyFile)
	}
	if o.insecure {
		args = append(args, "--insecure")
	}
	if o.caFile != "" {
		args = append(args, "--ca-file", o.caFile)
	}
	for _, s := range o.overlays() {
		args = append(args, "--set", s)
	}
	if o.trace == "" { // prompts are others in each run, so that no cache knows them
		args = append(args, "--trace-like", fmt.Sprintf("synthetic, %d to %d tokens", o.isl, o.osl))
	}
	return append(append(args, o.bodyFlags()...), passed(o.replayFlags)...)
}

// load runs replay. A server that ends and a recording that breaks off end the load.
func (r *run) load(planFile string, rec *recorder) error {
	if r.soft.Err() != nil {
		return errStopped
	}
	args := append(r.o.replayArgs(planFile, r.server.urls), "-o", r.path("requests.jsonl"), "--progress", "none", r.sum.Trace.Path)
	r.enter("load")
	p, err := sibling.Begin("replay", exec.Command(r.tools.Paths["replay"], args...), r.said)
	if err != nil {
		return err
	}
	defer p.Stop(0, nil) // if this panics
	soft, hard, died, lost := r.soft.Done(), r.hard.Done(), r.server.died(), rec.Done
	var cause error
	for running := true; running; {
		select {
		case <-p.Done:
			running = false
		case <-soft:
			soft = nil
			p.Signal(syscall.SIGINT)
		case <-hard:
			hard = nil
			p.Signal(syscall.SIGINT)
			time.AfterFunc(r.o.stopGrace, func() { p.Signal(syscall.SIGKILL) })
		case <-died:
			died = nil
			cause = fmt.Errorf("the server ended during the load: %s; see %s", r.server.p.How(), r.server.log)
			r.giveUp(p)
		case <-lost:
			lost = nil
			if cause == nil {
				cause = fmt.Errorf("the load was stopped, since it was not recorded any more: %w", rec.Fault())
			}
			r.giveUp(p)
		}
	}
	code := p.Status()
	r.sum.ReturnCodes["replay"] = code
	switch {
	case cause != nil:
		return cause
	case code == 0:
		return nil
	case code == cli.ExitIncomplete:
		return &lackError{"replay: " + lastLine(p.Tail)}
	case code == cli.ExitInterrupted && r.soft.Err() != nil:
		return errStopped
	}
	return p.Fault()
}

// lastLine is the last line that a tool said, without its name, and without hints.
func lastLine(t *sibling.Tail) string {
	lines := t.Lines()
	for i := len(lines) - 1; i >= 0; i-- {
		if _, line, ok := strings.Cut(lines[i], ": "); ok && !strings.HasPrefix(line, "hint: ") {
			return line
		}
	}
	return "exit status 3"
}

// giveUp has replay end now: what is in flight has no end to wait for.
func (r *run) giveUp(p *sibling.Process) {
	p.Signal(syscall.SIGINT)
	time.AfterFunc(time.Second, func() { p.Signal(syscall.SIGINT) })
	time.AfterFunc(time.Second+r.o.stopGrace, func() { p.Signal(syscall.SIGKILL) })
}

// overlays are what bodies get beyond what the trace has.
func (o *options) overlays() (list []string) {
	if o.trace != "" {
		if o.model != "" {
			list = append(list, "model="+quoteJSON(o.model))
		}
		if o.ignoreEOS && exact(o.target) {
			list = append(list, "ignore_eos=true")
		}
	}
	return append(list, o.set...)
}

// spotInto reads the counters; a reading that fails is no reason to stop.
func (r *run) spotInto(name string) *spotAt {
	if !r.o.spots() || r.hard.Err() != nil {
		return nil
	}
	s, wall, err := r.o.spot(r.hard, r.tools, r.path("counter."+name+".arrows"))
	if err != nil {
		if !errors.Is(err, errStopped) {
			r.warn("no_counter_reading", "the energy counters could not be read %s the load: %v", name, err)
		}
		return nil
	}
	return &spotAt{s, wall(s.At)}
}

// spotAt is a spot and its instant.
type spotAt struct {
	*reduce.Spot
	at time.Time
}

const (
	checkWindow = "counter check"
	checkMethod = "rise of the energy counters, read before and after by a process of its own"
)

// finish makes the report of what there is, and says what of it went wrong first.
func (r *run) finish(loadErr, recordErr error, before, after *spotAt) error {
	reportErr := r.report(before, after)
	for _, err := range []error{loadErr, recordErr, reportErr} { // what is worst
		var lacking *lackError
		if err != nil && !errors.As(err, &lacking) {
			return err
		}
	}
	for _, err := range []error{loadErr, recordErr, reportErr} {
		if err != nil {
			return err
		}
	}
	return nil
}

// reduceArgs are the flags of reduce that the command line decides.
func (o *options) reduceArgs() (args []string) {
	for _, s := range o.as {
		args = append(args, "--as", s)
	}
	for _, s := range o.slo {
		args = append(args, "--slo", s)
	}
	if o.isSet("idle-watts") {
		args = append(args, "--idle-watts", fmt.Sprint(o.idleWatts))
	}
	if o.topology != "" {
		args = append(args, "--topology", o.topology)
	}
	return append(args, passed(o.reduceFlags)...)
}

// report runs reduce and, where there is one, plot.
func (r *run) report(before, after *spotAt) error {
	var inputs []string
	for _, name := range []string{"requests.jsonl", "power.arrows"} {
		if info, err := os.Stat(r.path(name)); err == nil && info.Size() > 0 {
			inputs = append(inputs, r.path(name))
		}
	}
	if len(inputs) == 0 {
		return errors.New("there is nothing to reduce")
	}
	r.enter("reducing")
	args := []string{"--format", "json", "-o", r.path("report.json"), "--progress", "none"}
	checked := before != nil && after != nil && after.at.After(before.at) && len(inputs) > 0
	if checked {
		const layout = time.RFC3339Nano
		args = append(args, "--window", fmt.Sprintf("%s=%s..%s", checkWindow, before.at.UTC().Format(layout), after.at.UTC().Format(layout)))
	}
	args = append(append(args, r.o.reduceArgs()...), inputs...)
	p, err := r.finishTool("reduce", args)
	if err != nil {
		return err
	}
	if code := p.Status(); code != 0 && code != cli.ExitIncomplete {
		return p.Fault()
	}
	if err := r.readReport(before, after, checked); err != nil {
		return err
	}
	if r.tools.Paths["plot"] != "" {
		if p, err := r.finishTool("plot", slices.Concat([]string{"-o", r.path("report.html")}, r.plotFlags(), inputs)); err != nil || p.Status() != 0 && p.Status() != cli.ExitIncomplete {
			if err == nil {
				err = p.Fault()
			}
			r.warn("no_plot", "%v", err)
		}
	}
	r.checkRepeats()
	if p.Status() == cli.ExitIncomplete {
		return &lackError{lastLine(p.Tail)}
	}
	return nil
}

// notPlots are the flags of reduce that plot has not.
var notPlots = []string{"format", "every", "per-request", "as", "explain", "truth"}

// plotFlags are those of reduce that the page depends on, so that it says what the report
// says.
func (r *run) plotFlags() (args []string) {
	for _, s := range r.o.slo {
		args = append(args, "--slo", s)
	}
	if r.o.isSet("idle-watts") {
		args = append(args, "--idle-watts", fmt.Sprint(r.o.idleWatts))
	}
	if r.o.topology != "" {
		args = append(args, "--topology", r.o.topology)
	}
	for _, f := range r.o.reduceFlags {
		if name, _, _ := strings.Cut(f, "="); !slices.Contains(notPlots, name) {
			args = append(args, passed([]string{f})...)
		}
	}
	return args
}

// checkRepeats says where synthetic prompts were sent more than once, which a cache of
// prefixes knows then.
func (r *run) checkRepeats() {
	if r.sum.Trace == nil || r.sum.Trace.Synthetic == nil {
		return
	}
	var sent int64
	for _, ph := range r.sum.Phases {
		if ph.Requests != nil {
			sent += ph.Requests.Sent
		}
	}
	if sent > r.sum.Trace.Turns {
		r.warn("prompts_repeated", "%d requests were sent of %d different prompts: a server that keeps prefixes knew some; --requests makes more", sent, r.sum.Trace.Turns)
	}
}

// finishTool runs a tool to its end; the second signal ends it.
func (r *run) finishTool(name string, args []string) (*sibling.Process, error) {
	p, err := sibling.Begin(name, exec.Command(r.tools.Paths[name], args...), nil)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.Done:
	case <-r.hard.Done():
		p.Stop(0, nil)
	}
	r.sum.ReturnCodes[name] = p.Status()
	return p, nil
}

// artifacts are the files of a directory, by what they are.
var artifacts = map[string]string{
	"requests": "requests.jsonl", "telemetry": "power.arrows", "report": "report.json", "page": "report.html", "plan": "plan.yaml",
	"trace": "trace.jsonl", "timing": "trace.jsonl.timing", "counter_before": "counter.before.arrows", "counter_after": "counter.after.arrows",
	"workload_log": "workload.log",
}

func (r *run) listArtifacts() {
	r.sum.Artifacts = maps.Clone(artifacts)
	maps.DeleteFunc(r.sum.Artifacts, func(_, name string) bool {
		_, err := os.Stat(r.path(name))
		return err != nil
	})
}

// awaitCool waits before a run until the GPUs are cool, or for a time.
func (r *run) awaitCool(ctx context.Context) {
	c := &r.o.cool
	if c.pause > 0 {
		r.enter("cooling")
		r.pause(c.pause, nil)
		return
	}
	limit, ok := c.celsius.Get()
	if !ok {
		return
	}
	r.enter("cooling")
	file := filepath.Join(r.dir, "counter.before.arrows")
	defer os.Remove(file)
	for begun := time.Now(); ctx.Err() == nil; {
		s, _, err := r.o.spot(ctx, r.tools, file)
		if errors.Is(err, errStopped) {
			return
		}
		if err != nil {
			r.warn("no_temperature", "the temperature could not be read: %v", err)
			return
		}
		now, ok := s.Hottest().Get()
		switch {
		case !ok:
			r.warn("no_temperature", "no GPU tells its temperature: nothing is waited for")
			return
		case now <= limit:
			return
		case time.Since(begun) > c.timeout:
			r.warn("not_cool", "the hottest GPU has %g °C after %v, and not %g °C", now, c.timeout, limit)
			return
		}
		r.pause(3*time.Second, nil)
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z07:00") }
