package measure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/sibling"
	"wattrace/formats/summary"
	"wattrace/trace"
)

// session is what the runs of one command share.
type session struct {
	o          *options
	env        *cli.Env
	soft, hard context.Context
	tools      *sibling.Tools
	server     *server
	given      *summary.Trace // of --trace
	plan       trace.Plan     // of --phases
	host       string
	place      int // of the run that is at work, in the sweep
}

// point is one run of a sweep: what it is called, and what is its own.
type point struct {
	name                string // of its directory; "" is the only run there is
	concurrency, repeat int    // concurrency 0 is the plan's
}

// points are all runs, in turns: each of the concurrencies before any is repeated. What a
// sweep that is resumed has keeps its name, which a first repeat has not where there was
// to be no other.
func (o *options) points(before *summary.Summary) (list []point) {
	concurrencies := o.concurrencies
	if len(concurrencies) == 0 {
		concurrencies = []int{0}
	}
	for repeat := range o.repeat {
		for _, c := range concurrencies {
			p := point{concurrency: c, repeat: repeat + 1}
			switch {
			case len(concurrencies) > 1 && o.repeat > 1:
				p.name = fmt.Sprintf("c%d-r%d", c, p.repeat)
			case len(concurrencies) > 1:
				p.name = fmt.Sprintf("c%d", c)
			case o.repeat > 1:
				p.name = fmt.Sprintf("r%d", p.repeat)
			}
			if before != nil {
				for _, r := range before.Runs {
					if r.Concurrency == c && r.Repeat == p.repeat && runName.MatchString(r.Directory) {
						p.name = r.Directory
					}
				}
			}
			list = append(list, p)
		}
	}
	return list
}

// measure does all that the command line asks for.
func measure(ctx context.Context, env *cli.Env, o *options) (err error) {
	s := &session{o: o, env: env}
	if s.host, err = os.Hostname(); err != nil {
		s.host = "localhost"
	}
	if err := mayUse(o.out, env.Force() || o.resume); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	var stop func()
	s.soft, s.hard, stop = cli.Signals(ctx)
	defer stop()
	if err := s.askTools(); err != nil {
		return err
	}
	if o.workload == "" {
		if s.server, err = newServer(o); err != nil {
			return err
		}
		if env.Command != nil {
			if err := s.server.mustBeFree(s.soft); err != nil {
				return err
			}
		}
	}
	before, unlock, err := openDirectory(o.out, env.Force(), o.resume)
	if err != nil {
		return err
	}
	defer unlock()
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE) // a write fails instead: nothing must be left running
	defer signal.Stop(pipes)
	if s.server != nil {
		defer func() { s.server.stop(s.hard) }() // on every path, also a panic's
	}
	points := o.points(before)
	if len(points) == 1 {
		return s.single(points[0], before)
	}
	return s.sweep(points, before)
}

// prepare reads what the user gives, before anything is started: it may have faults.
func (s *session) prepare() (err error) {
	needed := []string{"record", "replay", "reduce"}
	if s.o.workload != "" {
		needed = []string{"record", "reduce"}
	}
	if s.tools, err = sibling.Find("measure", needed, []string{"plot"}); err != nil {
		return err
	}
	if s.plan, err = s.o.readPlan(); err != nil {
		return err
	}
	if s.o.workload != "" {
		return nil
	}
	if s.env.Command != nil {
		if _, err := exec.LookPath(s.env.Command[0]); err != nil {
			var wrapped *exec.Error
			if errors.As(err, &wrapped) {
				err = wrapped.Err
			}
			return fmt.Errorf("%s: %w", s.env.Command[0], err)
		}
	}
	for _, p := range s.o.points(nil) {
		if _, err := s.o.planOf(s.plan, p.concurrency); err != nil {
			return err
		}
	}
	if s.o.topology != "" {
		if _, err := os.Stat(s.o.topology); err != nil {
			return err
		}
	}
	if s.o.trace == "" {
		return nil
	}
	s.o.bodies.Model, s.o.bodies.Target = s.o.model, s.o.target
	t, closer, err := s.o.bodies.Load(s.env, s.o.trace, s.o.timing, s.o.bodiesSet)
	if err != nil {
		return err
	}
	s.o.made = t.Made != nil
	path, err := filepath.Abs(s.o.trace)
	s.given = &summary.Trace{Path: path, SHA256: t.SHA256, Turns: int64(len(t.Turns))}
	if t.Made != nil {
		s.given.Format, s.given.SourceSHA256 = t.Made.Format, t.Made.SourceSHA256
	}
	closer.Close()
	return err
}

