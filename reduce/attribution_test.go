package reduce

import (
	"encoding/json"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"wattrace/reduce/attribute"
	"wattrace/sample"
	"wattrace/trace"
)

// TestStagesAndRequestsAddUp: what the report says of stages, requests and conversations
// is one split of one energy.
func TestStagesAndRequestsAddUp(t *testing.T) {
	list := closedLoop("p", 4, 5*sec, 45*sec, 2*time.Second, 20)
	for i, q := range list {
		q.Conversation, q.Turn = string(rune('a'+i%5)), i/5
		q.Usage = []byte(`{"prompt_tokens_details":{"cached_tokens":0}}`)
	}
	g := &gpu{watts: loaded(list, 0), period: 100 * ms, until: 61 * sec}
	batches := counterRows([]*gpu{g}, 0, 60*sec, 20*ms)
	spans := []Span{phaseSpan("idle", 1*sec, 4*sec), phaseSpan("p", 5*sec, 45*sec)}
	spans[0].Kind = "idle"
	r := New(trace.Clock{}, spans, true, Options{})
	for _, b := range batches {
		r.Survey(b, Recording{})
	}
	for _, q := range list {
		surveyRequest(r, 1, q, 0)
	}
	r.Start()
	for _, b := range batches {
		r.Telemetry(b, Recording{})
	}
	var sum int64
	for _, q := range list {
		energy, ok := takeRequest(r, 1, q, 0).Get()
		if !ok || energy.Known != 1 || energy.Prefill.Energy+energy.Decode.Energy != energy.Energy || energy.Low > energy.Energy || energy.High < energy.Energy {
			t.Fatalf("%v %+v", ok, energy)
		}
		sum += energy.Energy
	}
	rep := r.Report()
	checkFinite(t, rep)
	all, ok := r.Attributed()
	if !ok || all.Requests != sum || all.Idle+all.Requests+all.Unattributed != all.Total {
		t.Errorf("%+v, requests have %d uJ", all, sum)
	}
	m := rep.Phases[1].Metrics
	micro := func(tag string) int64 { return microjoules(value(t, m, tag)) }
	if parts, whole := micro(PrefillEnergy)+micro(DecodeEnergy)+micro(AttributedIdleEnergy)+micro(UnattributedEnergy), micro(TotalGPUEnergy); parts != whole {
		t.Errorf("parts %d uJ, whole %d uJ", parts, whole)
	}
	near(t, "at rest", value(t, m, AttributedIdleEnergy), 80*40, 5)
	near(t, "requests", float64(sum)/1e6, value(t, m, TotalGPUEnergy)-80*40, 40)
	single, talks := m[EnergyOfRequests], m[EnergyOfConversations]
	if single.Count != int64(len(list)) || talks.Count != 5 {
		t.Fatalf("%d requests, %d conversations", single.Count, talks.Count)
	}
	near(t, "sum of the conversations", talks.Distribution.Mean*5, float64(sum)/1e6, 1e-6)
	near(t, "sum of the requests", single.Distribution.Mean*float64(len(list)), float64(sum)/1e6, 1e-6)
	near(t, "a request", single.P50, 80, 2) // 40 W for 2 s each
	for _, tag := range []string{PrefillEnergy, DecodeEnergy} {
		n := m[tag].Number
		if n.Bounds == nil || n.Bounds.Low > n.Value || n.Bounds.High < n.Value || n.Bounds.High*1e6 > float64(all.Total-all.Idle)+1 {
			t.Errorf("%s: %v in %+v", tag, n.Value, n.Bounds)
		}
	}
	near(t, "per token", value(t, m, DecodeEnergyPerOutputToken), value(t, m, DecodeEnergy)/float64(len(list)*20), 1e-9)
	near(t, "per token", value(t, m, PrefillEnergyPerInputToken), value(t, m, PrefillEnergy)/float64(len(list)*100), 1e-9)
	if a := rep.Attribution; a == nil || a.IdleWatts == nil || *a.IdleWatts < 79 || *a.IdleWatts > 81 || a.Mode == "" {
		t.Errorf("%+v", a)
	}
}

