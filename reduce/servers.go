package reduce

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// tokenTrack is what a server's counter of tokens showed at the ends of windows.
type tokenTrack struct {
	edges []trace.Time // in order
	next  int          // the first edge that is not reached yet
	at    []tokenEdge  // of the edges reached

	have  bool
	read  trace.Time
	value uint64
	epoch int // how often it has fallen
}

// tokenEdge is the counter at an edge, which lies between two readings.
type tokenEdge struct {
	known   bool
	value   float64 // on the straight line between them
	between float64 // how much it grew between them
	epoch   int
}

// take takes a reading; those not in order of time are passed over.
func (t *tokenTrack) take(at trace.Time, value uint64) {
	if t.have && at <= t.read {
		return
	}
	fell := t.have && value < t.value
	for ; t.next < len(t.edges) && t.edges[t.next] <= at; t.next++ {
		e := tokenEdge{epoch: t.epoch}
		if t.have && !fell {
			grown := float64(value - t.value)
			share := float64(t.edges[t.next]-t.read) / float64(at-t.read)
			e.known, e.value, e.between = true, float64(t.value)+float64(share*grown), grown
		}
		t.at = append(t.at, e)
	}
	if fell {
		t.epoch++
	}
	t.have, t.read, t.value = true, at, value
}

// grown returns by how much the counter grew between two edges, and by how much that may be
// wrong since nobody read it at the edges; false where that is not known, as of
// a server that was started anew in between.
func (t *tokenTrack) grown(from, to trace.Time) (tokens, doubt float64, ok bool) {
	i, _ := slices.BinarySearch(t.edges, from)
	j, _ := slices.BinarySearch(t.edges, to)
	if max(i, j) >= len(t.at) || !t.at[i].known || !t.at[j].known || t.at[i].epoch != t.at[j].epoch {
		return 0, 0, false
	}
	return t.at[j].value - t.at[i].value, t.at[i].between + t.at[j].between, true
}

// loosen notes tokens of a request that the server may count in another window, or that
// only the server counts.
func (ph *phase) loosen(q *trace.Request, outputs []trace.Chunk, sent, done trace.Time) {
	crosses := sent < ph.Start && done >= ph.Start || sent < ph.End.V && done >= ph.End.V
	if crosses || q.Outcome != trace.Succeeded {
		ph.loose += max(q.OutputTokens.Or(0), int64(len(outputs)))
	}
}

// disagreeShare is by how much, beyond what is in flight, the tokens of the servers and
// those of the log may differ.
const disagreeShare = 0.01

// serverTokens says how many tokens the servers generated over a phase, by their own count,
// and doubts the log where that is another one: others may have used the server, or the
// log's count may be wrong.
func (r *Reducer) serverTokens(ph *phase, out *Phase) {
	if ph.slice || len(r.servers) == 0 {
		return
	}
	var tokens, doubt float64
	var sources []string
	for _, s := range r.servers {
		n, d, ok := s.tokens.grown(ph.Start, ph.End.V)
		if !ok {
			return
		}
		tokens, doubt = tokens+n, doubt+d
		if name := string(s.survey.device.Source); !slices.Contains(sources, name) {
			sources = append(sources, name)
		}
	}
	slices.Sort(sources)
	method := "growth of the counter of " + strings.Join(sources, ", ")
	if n := len(r.servers); n > 1 {
		method = fmt.Sprintf("growth of the counters of %d servers (%s)", n, strings.Join(sources, ", "))
	}
	out.Metrics[ServerGenerationTokens] = Metric{Unit: "tokens", Number: &Number{Value: tokens, Method: method}}
	if out.Tokens == nil || out.Tokens.Output == nil || len(r.targets) > len(r.servers) || ph.requests.Unended > 0 {
		return // nothing to compare with, or not all
	}
	logged := *out.Tokens.Output
	by, allowed := math.Abs(tokens-logged), doubt+float64(ph.loose)
	if by > allowed+float64(disagreeShare*logged) {
		r.doubt(ph, WarnTokensDisagree, "", "%s generated %.0f tokens by its own count, the log has %.0f, and what was in flight explains no more than %.0f: others used it, or a count is wrong",
			r.serverNames(), tokens, logged, allowed)
	}
}

func (r *Reducer) serverNames() string {
	if len(r.servers) == 1 {
		return "the server"
	}
	return fmt.Sprintf("the %d servers together", len(r.servers))
}

// A refresh is slow from slowRefresh on if it is more than a phase / refreshParts.
const (
	slowRefresh  = 500 * time.Millisecond
	refreshParts = 20
)

// refresh returns the time between two readings that say something new.
func (s *survey) refresh() time.Duration {
	if s.periodSeen() {
		return max(s.poll(), s.meanChange())
	}
	return s.poll()
}

// warnRefresh warns of devices whose readings are so far apart that the ends of the phase
// are little more than guessed.
func (r *Reducer) warnRefresh(ph *phase, devices []deviceEnergy) {
	var slowest *series
	n := 0
	for _, d := range devices {
		every := d.series.survey.refresh()
		if !d.whole || every < slowRefresh || every.Seconds()*refreshParts <= d.seconds {
			continue
		}
		n++
		if slowest == nil || every > slowest.survey.refresh() {
			slowest = d.series
		}
	}
	if slowest == nil {
		return
	}
	device, which := "", fmt.Sprintf("%d devices have", n)
	if n == 1 {
		device, which = slowest.survey.device.ID, deviceName(slowest.survey.device)+" has"
	}
	hint := ""
	if slowest.survey.device.Source == sample.DCGM {
		hint = "; dcgm-exporter has --collect-interval"
	}
	r.doubt(ph, WarnSlowRefresh, device, "%s a new reading only every %v (median), in a phase of %.4g s: what was drawn in between is a straight line%s",
		which, slowest.survey.refresh().Round(10*time.Millisecond), devices[0].seconds, hint)
}
