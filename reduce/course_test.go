package reduce

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/sample"
	"wattrace/trace"
)

// courseOf follows scripted rows and requests of one phase.
func courseOf(t testing.TB, steps int, span *Span, batches []*sample.Batch, requests ...*trace.Request) (*Report, *Course) {
	t.Helper()
	var spans []Span
	if span != nil {
		spans = []Span{*span}
	}
	r := New(trace.Clock{Host: "node", Anchor: trace.ClockSnapshot{UnixNanos: 1780000000123456789}}, spans, span != nil, Options{Course: steps})
	for _, b := range batches {
		r.Survey(b, Recording{})
	}
	for _, q := range requests {
		surveyRequest(r, 0, q, 0)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		r.Telemetry(b, Recording{})
	}
	for _, q := range requests {
		takeRequest(r, 0, q, 0)
	}
	return r.Report(), r.Course()
}

// TestCourseKeepsExtremes: whatever the readings are, each step has their least and their
// most, in their order, and no step has one that was not read.
func TestCourseKeepsExtremes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		poll := trace.Time(rapid.IntRange(5, 400).Draw(rt, "poll ms")) * ms
		steps := rapid.IntRange(3, 3000).Draw(rt, "steps")
		random := rand.New(rand.NewPCG(seed, 1))
		type reading struct {
			at    trace.Time
			watts float64
		}
		var all []reading
		batches := rows([]sample.Device{device(0)}, 0, 40*sec, poll, func(_ int, at trace.Time, r sample.Row) {
			watts := 100 + 50*random.Float64()
			if random.IntN(40) == 0 {
				watts = 300 + 300*random.Float64()
			}
			r.Set(sample.PowerInstantWatts, watts)
			all = append(all, reading{at, watts})
		})
		_, c := courseOf(t, steps, nil, batches)
		if c == nil {
			rt.Fatal("no course")
		}
		if c.Steps > steps+1 || c.Unix%int64(c.Step) != 0 {
			rt.Fatalf("%d steps of %v from %d, want %d at most", c.Steps, c.Step, c.Unix, steps)
		}
		d := &c.Devices[0]
		for i := range c.Steps {
			low, high, falling := math.NaN(), math.NaN(), false
			for _, r := range all {
				if r.at < c.at(i) || r.at >= c.at(i+1) {
					continue
				}
				if math.IsNaN(low) {
					low, high = r.watts, r.watts
				}
				if r.watts < low {
					low, falling = r.watts, true
				}
				if r.watts > high {
					high, falling = r.watts, false
				}
			}
			if !same(low, d.Low[i]) || !same(high, d.High[i]) || falling != d.Falling[i] {
				rt.Fatalf("step %d of %v: %v to %v, %t; want %v to %v, %t", i, c.Step, d.Low[i], d.High[i], d.Falling[i], low, high, falling)
			}
		}
	})
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// TestCourseSums: energy, tokens, time in flight and requests of all steps add up to those
// of the phase that they hold.
func TestCourseSums(t *testing.T) {
	t.Parallel()
	g := &gpu{watts: square, period: 100 * ms, phase: 37 * ms, until: 41 * sec}
	random := rand.New(rand.NewPCG(4, 4))
	var requests []*trace.Request
	var tokens, inFlight int64
	for i := range 200 {
		sent := 6*sec + trace.Time(random.IntN(20_000))*ms
		q := succeeded("p", sent, sent+200*ms, sent+trace.Time(300+random.IntN(4000))*ms, 100, int64(1+random.IntN(90)))
		q.Seq = int64(i)
		if i%2 == 0 {
			for at := q.FirstToken.V; at <= q.LastToken.V; at += 130 * ms {
				q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: trace.ChunkContent})
			}
		}
		tokens += q.OutputTokens.V
		inFlight += int64(q.Done - q.Sent)
		requests = append(requests, q)
	}
	span := phaseSpan("p", 5*sec, 32*sec)
	rep, c := courseOf(t, 500, &span, counterRows([]*gpu{g}, 0, 40*sec, 20*ms), requests...)
	if got := c.Output[c.Steps]; got != tokens*microtokens {
		t.Errorf("%d millionths of a token, want %d tokens", got, tokens)
	}
	var busy, sent int64
	for i := range c.Steps {
		busy += c.Busy[i]
		sent += c.Sent[i]
		if c.Unknown[i] {
			t.Errorf("step %d: tokens are not known", i)
		}
	}
	if busy != inFlight || sent != 200 {
		t.Errorf("%d ns in flight, want %d; %d sent", busy, inFlight, sent)
	}
	i, j := c.step(5*sec), c.step(32*sec)
	joules := float64(c.Devices[0].Energy[j]-c.Devices[0].Energy[i]) / 1e6
	near(t, "energy", joules, value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 500*c.Step.Seconds()*2)
	if c.Devices[0].Low != nil || c.Devices[0].PowerMethod != "" {
		t.Error("a counter alone shows no power")
	}
}