// TestRequestsDoNotDependOnWindows: slices and windows look at the split and do not
// change it, nor anything else that is said of a phase. What requests have, what was
// drawn at rest and what is left are the phase's energy, to the microjoule.
func TestRequestsDoNotDependOnWindows(t *testing.T) {
	list := closedLoop("p", 3, 5*sec, 40*sec, 1700*time.Millisecond, 20)
	g := &gpu{watts: loaded(list, 1), period: 100 * ms, until: 61 * sec}
	sensors := map[string][]*sample.Batch{
		"counter": counterRows([]*gpu{g, g}, 0, 60*sec, 20*ms),
		"instant": rows([]sample.Device{device(0)}, 0, 60*sec, 20*ms, func(_ int, t trace.Time, r sample.Row) {
			r.Set(sample.PowerInstantWatts, g.watts(t/(100*ms)*(100*ms)))
		}),
	}
	spans := []Span{kindSpan("idle", "idle", sec, 4*sec), phaseSpan("p", 5*sec+7, 45*sec)}
	run := func(t *rapid.T, batches []*sample.Batch, from Recording, opt Options) (energies []RequestEnergy, rep *Report) {
		r := New(trace.Clock{}, spans, true, opt)
		for _, b := range batches {
			r.Survey(b, from)
		}
		for _, q := range list {
			surveyRequest(r, 1, q, 0)
		}
		r.Start()
		for _, b := range batches {
			r.Telemetry(b, from)
		}
		sum := int64(0)
		for _, q := range list {
			energies = append(energies, takeRequest(r, 1, q, 0).V)
			sum += energies[len(energies)-1].Energy
		}
		rep = r.Report()
		all, ok := r.Attributed()
		phase, ok2 := r.split.Sum(spans[1].Start, spans[1].End.V)
		if !ok || !ok2 || all.Requests != sum || phase.Idle+phase.Requests+phase.Unattributed != microjoules(rep.Phases[1].Metrics[TotalGPUEnergy].Value) {
			t.Fatalf("%+v: requests have %d uJ; %+v of %v J", all, sum, phase, rep.Phases[1].Metrics[TotalGPUEnergy].Value)
		}
		return energies, rep
	}
	for name, batches := range sensors {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				from := Recording{Spread: time.Duration(rapid.SampledFrom([]int64{0, 0, 12e6}).Draw(t, "spread"))}
				want, plain := run(t, batches, from, Options{})
				opt := Options{Every: time.Duration(rapid.SampledFrom([]int64{0, 10e6, 330e6, 1e9, 7e9 + 1}).Draw(t, "every"))}
				for i := range rapid.IntRange(0, 3).Draw(t, "windows") {
					at := rapid.Int64Range(-1e9, 55e9).Draw(t, "start")
					opt.Windows = append(opt.Windows, Span{Name: string(rune('a' + i)), Start: trace.Time(at),
						End: trace.Some(trace.Time(at + rapid.Int64Range(1, 30e9).Draw(t, "length")))})
				}
				got, rep := run(t, batches, from, opt)
				if d := cmp.Diff(want, got); d != "" {
					t.Fatal(d)
				}
				if d := cmp.Diff(plain.Attribution, rep.Attribution); d != "" {
					t.Fatal(d)
				}
				for i := range spans {
					a, b := plain.Phases[i], rep.Phases[i]
					slices := b.Slices
					b.Slices = nil
					if d := cmp.Diff(a, b); d != "" {
						t.Fatal(d)
					}
					if slices != nil && opt.Every > 100*time.Millisecond {
						addUp(t, &a, slices)
					}
				}
			})
		})
	}
}

// addUp checks that the stages of a phase's slices are those of the phase.
func addUp(t *rapid.T, ph *Phase, slices iter.Seq[*Phase]) {
	for _, tag := range []string{PrefillEnergy, DecodeEnergy} {
		whole, ok := ph.Metrics[tag]
		if !ok {
			return
		}
		sum := int64(0)
		for w := range slices {
			if m, ok := w.Metrics[tag]; ok {
				sum += microjoules(m.Value)
			} else if w.Metrics[RequestsInFlight].Number != nil {
				t.Fatalf("slice %s has requests and no %s", w.Name, tag)
			}
		}
		if want := microjoules(whole.Value); sum != want {
			t.Fatalf("%s of the slices %d uJ, of the phase %d uJ", tag, sum, want)
		}
	}
}

// TestClocksThatLeaveTheRecordingOpen: a doubt that reaches out of the recording is said.
func TestClocksThatLeaveTheRecordingOpen(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	batches := counterRows([]*gpu{g}, 0, 30*sec, 20*ms)
	for _, c := range []struct {
		spread time.Duration
		want   bool
	}{{time.Second, false}, {time.Minute, true}} {
		r := New(trace.Clock{}, []Span{phaseSpan("p", 10*sec, 20*sec)}, true, Options{})
		for _, b := range batches {
			r.Survey(b, Recording{Spread: c.spread})
		}
		r.Start()
		for _, b := range batches {
			r.Telemetry(b, Recording{Spread: c.spread})
		}
		if rep := r.Report(); warned(rep, WarnClock, "p") != c.want {
			t.Errorf("%v: %v", c.spread, rep.Warnings)
		}
	}
}

