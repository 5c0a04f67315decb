package reduce

import (
	"strconv"
	"testing"
	"time"

	"wattrace/trace"
)

// slicesOf returns the slices of a phase, which are named by numbers; what follows from
// its load stands before them.
func slicesOf(ph *Phase) (list []Phase) {
	for _, w := range ph.Windows {
		if _, err := strconv.Atoi(w.Name); err == nil {
			list = append(list, w)
		}
	}
	return list
}

func TestSlicesAddUpToThePhase(t *testing.T) {
	g := &gpu{watts: square, period: 100 * ms, phase: 37 * ms, until: 31 * sec}
	q := succeeded("p", 6*sec, 9*sec, 14*sec, 100, 51)
	for i := range 51 {
		q.Chunks = append(q.Chunks, trace.Chunk{At: 9*sec + trace.Time(i)*100*ms, Kind: trace.ChunkContent})
	}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec+300*ms)}, true, Options{Every: 2 * time.Second}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms), q)
	ph := rep.Phases[0]
	ph.Windows = slicesOf(&ph)
	if len(ph.Windows) != 6 || ph.Windows[5].Name != "6" || ph.Windows[5].Kind != "window" {
		t.Fatalf("%d slices", len(ph.Windows))
	}
	near(t, "the last slice", *ph.Windows[5].DurationSeconds, 0.3, 1e-9)
	var energy int64
	var tokens float64
	var sent int64
	for _, w := range ph.Windows {
		energy += microjoules(value(t, w.Metrics, TotalGPUEnergy))
		tokens += *w.Tokens.Output
		sent += w.Requests.Sent
	}
	if whole := microjoules(value(t, ph.Metrics, TotalGPUEnergy)); energy != whole {
		t.Errorf("slices %d uJ, phase %d uJ", energy, whole)
	}
	near(t, "tokens", tokens, 51, 1e-9)
	near(t, "tokens of the third slice", *ph.Windows[2].Tokens.Output, 20, 1e-9) // from 9 to 11 s
	if sent != 1 || ph.Windows[0].Requests.Sent != 1 {
		t.Errorf("%d requests in the slices, %d in the first", sent, ph.Windows[0].Requests.Sent)
	}
	for _, w := range rep.Warnings {
		if w.Phase != "p" && w.Phase != "" {
			t.Error("a slice warns:", w)
		}
	}
}

func TestWindowThatOverlaps(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	opt := Options{Windows: []Span{{Name: "mine", Start: 7 * sec, End: trace.Some(12 * sec)}, {Name: "late", Start: 28 * sec, End: trace.Some(40 * sec)}}}
	rep := reduceAll(t, []Span{phaseSpan("a", 5*sec, 10*sec), phaseSpan("b", 10*sec, 15*sec)}, true, opt, counterRows([]*gpu{g}, 0, 30*sec, 20*ms),
		succeeded("a", 6*sec, 7*sec, 8*sec, 10, 11), succeeded("b", 11*sec, 12*sec, 13*sec, 10, 11))
	if len(rep.Phases) != 4 || rep.Phases[2].Name != "mine" || rep.Phases[2].Kind != "window" {
		t.Fatalf("%+v", rep.Phases)
	}
	near(t, "energy", value(t, rep.Phases[2].Metrics, TotalGPUEnergy), 1500, 4)
	near(t, "tokens", *rep.Phases[2].Tokens.Output, 11, 1e-9)
	near(t, "a's tokens", *rep.Phases[0].Tokens.Output, 11, 0)
	if warned(rep, WarnOverlap, "mine") || warned(rep, WarnWorkInFlight, "mine") || !warned(rep, WarnNotBracketed, "late") {
		t.Errorf("%v", rep.Warnings)
	}
}

func TestWindowOfARecordingAlone(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	opt := Options{Every: 10 * time.Second, Windows: []Span{{Name: "mine", Start: 7 * sec, End: trace.Some(12 * sec)}}}
	rep := reduceAll(t, nil, false, opt, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	if len(rep.Phases) != 2 || len(rep.Phases[0].Windows) != 3 || rep.Phases[0].Windows[0].Requests != nil {
		t.Fatalf("%+v", rep.Phases)
	}
	near(t, "energy", value(t, rep.Phases[1].Metrics, TotalGPUEnergy), 1500, 4)
}

// A sum that would leave a request out is absent, also where the request was
// sent elsewhere.
func TestUnknownTokensAreNotZeroInAWindow(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	q := succeeded("p", 6*sec, 8*sec, 9*sec, 0, 0)
	q.InputTokens, q.OutputTokens = trace.Opt[int64]{}, trace.Opt[int64]{}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 11*sec)}, true, Options{Every: 2 * time.Second}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms), q)
	ph := rep.Phases[0]
	ph.Windows = slicesOf(&ph)
	absent(t, ph.Metrics, OutputTokensPerJoule)
	if !warned(rep, WarnNoTokens, "p") {
		t.Error("no warning")
	}
	sent, arrived := ph.Windows[0], ph.Windows[1] // 5 to 7 s, 7 to 9 s
	if arrived.Tokens.Input != nil || arrived.Tokens.Output != nil {
		t.Errorf("the slice in which they arrived has %+v", arrived.Tokens)
	}
	absent(t, arrived.Metrics, OutputTokenThroughput, OutputTokensPerJoule)
	if sent.Tokens.Output == nil || *sent.Tokens.Output != 0 {
		t.Errorf("the slice before: %+v", sent.Tokens)
	}
}