// TestCourseLanes: no two requests of a lane overlap, and there are no more lanes than
// requests that were in flight at once.
func TestCourseLanes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(9, 9))
	var requests []*trace.Request
	for i := range 400 {
		sent := 1*sec + trace.Time(random.IntN(30_000))*ms
		q := succeeded("p", sent, sent+100*ms, sent+trace.Time(200+random.IntN(3000))*ms, 1, 1)
		q.Seq = int64(i)
		requests = append(requests, q)
	}
	span := phaseSpan("p", 0, 40*sec)
	_, c := courseOf(t, 500, &span, nil, requests...)
	if len(c.Requests) != 400 || c.Thinned != 1 {
		t.Fatalf("%d requests, one of %d", len(c.Requests), c.Thinned)
	}
	most := 0
	for _, a := range c.Requests {
		n := 0
		for _, b := range c.Requests {
			if b.Sent <= a.Sent && b.Done > a.Sent {
				n++
			}
			if a != b && a.Lane == b.Lane && a.Sent < b.Done && b.Sent < a.Done {
				t.Fatalf("%+v and %+v overlap", a, b)
			}
		}
		most = max(most, n)
	}
	if c.Lanes != most {
		t.Errorf("%d lanes, and %d were in flight at most", c.Lanes, most)
	}
}

// TestCourseThins: of very many requests every second, fourth, ... is kept, evenly.
func TestCourseThins(t *testing.T) {
	t.Parallel()
	c := &Course{Thinned: 1, HasLog: true, Step: time.Second, Steps: 100_000}
	c.Output, c.Unknown, c.Busy, c.Sent = make([]int64, c.Steps+1), make([]bool, c.Steps), make([]int64, c.Steps), make([]int64, c.Steps)
	for i := range 3*courseRequests + 7 {
		at := trace.Time(i) * sec
		c.request(succeeded("p", at, at+100*ms, at+500*ms, 1, 1), nil, 0)
	}
	if c.Thinned != 4 || len(c.Requests) != (3*courseRequests+7+3)/4 {
		t.Fatalf("%d requests, one of %d", len(c.Requests), c.Thinned)
	}
	for i, q := range c.Requests {
		if q.Sent != trace.Time(4*i)*sec {
			t.Fatalf("request %d was sent at %v", i, q.Sent)
		}
	}
}

// TestCourseOfNothing: without a place in time there is no course.
func TestCourseOfNothing(t *testing.T) {
	t.Parallel()
	if _, c := courseOf(t, 100, nil, nil); c != nil {
		t.Errorf("%+v", c)
	}
	span := phaseSpan("p", 0, 10*sec)
	span.Unplaced = true
	if _, c := courseOf(t, 100, &span, nil, succeeded("p", 0, sec, 2*sec, 1, 1)); c != nil {
		t.Errorf("%+v", c)
	}
}
