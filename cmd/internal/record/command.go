package record

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
)

// The exit statuses of a shell for a command that cannot be run.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

// around records a command: the margin, the command, the margin. The command's
// status counts, whatever became of the recording.
func (o *options) around(ctx context.Context, env *cli.Env, r *recording, m *marker, cmd *exec.Cmd) error {
	signals, stop := catch(ctx)
	defer stop()
	sampling, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	rec := begin(func() error { return r.run(sampling) })
	defer func() { end(); <-rec.done }()

	// The margin is from the first reading on, which is before the command though
	// there is no margin.
	var enough <-chan time.Time
	for running := r.running; running != nil || enough != nil; {
		select {
		case <-running:
			running, enough = nil, time.After(o.margin)
		case <-enough:
			enough = nil
		case <-rec.done:
			return quietPipe(rec.err)
		case <-signals:
			return cli.ErrInterrupted // the command has not begun
		}
	}
	seen, err := o.start(cmd, env, m, o.names.stdout())
	if err != nil {
		return err
	}
	status, left := wait(cmd, signals, rec, func(err error) {
		env.Printf("%v", err)
		env.Printf("%s goes on without being recorded", cmd.Path)
	})
	awaitSeen(seen, signals, left)
	if now := m.clock.Now(); len(o.rules) > 0 {
		m.end(now, now) // with the command ends its last phase
	}
	if !left {
		select {
		case <-time.After(o.margin):
		case <-rec.done:
		case <-signals:
		}
	}
	end()
	<-rec.done
	err = rec.err
	if err != nil {
		err = cli.Incompletef("the recording is incomplete: %w", err)
	} else {
		r.summarise()
		err = r.incomplete()
	}
	if status != 0 && err != nil {
		env.Printf("%v", err)
	}
	if status != 0 {
		return cli.ExitStatus(status)
	}
	return err
}

// awaitSeen waits until all that the command wrote has been passed on. Whoever should
// read it may not: then a signal ends the waiting, and a moment if the command is left
// to itself.
func awaitSeen(seen func(), signals <-chan os.Signal, left bool) {
	all := begin(func() error { seen(); return nil })
	var enough <-chan time.Time
	if left {
		enough = time.After(time.Second)
	}
	select {
	case <-all.done:
	case <-signals:
	case <-enough:
	}
}

// task is something that runs beside.
type task struct {
	done chan struct{} // closed at its end
	err  error         // valid after that
}

func begin(f func() error) *task {
	t := &task{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = f()
	}()
	return t
}

// catch takes over the signals that would end this process while its command
// runs. The end of ctx counts as SIGTERM.
func catch(ctx context.Context) (signals <-chan os.Signal, stop func()) {
	caught, pipes := make(chan os.Signal, 4), make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // the terminal is gone, for the command as well
		signal.Notify(caught, syscall.SIGHUP)
	}
	signal.Notify(pipes, syscall.SIGPIPE) // a write fails instead: the command must not be left alone
	done := context.AfterFunc(ctx, func() { caught <- syscall.SIGTERM })
	return caught, func() {
		done()
		signal.Stop(caught)
		signal.Stop(pipes)
	}
}

// findCommand looks the command up before anything is recorded. Its exit
// status for a failure is a shell's.
func findCommand(env *cli.Env, args []string) (*exec.Cmd, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, cannotRun(env, args[0], err)
	}
	return &exec.Cmd{Path: path, Args: args}, nil
}

func cannotRun(env *cli.Env, name string, err error) error {
	status := exitCannotRun
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		status = exitNotFound
	}
	var wrapped *exec.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &wrapped):
		err = wrapped.Err
	case errors.As(err, &path):
		err = path.Err
	}
	env.Printf("%s: %v", name, err)
	return cli.ExitStatus(status)
}

// start starts the command in this process group, so that Ctrl-C reaches it as
// it does without record. Its output must not get into a recording on standard
// output. With --mark its output passes through this process; seen waits until
// all of it has, once the command has ended.
func (o *options) start(cmd *exec.Cmd, env *cli.Env, m *marker, recordingOnStdout bool) (seen func(), err error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr
	if recordingOnStdout {
		cmd.Stdout = io.Writer(env.Stderr)
	}
	seen = func() {}
	if len(o.rules) > 0 {
		var ours []*os.File
		if ours, seen, err = watched([]*io.Writer{&cmd.Stdout, &cmd.Stderr}, m, o.rules); err != nil {
			return nil, err
		}
		defer func() {
			for _, f := range ours {
				f.Close() // the command has its own
			}
		}()
		// Python would keep lines back from a pipe, and their marks would be late.
		cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	}
	if err := cmd.Start(); err != nil {
		return nil, cannotRun(env, cmd.Args[0], err)
	}
	return seen, nil
}

// wait waits until the command ends and returns its status as a shell gives
// it. SIGINT and SIGHUP are not passed on, since the terminal sends them to the whole
// group; SIGTERM is, once: at a second one the command is left to itself. lost is
// told if the recording ends before the command.
func wait(cmd *exec.Cmd, signals <-chan os.Signal, rec *task, lost func(error)) (status int, left bool) {
	ended := begin(cmd.Wait)
	recording := rec.done
	terminated := false
	for {
		select {
		case <-ended.done:
			return exitStatus(cmd.ProcessState), false
		case s := <-signals:
			switch {
			case s != syscall.SIGTERM:
			case terminated:
				return 128 + int(syscall.SIGTERM), true
			default:
				terminated = true
				cmd.Process.Signal(s) // fails only if it has ended
			}
		case <-recording:
			recording = nil
			if rec.err != nil {
				lost(rec.err)
			}
		}
	}
}

func exitStatus(p *os.ProcessState) int {
	if p == nil {
		return exitCannotRun
	}
	if s, ok := p.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return p.ExitCode()
}