// TestAttributionSaysWhatItCannotKnow: servers that are taken for one, and answers that
// are not streamed.
func TestAttributionSaysWhatItCannotKnow(t *testing.T) {
	for _, c := range []struct {
		servers, unstreamedEvery int
		wantServers              int
		wantShare                float64
	}{{1, 0, 0, 0}, {3, 0, 3, 0}, {1, 4, 0, 20. / 77}} {
		list := closedLoop("p", 4, 5*sec, 45*sec, 2*time.Second, 20)
		for i, q := range list {
			q.Target = i % c.servers
			if c.unstreamedEvery > 0 && i%c.unstreamedEvery == 0 {
				q.FirstToken, q.Chunks = trace.Opt[trace.Time]{}, nil
			}
		}
		g := &gpu{watts: loaded(list, 0), period: 100 * ms, until: 61 * sec}
		r := New(trace.Clock{}, []Span{phaseSpan("p", 5*sec, 45*sec)}, true, Options{})
		batches := counterRows([]*gpu{g}, 0, 60*sec, 20*ms)
		for _, b := range batches {
			r.Survey(b, Recording{})
		}
		for _, q := range list {
			surveyRequest(r, 0, q, 0)
		}
		r.Start()
		for _, b := range batches {
			r.Telemetry(b, Recording{})
		}
		if a := r.Report().Attribution; a == nil || a.Servers != c.wantServers || a.UnstreamedShare != c.wantShare {
			t.Errorf("%+v: %+v", c, a)
		}
	}
}

// TestFitIsReportedByName: each coefficient under the name of its own.
func TestFitIsReportedByName(t *testing.T) {
	got, err := json.Marshal(fitDoc(attribute.Fit{PromptJoules: 1, OutputJoules: 2, ContextJoules: 3, SharedJoules: 4, Condition: 5, Residual: 6}))
	want := `{"joules_per_prompt_token":1,"joules_per_output_token":2,"joules_per_output_token_and_token_of_context":3,"joules_per_step":4,"condition":5,"residual":6}`
	if err != nil || string(got) != want {
		t.Errorf("%v %s", err, got)
	}
}

// TestResolutionIsTheWorstSensors: of a device that is read often and one that is read once
// in a second, whichever comes first.
func TestResolutionIsTheWorstSensors(t *testing.T) {
	var both [][]*sample.Batch
	for i, poll := range []trace.Time{20 * ms, sec} {
		g := &gpu{watts: flat(300), period: 100 * ms, phase: 30 * ms, until: 41 * sec}
		both = append(both, rows([]sample.Device{device(i)}, 0, 40*sec, poll, func(_ int, at trace.Time, r sample.Row) {
			r.Set(sample.EnergyJoules, g.counter(at))
		}))
	}
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		batches := slices.Concat(both[order[0]], both[order[1]])
		rep := reduceAll(t, []Span{phaseSpan("p", 9*sec, 31*sec)}, true, Options{}, batches, succeeded("p", 10*sec, 12*sec, 20*sec, 10, 10))
		if rep.Attribution == nil {
			t.Fatal("no attribution")
		}
		near(t, "resolution", rep.Attribution.ResolutionSeconds, 1, 0.01)
	}
}

// TestReadingsStandInTheMiddleOfTheirCalls: when a call took 40 ms, what it read is of 20 ms
// after it began, for the counter, for gauges and for other tools' figures.
func TestReadingsStandInTheMiddleOfTheirCalls(t *testing.T) {
	list := closedLoop("p", 4, 10*sec, 20*sec, 2*time.Second, 20)
	watts := loaded(list, 0)
	recorded := func(took time.Duration, counter bool) []*sample.Batch {
		g := &gpu{watts: watts, period: 100 * ms, until: 31 * sec}
		batches := rows([]sample.Device{device(0)}, 0, 30*sec, sec/4, func(_ int, at trace.Time, r sample.Row) {
			if counter {
				r.Set(sample.EnergyJoules, g.counter(at))
			}
			r.Set(sample.PowerWatts, watts(at))
		})
		for _, b := range batches {
			for i := range b.Len() {
				b.Time[i], b.Took[i] = b.Time[i].Add(-took/2), took
			}
		}
		return batches
	}
	run := func(took time.Duration, counter bool) *Report {
		opt := Options{Peers: []string{"aiperf", "inferencex", "zeus"}, Explain: true}
		return reduceAll(t, []Span{phaseSpan("p", 10*sec, 20*sec)}, true, opt, recorded(took, counter), list...)
	}
	for _, counter := range []bool{true, false} {
		// What is certain of a counter is another matter: see below.
		if diff := cmp.Diff(run(0, counter), run(40*time.Millisecond, counter), cmpopts.IgnoreFields(Number{}, "Enclosure")); diff != "" {
			t.Errorf("counter %t: %s", counter, diff)
		}
	}
	// At either end a call is under way: its value may be of before or of after. A value
	// lags by an update, so that the most is known one reading later.
	g := &gpu{watts: watts, period: 100 * ms, until: 31 * sec}
	got := run(40*time.Millisecond, true).Phases[0].Metrics[TotalGPUEnergy].Number.Enclosure
	want := Enclosure{g.counter(19750*ms) - g.counter(10500*ms), g.counter(20500*ms) - g.counter(9750*ms)}
	if diff := cmp.Diff(&want, got, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
		t.Error(diff)
	}
	// Without a log the first and the last reading say what is reported of.
	whole := func(took time.Duration) string {
		return reduceAll(t, nil, false, Options{}, recorded(took, true)).Phases[0].Start
	}
	if before, after := whole(0), whole(40*time.Millisecond); before != after {
		t.Errorf("the recording starts at %s, and %s where calls take longer", before, after)
	}
}
