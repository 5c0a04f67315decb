package sibling

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that a tool has started, in a process group of its own, so
// that a Ctrl-C at the terminal reaches the tool alone, which then ends things in
// their order.
type Process struct {
	name string // for messages
	Cmd  *exec.Cmd
	Mark string        // in the environment of all that it starts; "" without one
	Done chan struct{} // closed when it has ended
	Tail *Tail         // of its standard error; nil where that goes to a file
}

// Begin starts a program. What it says on standard error goes to line, if that is not
// nil, line by line.
func Begin(name string, cmd *exec.Cmd, line func(string)) (*Process, error) {
	p := &Process{name: name, Cmd: cmd, Done: make(chan struct{})}
	if cmd.Stderr == nil {
		p.Tail = &Tail{line: line}
		cmd.Stderr = p.Tail
	}
	cmd.WaitDelay = 2 * time.Second // for what it leaves behind that holds its pipes
	if err := startOwned(cmd); err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		cmd.Wait() // what it says is in ProcessState
		if p.Tail != nil {
			p.Tail.end()
		}
		close(p.Done)
	}()
	return p, nil
}

// Ended reports whether it has.
func (p *Process) Ended() bool {
	select {
	case <-p.Done:
		return true
	default:
		return false
	}
}

// Status is the exit status as a shell gives it, of one that has ended.
func (p *Process) Status() int {
	if s, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return p.Cmd.ProcessState.ExitCode()
}

// How says how it ended.
func (p *Process) How() string {
	if s, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return fmt.Sprintf("was ended by a signal (%v)", s.Signal())
	}
	return fmt.Sprintf("exit status %d", p.Status())
}

// Fault is the error of a tool that failed: what it was, and the last it said.
func (p *Process) Fault() error {
	last := p.Tail.Last()
	if last == "" {
		return fmt.Errorf("%s: %s", p.name, p.How())
	}
	return fmt.Errorf("%s: %s; it said last:\n%s", p.name, p.How(), last)
}

// Signal signals the process alone.
func (p *Process) Signal(s syscall.Signal) {
	if !p.Ended() {
		p.Cmd.Process.Signal(s) // fails only if it has ended
	}
}

// Stop ends the process and all that it started and that is left: by SIGTERM and, after
// a grace or when hurry is closed, by SIGKILL. It returns whether that was needed, and
// comes back when nothing is left that it can see.
func (p *Process) Stop(grace time.Duration, hurry <-chan struct{}) (killed bool) {
	return p.stop(grace, hurry, false)
}

// StopOthers is Stop for what the process has started, without itself: a recorder, which
// then closes its file.
func (p *Process) StopOthers(grace time.Duration, hurry <-chan struct{}) (killed bool) {
	return p.stop(grace, hurry, true)
}

func (p *Process) stop(grace time.Duration, hurry <-chan struct{}, others bool) (killed bool) {
	const pause, patience = 20 * time.Millisecond, 10 * time.Second
	begun := time.Now()
	signalled := map[int]bool{} // each once: a second SIGTERM means more to many programs
	for s := syscall.SIGTERM; ; {
		left := p.Family()
		if others {
			left = slices.DeleteFunc(left, func(pid int) bool { return pid == p.Cmd.Process.Pid })
		}
		if len(left) == 0 && (others || p.Ended()) {
			return killed
		}
		for _, pid := range left {
			if !signalled[pid] || s == syscall.SIGKILL {
				signalled[pid] = true
				syscall.Kill(pid, s)
			}
		}
		since := time.Since(begun)
		if s == syscall.SIGKILL && since > patience {
			return killed // it hangs in the kernel: nothing helps
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-hurry:
			grace, hurry = 0, nil
		}
		wait.Stop()
		if s == syscall.SIGTERM && time.Since(begun) >= grace {
			s, killed, begun = syscall.SIGKILL, true, time.Now()
		}
	}
}

// Tail keeps the last lines of what is written to it, and passes on each line.
type Tail struct {
	line func(string)

	mu    sync.Mutex
	part  []byte   // of a line that has not ended
	lines []string // the last ones
}

const (
	tailLines   = 12
	longestLine = 2000 // bytes: more of a line is left out
)

func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range b {
		if c != '\n' {
			if len(t.part) < longestLine {
				t.part = append(t.part, c)
			}
			continue
		}
		t.add()
	}
	return len(b), nil
}

// add ends a line. t.mu is held.
func (t *Tail) add() {
	line := strings.ToValidUTF8(strings.TrimRight(string(t.part), "\r"), "?")
	t.part = t.part[:0]
	if line == "" {
		return
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
	if t.line != nil {
		t.line(line)
	}
}

func (t *Tail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.part) > 0 {
		t.add()
	}
}

// Last returns the last lines, indented.
func (t *Tail) Last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return indent(t.lines)
}

// Lines returns the last lines.
func (t *Tail) Lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

func indent(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "  " + strings.Join(lines, "\n  ")
}

// LastLines returns the last lines of a file, indented, and without what would write
// over the terminal.
func LastLines(path string) string {
	const most = 8 << 10
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, size-most), io.SeekStart)
	}
	b, _ := io.ReadAll(io.LimitReader(f, most))
	t := &Tail{}
	t.Write(bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 { // U+009B begins a sequence as ESC [ does
			return -1
		}
		return r
	}, b))
	t.end()
	return t.Last()
}

// group returns p's process group, if there is something left in it, as a number for
// syscall.Kill.
func (p *Process) group() []int {
	if syscall.Kill(-p.Cmd.Process.Pid, 0) != nil {
		return nil
	}
	return []int{-p.Cmd.Process.Pid}
}

// MarkVariable is in the environment of a server and of all that it starts.
const MarkVariable = "WATTRACE_MEASURE"