// head is what every summary begins with.
func (s *session) head(kind summary.Kind) *summary.Summary {
	sum := &summary.Summary{
		Schema: summary.Schema, Producer: cli.Producer(), Kind: kind, Status: summary.Running, Start: stamp(time.Now()), Host: s.host,
		Settings: s.settings(), Tools: s.tools.Versions,
	}
	if s.given != nil {
		sum.Trace, sum.InputFile = s.given, s.given.Path
	}
	return sum
}

// settings are the flags, and what they name: the plan as it was read, the trace's hash, the
// command.
func (s *session) settings() map[string]string {
	all := maps.Clone(s.o.settings)
	if s.given != nil {
		all["trace"] = s.given.Path
		all["trace sha256"] = s.given.SHA256
	}
	if s.o.phases != "" {
		all["phases"] = planText(&s.plan)
	}
	if len(s.o.urls) > 0 { // by WATTRACE_URL, too
		all["url"] = redactText(strings.Join(s.o.urls, " "))
	}
	if s.env.Command != nil {
		all["command"] = strings.Join(redactCommand(s.env.Command), " ")
	}
	return all
}

// mayResume refuses to go on with something else than what was begun.
func (s *session) mayResume(before *summary.Summary, kind summary.Kind) error {
	if before.Kind != kind {
		if before.Kind == summary.Run && s.o.repeat > 1 && len(s.o.concurrencies) < 2 {
			return cli.Hint(fmt.Errorf("--resume: %s is of a single run, which cannot get repeats", filepath.Join(s.o.out, summaryFile)), "begin with --repeat in another directory")
		}
		return fmt.Errorf("--resume: %s is of a %s, and this is a %s", filepath.Join(s.o.out, summaryFile), before.Kind, kind)
	}
	now := s.settings()
	if err := s.mayRepeat(before); err != nil {
		return err
	}
	names := maps.Clone(now)
	maps.Copy(names, before.Settings)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		is, isSet := now[name]
		was, wasSet := before.Settings[name]
		switch {
		case name == "repeat": // which may grow
		case isSet && !wasSet:
			return fmt.Errorf("--resume: %s was not given, and is %s now", name, is)
		case !isSet && wasSet:
			return fmt.Errorf("--resume: %s was %s, and is not given now", name, was)
		case is != was:
			return fmt.Errorf("--resume: %s was %s, and is %s now", name, was, is)
		}
	}
	return nil
}

// mayRepeat refuses fewer repeats than a sweep had. More follow those that there are, as
// they would have from the beginning.
func (s *session) mayRepeat(before *summary.Summary) error {
	had := 1
	if text, ok := before.Settings["repeat"]; ok {
		var err error
		if had, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("%s: repeat %q is no number", filepath.Join(s.o.out, summaryFile), text)
		}
	}
	if s.o.repeat < had {
		return cli.Hint(fmt.Errorf("--resume: repeat was %d, and is %d now", had, s.o.repeat), "--resume adds repeats, and takes none away")
	}
	return nil
}

