package measure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"wattrace/trace"
)

// watch is what the progress line of a run knows: it follows the request log, which replay
// writes every second, and asks record for power and energy. Of energy and tokens it shows
// what came since it first saw a phase, or a stage without one.
type watch struct {
	log  follower
	what string // the phase or the stage of from
	from sight
}

// sight is what was known at an instant.
type sight struct {
	joules trace.Opt[float64]
	tokens int64
}

// progress is the line that is shown while a run goes on.
func (r *run) progress() string {
	r.mu.Lock()
	stage, since, rec := r.stage, r.since, r.rec
	r.mu.Unlock()
	var watts, joules trace.Opt[float64]
	if rec != nil {
		watts, joules = rec.status()
	}
	if stage == "load" {
		r.watch.log.follow(r.path("requests.jsonl"))
	}
	return r.what + r.watch.line(r.where(stage, since), time.Now(), watts, joules)
}

// at is where a run is.
type at struct {
	stage string
	since time.Time
	phase *trace.Phase // of the plan; nil where the log does not say yet, and in other stages
	turns int64        // of the trace; 0 is not known
}

// where finds the phase that the request log is in.
func (r *run) where(stage string, since time.Time) at {
	a := at{stage: stage, since: since}
	if stage != "load" {
		return a
	}
	for i := range r.plan.Phases {
		if ph := &r.plan.Phases[i]; ph.Name == r.watch.log.phase {
			a.phase, a.since = ph, r.watch.log.begun
		}
	}
	if r.given != nil {
		a.turns = r.given.Turns
	}
	return a
}

// line makes the line.
func (w *watch) line(a at, now time.Time, watts, joules trace.Opt[float64]) string {
	what := a.stage
	if a.phase != nil {
		what = a.phase.Name
	}
	seen := sight{joules, w.log.tokens}
	if what != w.what || !w.from.joules.OK {
		w.what, w.from = what, seen
	}
	var b strings.Builder
	b.WriteString(what)
	if a.phase != nil && a.phase.Kind != trace.Idle {
		fmt.Fprintf(&b, ": %d ended, %d in flight", w.log.ended, w.log.sent-w.log.ended)
		if w.log.failed > 0 {
			fmt.Fprintf(&b, ", %d failed", w.log.failed)
		}
	}
	fmt.Fprintf(&b, ", %v", now.Sub(a.since).Round(time.Second))
	if v, ok := watts.Get(); ok {
		fmt.Fprintf(&b, ", %.0f W", v)
	}
	if spent := joules.V - w.from.joules.V; joules.OK && w.from.joules.OK && spent > 0 {
		fmt.Fprintf(&b, ", %.4g kJ", spent/1e3)
		if tokens := seen.tokens - w.from.tokens; a.phase != nil && a.phase.Kind != trace.Idle && tokens > 0 {
			fmt.Fprintf(&b, ", %.3g tokens/J so far", float64(tokens)/spent)
		}
	}
	if left, ok := w.left(a, now); ok {
		fmt.Fprintf(&b, ", %v left", left.Round(time.Second))
	}
	return b.String()
}

// left estimates how long a phase still takes: until its time is over, or as its requests
// have taken so far.
func (w *watch) left(a at, now time.Time) (left time.Duration, ok bool) {
	if a.phase == nil {
		return 0, false
	}
	since := now.Sub(a.since)
	if a.phase.Duration > 0 {
		left, ok = max(0, a.phase.Duration-since), true
	}
	total := a.phase.Requests
	if total == 0 && a.phase.Duration == 0 {
		total = a.turns
	}
	if rest := total - w.log.ended; total > 0 && w.log.ended > 0 && rest >= 0 {
		if by := time.Duration(float64(since) / float64(w.log.ended) * float64(rest)); !ok || by < left {
			left, ok = by, true
		}
	}
	return left, ok
}

// follower reads a request log while it is written: each line once, when it is whole.
type follower struct {
	offset int64
	line   []byte // of one that has not ended: as much of it as can matter
	wall   int64  // Unix time of the log's instant 0, nanoseconds

	phase               string // the latest that began
	begun               time.Time
	sent, ended, failed int64 // requests, in that phase
	tokens              int64 // output tokens of all answers that have ended
}

// lineHead is how much of a line is looked at: what counts stands before the events of an
// answer.
const lineHead = 64 << 10

// follow reads what is new. A log that is not there yet has nothing.
func (f *follower) follow(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := file.ReadAt(buf, f.offset)
		f.offset += int64(n)
		for rest := buf[:n]; len(rest) > 0; {
			part, after, whole := bytes.Cut(rest, []byte("\n"))
			f.line = append(f.line, part[:min(len(part), lineHead-len(f.line))]...)
			if whole {
				f.take(f.line)
				f.line = f.line[:0]
			}
			rest = after
		}
		if err != nil || n == 0 {
			return
		}
	}
}

// In strings quotation marks are escaped: these are keys wherever they are found.
var (
	inPhase  = regexp.MustCompile(`^{"type":"phase","phase":("(?:[^"\\]|\\.)*").*"event":"start","at_nanos":(\d+)`)
	inRun    = regexp.MustCompile(`^{"type":"run",.*?"unix_nanos":"(\d+)"`)
	inTokens = regexp.MustCompile(`,"output_tokens":(\d+)`)
)

func (f *follower) take(line []byte) {
	switch {
	case bytes.HasPrefix(line, []byte(`{"type":"sent"`)):
		f.sent++
	case bytes.HasPrefix(line, []byte(`{"type":"request"`)):
		f.ended++
		if bytes.Contains(line, []byte(`,"outcome":"failed"`)) {
			f.failed++
		}
		if m := inTokens.FindSubmatch(line); m != nil {
			f.tokens += number(m[1])
		}
	default:
		if m := inRun.FindSubmatch(line); m != nil {
			f.wall = number(m[1])
		}
		if m := inPhase.FindSubmatch(line); m != nil && json.Unmarshal(m[1], &f.phase) == nil {
			f.begun = time.Unix(0, f.wall+number(m[2]))
			f.sent, f.ended, f.failed = f.sent-f.ended, 0, 0 // of a phase that hands over some are in flight
		}
	}
}

// number reads digits; more than fit are none.
func number(digits []byte) int64 {
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
