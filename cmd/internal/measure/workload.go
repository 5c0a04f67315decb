package measure

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/summary"
)

// benchMarks are the phases of trtllm-bench by what it prints.
var benchMarks = []string{
	`Setting up for warmup=warmup`, `Warmup done=`, `Starting benchmark\.\.\.=measure`, `Benchmark complete|PERFORMANCE OVERVIEW=`,
}

// workload is a command that record runs, with the lines around it that say when it
// begins and has ended.
type workload struct {
	begin, end string
	marks      []string // of the user's, or of a benchmark that is known
	args       []string // record's
	command    []string // record's
}

// newWorkload makes what record is to run. Without marks the command is one phase from its
// start to its end, for which the shell says when that is.
func (o *options) newWorkload() workload {
	nonce := "wattrace " + newMark()
	w := workload{begin: nonce + " begins", end: nonce + " has ended", marks: o.marks}
	if len(w.marks) == 0 && strings.Contains(o.workload, "trtllm-bench") {
		w.marks = benchMarks
	}
	marks := w.marks
	if len(marks) == 0 {
		marks, w.marks = []string{w.begin + "=workload"}, []string{}
	}
	w.args = []string{"--mark", w.end + "="}
	for _, m := range marks {
		w.args = append(w.args, "--mark", m)
	}
	// The rest is recorded, and the counters are read, in the margin before the command.
	w.args = append(w.args, "--margin", (o.margin + o.idle + spotMargin).String())
	w.command = []string{"sh", "-c", "echo '" + w.begin + "'\n(" + o.workload + "\n)\ns=$?\necho '" + w.end + "'\nexit $s"}
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
	seen := &watcher{log: log, skip: []string{w.begin, w.end}, end: w.end, ended: make(chan struct{})}
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
			go rec.Stop(r.o.stopGrace, nil)
		}
	}
	code := rec.Status()
	r.sum.ReturnCodes["workload"] = code
	var loadErr error
	switch {
	case code == cli.ExitIncomplete:
		loadErr = &lackError{"record or the workload: exit status 3: " + lastLine(rec.Tail)}
	case code != 0:
		loadErr = fmt.Errorf("the workload: %s; %s", rec.How(), logEnd(r.path("workload.log"), r.path("workload.log")))
	}
	r.endRecording(rec)
	return r.finish(loadErr, nil, before, after)
}

// spotMargin is what a reading of the counters, by another process, takes beside the rest.
const spotMargin = 3 * time.Second

// idleBefore marks the rest before the command.
func (r *run) idleBefore(rec *recorder) {
	if r.o.idle == 0 {
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

// watcher writes what a workload prints to its log, and sees its end.
type watcher struct {
	log   *os.File
	skip  []string // lines of measure's own
	end   string
	ended chan struct{}

	mu   sync.Mutex
	part []byte
	over bool
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range b {
		w.part = append(w.part, c)
		if c != '\n' && len(w.part) < 64<<10 {
			continue
		}
		line := strings.TrimRight(string(w.part), "\n")
		if line == w.end && !w.over {
			w.over = true
			close(w.ended)
		}
		ours := false
		for _, s := range w.skip {
			ours = ours || s == line
		}
		if !ours {
			if _, err := w.log.Write(w.part); err != nil {
				return 0, err
			}
		}
		w.part = w.part[:0]
	}
	return len(b), nil
}