// newRun prepares a run.
func (s *session) newRun(p point, dir string) (*run, error) {
	r := &run{session: s, dir: dir, sum: s.head(summary.Run)}
	r.sum.ReturnCodes = map[string]int{}
	if p.name != "" {
		r.what = p.name + ": "
	}
	if s.o.workload == "" {
		var err error
		if r.plan, err = s.o.planOf(s.plan, p.concurrency); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// single does the only run there is.
func (s *session) single(p point, before *summary.Summary) error {
	if before != nil {
		if err := s.mayResume(before, summary.Run); err != nil {
			return err
		}
		if before.Status.Finished() {
			s.env.Summaryf("%s: is finished already", s.o.out)
			return s.tell(before)
		}
		if err := clean(s.o.out); err != nil {
			return err
		}
	}
	r, err := s.newRun(p, s.o.out)
	if err != nil {
		return err
	}
	stop := s.env.Progress(r.progress)
	err = r.do()
	stop()
	if s.server != nil {
		s.server.stop(s.hard)
	}
	if err := errors.Join(err, s.ended(r)); err != nil {
		return err
	}
	return s.tell(r.sum)
}

// ended writes into a run's summary how its server ended.
func (s *session) ended(r *run) error {
	if s.server == nil || s.server.p == nil || r.sum.Server == nil {
		return nil
	}
	r.sum.Server.End = s.server.end
	if s.server.p.Ended() {
		r.sum.ReturnCodes["server"] = s.server.p.Status()
	}
	return writeSummary(r.dir, r.sum)
}

// tell prints the table of a run or of a sweep, and returns the error of its status.
func (s *session) tell(sum *summary.Summary) error {
	if _, err := s.env.Stdout.Write(table(sum)); errors.Is(err, syscall.EPIPE) {
		return cli.ExitStatus(cli.ExitFailed) // whoever closed the pipe knows
	} else if err != nil {
		return err
	}
	if s.tools.Paths["plot"] == "" && (sum.Kind == summary.Sweep || sum.Artifacts["report"] != "") {
		s.env.Summaryf("no report.html: there is no plot beside measure")
	}
	switch sum.Status {
	case summary.Complete:
		return nil
	case summary.Incomplete:
		return cli.Incompletef("%s: incomplete: %s", s.o.out, sum.Reason)
	case summary.Interrupted:
		return cli.ErrInterrupted
	}
	if sum.Kind == summary.Run { // its error is said already
		return cli.ExitStatus(cli.ExitFailed)
	}
	return fmt.Errorf("%s: failed: %s", s.o.out, sum.Reason)
}

// ensureServer sees to it that there is a server, and waits until it is ready: one that
// ended in an earlier run is started again.
func (s *session) ensureServer(r *run) error {
	defer s.describe(r)
	if s.server.p == nil && s.env.Command == nil {
		r.enter("waiting for the server" + s.serverAt())
		return s.server.await(s.soft, s.hard, nil, time.Now())
	}
	if s.server.p != nil && s.server.alive() && !s.o.restart {
		r.enter("waiting for the server" + s.serverAt())
		return s.server.await(s.soft, s.hard, s.server.p.Done, time.Now())
	}
	s.server.stop(s.hard)
	r.enter("starting the server" + s.serverAt())
	dir := s.o.out
	if s.o.restart {
		dir = r.dir
	}
	return s.server.start(s.soft, s.hard, s.env, dir, s.env.Command)
}

// serverAt says where the server is asked whether it is ready: of a command without a port that
// is a guess, which nobody would find out from its silence.
func (s *session) serverAt() string {
	if s.o.readyURL != "" {
		return " at " + redactURL(s.o.readyURL)
	}
	if len(s.server.urls) == 0 {
		return ""
	}
	return " at " + redactURL(s.server.urls[0])
}

// describe says in the summary which server it is.
func (s *session) describe(r *run) {
	d := &summary.Server{Command: redactCommand(s.env.Command), Version: s.server.version}
	for _, u := range s.server.urls {
		d.URLs = append(d.URLs, redactURL(u))
	}
	if s.server.p != nil {
		if rel, err := filepath.Rel(r.dir, s.server.log); err == nil {
			d.Log = rel
		}
		if s.server.ready > 0 {
			seconds := s.server.ready.Seconds()
			d.ReadySeconds = &seconds
		}
	}
	if d.URLs == nil {
		d.URLs = []string{}
	}
	r.sum.Server = d
}
