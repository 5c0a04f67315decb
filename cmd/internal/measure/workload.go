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

// measureWorkload records a command that brings its own load: record reads what it prints,
// and takes the phases from that. Without marks the command is one phase from its start to
// its end, for which the shell says when that is.
func (r *run) measureWorkload() error {
	nonce := "wattrace " + newMark()
	begin, end := nonce+" begins", nonce+" has ended"
	marks := r.o.marks
	if len(marks) == 0 && strings.Contains(r.o.workload, "trtllm-bench") {
		marks = benchMarks
	}
	r.sum.Workload = &summary.Workload{Command: redactText(r.o.workload), Marks: marks}
	if len(marks) == 0 {
		r.sum.Workload.Marks = []string{}
		marks = []string{begin + "=workload"}
	}
	extra := []string{"--mark", end + "="}
	for _, m := range marks {
		extra = append(extra, "--mark", m)
	}
	// The rest is recorded, and the counters are read, in the margin before the command.
	margin := r.o.margin + r.o.idle + spotMargin
	extra = append(extra, "--margin", margin.String())
	log, err := os.Create(r.path("workload.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	seen := &watcher{log: log, skip: []string{begin, end}, end: end, ended: make(chan struct{})}
	script := "echo '" + begin + "'\n(" + r.o.workload + "\n)\ns=$?\necho '" + end + "'\nexit $s"
	r.enter("starting to record")
	rec, err := r.startRecorder(extra, []string{"sh", "-c", script}, seen)
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
