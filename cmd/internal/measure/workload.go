package measure

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"wattrace/formats/summary"
)

// benchMarks are the phases of trtllm-bench by what it prints.
var benchMarks = []string{
	`Setting up for warmup=warmup`, `Warmup done=`, `Starting benchmark\.\.\.=measure`, `Benchmark complete|PERFORMANCE OVERVIEW=`,
}

// workload is a command that record runs, with the lines around it that say when it
// begins and has ended.
type workload struct {
	begin, end string   // lines; the status follows the end
	marks      []string // of the user's, or of a benchmark that is known
	args       []string // record's
	command    []string // record's
}

// newWorkload makes what record is to run. Without marks the command is one phase from its
// start to its end, for which the shell says when that is.
func (o *options) newWorkload() workload {
	nonce := "wattrace " + newMark()
	w := workload{begin: nonce + " begins", end: nonce + " has ended: ", marks: o.marks}
	if len(w.marks) == 0 && strings.Contains(o.workload, "trtllm-bench") {
		w.marks = benchMarks
	}
	marks := w.marks
	if len(marks) == 0 {
		marks, w.marks = []string{w.begin + "=workload"}, []string{}
	}
	w.args = []string{"--mark", strings.TrimSpace(w.end) + "="}
	if len(w.marks) > 0 {
		// The line is none of the command's: a mark like "begin=load" must not match it.
		w.args = append(w.args, "--mark", w.begin+"=")
	}
	for _, m := range marks {
		w.args = append(w.args, "--mark", m)
	}
	// The rest is recorded, and the counters are read, in the margin before the command.
	w.args = append(w.args, "--margin", (o.margin + o.idle + spotMargin).String())
	// The command is a shell's of its own: whatever it is, this one goes on after it. Its
	// errors go where its output goes, into the log.
	w.command = []string{"sh", "-c", "exec 2>&1\necho '" + w.begin + "'\nsh -c \"$1\"\ns=$?\necho '" + w.end + "'$s\nexit $s", "sh", o.workload}
	return w
}

// measureWorkload records a command that brings its own load: record reads what it prints,
// and takes the phases from that.
func (r *run) measureWorkload() error {
	w := r.o.newWorkload()
	r.sum.Workload = &summary.Workload{Command: redactText(r.o.workload), Marks: w.marks}
	log, err := os.Create(r.path("workload.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	seen := &watcher{log: log, begin: w.begin, end: w.end, ended: make(chan struct{})}
	r.enter("starting to record")
	rec, err := r.startRecorder(w.args, w.command, seen)
	if err != nil {
		return err
	}
	r.recording(rec)
	defer r.endRecording(rec)
	r.pause(r.o.margin, rec.Done)
	r.idleBefore(rec)
	before := r.spotInto("before")
	r.enter("workload")
	soft, hard, over := r.soft.Done(), r.hard.Done(), seen.ended
	var after *spotAt
	for running := true; running; {
		select {
		case <-rec.Done:
			running = false
		case <-over: // record goes on for its margin
			over = nil
			after = r.spotInto("after")
		case <-soft: // as a terminal's Ctrl-C, for record, the shell and what it runs
			soft = nil
			syscall.Kill(-rec.Cmd.Process.Pid, syscall.SIGINT)
		case <-hard:
			hard = nil
			go func() {
				rec.StopOthers(r.o.stopGrace, nil)
				rec.Signal(syscall.SIGTERM) // which ends its margin
			}()
		}
	}
	seen.rest()
	if left := rec.Family(); len(left) > 0 && r.soft.Err() == nil {
		r.warn("left_running", "what the workload has left running was ended: processes %v", left)
	}
	rec.Stop(r.o.stopGrace, r.hard.Done())
	r.endRecording(rec)
	return r.finish(r.workloadFault(rec, seen), nil, before, after)
}

// workloadFault is what became of a workload and its recording. record's status is that of
// the command, if that is not 0.
func (r *run) workloadFault(rec *recorder, seen *watcher) error {
	code := rec.Status()
	status, begun, ended := seen.exitStatus()
	stopped := r.soft.Err() != nil
	if !begun {
		r.sum.ReturnCodes["record"] = code
		if stopped {
			return errStopped
		}
		return rec.Fault()
	}
	if !ended { // a signal to all of it
		r.sum.ReturnCodes["workload"] = code
		if stopped && code > 128 {
			return errStopped
		}
		if code == 0 {
			return nil
		}
		return fmt.Errorf("the workload: %s; %s", rec.How(), logEnd(r.path("workload.log"), r.path("workload.log")))
	}
	r.sum.ReturnCodes["workload"] = status
	if stopped && status > 128 {
		return errStopped
	}
	if status != 0 {
		how := fmt.Sprintf("exit status %d", status)
		if s := syscall.Signal(status - 128); s > 0 && s < 65 {
			how += fmt.Sprintf(" (%v)", s)
		}
		return fmt.Errorf("the workload: %s; %s", how, logEnd(r.path("workload.log"), r.path("workload.log")))
	}
	return r.recordFault(rec)
}

// spotMargin is what a reading of the counters, by another process, takes beside the rest.
const spotMargin = 3 * time.Second

// idleBefore marks the rest before the command.
func (r *run) idleBefore(rec *recorder) {
	if r.o.idle == 0 || r.soft.Err() != nil {
		return
	}
	r.enter("idle")
	if _, err := rec.ask("start idle"); err != nil {
		r.warn("no_idle", "the rest before the workload could not be marked: %v", err)
		return
	}
	r.pause(r.o.idle, rec.Done)
	rec.ask("end") // the first mark of the workload ends it, too
}

// watcher writes what a workload prints to its log, but for the lines that measure has the
// shell print, and sees its end.
type watcher struct {
	log        io.Writer
	begin, end string // begin is a line; end stands in one, before the status
	ended      chan struct{}

	mu          sync.Mutex
	part        []byte // of a line, that has not been written
	begun, over bool
	status      int
}

// longestPart is how much of a line without an end is kept back.
const longestPart = 64 << 10

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range b {
		w.part = append(w.part, c)
		var err error
		switch {
		case c == '\n':
			err = w.line()
		case len(w.part) >= longestPart: // the end may stand after it, or begin in it
			keep := len(w.part) - len(w.end)
			_, err = w.log.Write(w.part[:keep])
			w.part = append(w.part[:0], w.part[keep:]...)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// line writes a line. What the command printed last may have no end, and stand before
// measure's.
func (w *watcher) line() error {
	line := w.part
	w.part = w.part[:0]
	if string(line) == w.begin+"\n" {
		w.begun = true
		return nil
	}
	if i := bytes.LastIndex(line, []byte(w.end)); i >= 0 && !w.over {
		if n, err := strconv.Atoi(string(line[i+len(w.end) : len(line)-1])); err == nil {
			w.over, w.status, line = true, n, line[:i]
			close(w.ended)
		}
	}
	_, err := w.log.Write(line)
	return err
}

// rest writes what is left of a line that has no end.
func (w *watcher) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log.Write(w.part) // if that fails, it did before
	w.part = nil
}

// exitStatus is that of the workload, if it has begun, and has ended by itself.
func (w *watcher) exitStatus() (status int, begun, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, w.begun, w.over
}
