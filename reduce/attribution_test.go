package reduce

import (
	"testing"
	"time"

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
		r.SurveyRequest(1, q, 0)
	}
	r.Start()
	for _, b := range batches {
		r.Telemetry(b, Recording{})
	}
	var sum int64
	for _, q := range list {
		energy, ok := r.Request(1, q, 0).Get()
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
// change it.
func TestRequestsDoNotDependOnWindows(t *testing.T) {
	list := closedLoop("p", 3, 5*sec, 40*sec, 1700*time.Millisecond, 20)
	g := &gpu{watts: loaded(list, 1), period: 100 * ms, until: 61 * sec}
	batches := counterRows([]*gpu{g}, 0, 60*sec, 20*ms)
	run := func(opt Options) (energies []float64, mode string, rep *Report) {
		r := New(trace.Clock{}, []Span{phaseSpan("p", 5*sec, 45*sec)}, true, opt)
		for _, b := range batches {
			r.Survey(b, Recording{})
		}
		for _, q := range list {
			r.SurveyRequest(0, q, 0)
		}
		r.Start()
		for _, b := range batches {
			r.Telemetry(b, Recording{})
		}
		for _, q := range list {
			energies = append(energies, float64(r.Request(0, q, 0).V.Energy)/1e6)
		}
		rep = whole(r.Report())
		checkFinite(t, rep)
		return energies, rep.Attribution.Mode, rep
	}
	want, mode, _ := run(Options{})
	for _, opt := range []Options{
		{Every: 10 * time.Millisecond}, {Every: 330 * time.Millisecond},
		{Windows: []Span{{Name: "far", Start: -1e17, End: trace.Some[trace.Time](1e18)}, {Name: "near", Start: 6*sec + 3, End: trace.Some(7 * sec)}}},
	} {
		got, gotMode, rep := run(opt)
		if gotMode != mode {
			t.Errorf("%+v: mode %s, without %s", opt, gotMode, mode)
		}
		for i := range want {
			// Cells that an edge cuts share a little differently.
			if d := got[i] - want[i]; d > 0.02*want[i] || d < -0.02*want[i] {
				t.Fatalf("%+v: request %d has %v J, without %v J", opt, i, got[i], want[i])
			}
		}
		for _, w := range slicesOf(&rep.Phases[0]) {
			if w.Metrics[RequestsInFlight].Number != nil && w.Metrics[TotalGPUEnergy].Value > 0 {
				value(t, w.Metrics, DecodeEnergy)
			}
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
