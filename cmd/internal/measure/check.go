package measure

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/sibling"
)

// askTools has the tools that will be started look at the flags that they will get, with
// their own --check: a mistake found by reduce when the experiment is over would have
// cost it all. Nothing is started for good and nothing is written but in dir, which is
// private.
func (s *session) askTools() error {
	dir, err := os.MkdirTemp("", "wattrace-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := s.askRecord(); err != nil {
		return err
	}
	if s.o.workload == "" {
		if err := s.askReplay(dir); err != nil {
			return err
		}
	}
	return s.askReduce()
}

// ask runs a tool's --check. Its messages are measure's, and so is its status.
func (s *session) ask(name string, args []string, stdin io.Reader) (p *sibling.Process, err error) {
	cmd := exec.Command(s.tools.Paths[name], append([]string{"--check"}, args...)...)
	cmd.Stdin = stdin
	if p, err = sibling.Begin(name, cmd, nil); err != nil {
		return nil, err
	}
	select {
	case <-p.Done:
		return p, nil
	case <-s.soft.Done():
		p.Stop(0, nil)
		return nil, cli.ErrInterrupted
	}
}

// refusal is the error of a --check that failed. What the tool said is said.
func (s *session) refusal(p *sibling.Process) error {
	for _, line := range p.Tail.Lines() {
		s.env.Printf("%s", line)
	}
	if p.Status() == cli.ExitUsage {
		return cli.ExitStatus(cli.ExitUsage)
	}
	if len(p.Tail.Lines()) == 0 {
		return p.Fault()
	}
	return cli.ExitStatus(cli.ExitFailed)
}

// askRecord has record open what it is to sample.
func (s *session) askRecord() error {
	later := s.gpusComeLater()
	args := s.o.recordArgs(!later)
	if s.o.workload != "" {
		w := s.o.newWorkload()
		args = append(append(append(args, w.args...), "--"), w.command...)
	}
	p, err := s.ask("record", args, nil)
	switch {
	case err != nil:
		return err
	case p.Status() == 0 || later && p.Status() == cli.ExitFailed:
		return nil
	}
	return s.refusal(p)
}

// gpusComeLater reports whether there may be no GPUs yet, since a library was named that
// the server's command may be about to serve, as simulate does. Then record tells of what
// is lacking when it starts.
func (s *session) gpusComeLater() bool {
	if s.env.Command == nil || s.o.library == "" {
		return false
	}
	_, err := os.Stat(s.o.library)
	return err == nil
}

// askReplay has replay look at its flags, the plan of the highest concurrency and the
// trace. Synthetic prompts are not made yet: so many stand in for them as the plan's
// first line asks for.
func (s *session) askReplay(dir string) error {
	points := s.o.points(nil)
	most := points[0].concurrency
	for _, p := range points {
		most = max(most, p.concurrency)
	}
	p, err := s.o.planOf(s.plan, most)
	if err != nil {
		return err
	}
	file, err := writePlan(dir, &p)
	if err != nil {
		return err
	}
	var stdin io.Reader
	path := "-"
	if s.given != nil {
		path = s.given.Path
	} else {
		lines := int64(1)
		for _, ph := range p.Phases {
			lines = max(lines, ph.FirstLine)
		}
		stdin = strings.NewReader(strings.Repeat(`{"model":"m","prompt":[1],"max_tokens":1,"stream":true}`+"\n", int(min(lines, mostRequests+1))))
	}
	asked, err := s.ask("replay", append(s.o.replayArgs(file, s.o.urls), path), stdin)
	if err != nil || asked.Status() == 0 {
		return err
	}
	return s.refusal(asked)
}

// askReduce has reduce look at its flags, which name the files of the first run where they
// name any.
func (s *session) askReduce() error {
	if flag, path := s.o.perRequest(); flag {
		if len(s.o.points(nil)) > 1 {
			return cli.Hint(cli.Usagef("--reduce-flag per-request: there are several runs, and one file"), "reduce --per-request FILE DIR/requests.jsonl DIR/power.arrows makes it of each")
		}
		if dir := filepath.Dir(path); filepath.Clean(s.o.out) != dir {
			if info, err := os.Stat(dir); err != nil {
				return err
			} else if !info.IsDir() {
				return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
			}
		}
	}
	inputs := []string{filepath.Join(s.o.out, s.o.points(nil)[0].name, "requests.jsonl"), filepath.Join(s.o.out, s.o.points(nil)[0].name, "power.arrows")}
	p, err := s.ask("reduce", append(s.o.reduceArgs(), inputs...), nil)
	if err != nil || p.Status() == 0 {
		return err
	}
	return s.refusal(p)
}

// perRequest finds reduce's --per-request among --reduce-flag.
func (o *options) perRequest() (given bool, path string) {
	for _, f := range o.reduceFlags {
		if name, value, _ := strings.Cut(f, "="); name == "per-request" {
			return true, value
		}
	}
	return false, ""
}
