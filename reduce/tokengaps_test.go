package reduce

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/trace"
)

// told gives the events of a request their tokens.
func told(q *trace.Request, tokens ...int32) *trace.Request {
	sum := int64(0)
	for i, n := range tokens {
		q.Chunks[i].Tokens = n
		sum += int64(n)
	}
	q.ChunkTokens, q.OutputTokens = true, trace.Some(sum)
	return q
}

func TestTokenGapsByHand(t *testing.T) {
	// A role; 2 tokens; 3 after 30 ms; a keep-alive; text of no token; a token without
	// text, and then 1 after 40 ms more than that; the finish with a token that nobody sees.
	usage := told(chunked(0, 0, "rcckcocfud", 10, 20, 50, 55, 60, 80, 90, 91, 92, 93), 0, 2, 3, 0, 0, 1, 1, 1, 0, 0)
	single := chunked(200, 200, "rcgctfud", 210, 220, 230, 245, 260, 261, 262, 263)
	short := chunked(300, 300, "cf", 310, 311) // has no gaps
	many := chunked(400, 400, "ccf", 410, 500, 501)
	many.OutputTokens.V = 7 // in two events, who knows how many in which
	few := chunked(500, 500, "ccf", 510, 600, 601)
	few.OutputTokens.V = 1
	counted := chunked(600, 600, "cc", 610, 700)
	counted.TokenSource = trace.FromChunks
	two := chunked(700, 700, "ccff", 710, 800, 801, 802)
	timed := chunked(800, 800, "cc", 810, 815)
	timed.TokenSource = trace.FromTimings
	failed := told(chunked(900, 900, "cc", 910, 1900), 1, 1)
	failed.Outcome = trace.Failed
	rep := reduceAll(t, []Span{phaseSpan("p", 0, 3*sec)}, true, Options{}, nil, usage, single, short, many, few, counted, two, timed, failed)
	d := distribution(t, rep.Phases[0].Metrics, InterTokenLatencyPooled)
	// 10 ms three times, 20 twice; 10, 15, 15; 5.
	if d.Count != 9 {
		t.Errorf("of %d tokens, want 9", d.Count)
	}
	near(t, "mean", d.Mean, (3*10+2*20+10+15+15+5)/9e3, 1e-9)
	near(t, "min", d.Min, 5e-3, 1e-12)
	near(t, "max", d.Max, 20e-3, 1e-12)
	near(t, "p50", d.P50, 10e-3, 1e-4)
	if want := "gap / tokens that it brought, for each token, of 3 of 7 requests with gaps: 1 by usage with each event, 2 with one token an event"; d.Of != want {
		t.Errorf("%q, not %q", d.Of, want)
	}
	if d.Coverage == nil || *d.Coverage != (Coverage{3, 7}) || d.Histogram == nil {
		t.Errorf("%+v", d)
	}
	// What is not known is not said, nor that all is.
	rep = reduceAll(t, []Span{phaseSpan("p", 0, 3*sec)}, true, Options{}, nil, short, many, few, counted, two)
	absent(t, rep.Phases[0].Metrics, InterTokenLatencyPooled)
	rep = reduceAll(t, []Span{phaseSpan("p", 0, 3*sec)}, true, Options{}, nil, single, short)
	if d := distribution(t, rep.Phases[0].Metrics, InterTokenLatencyPooled); d.Coverage != nil || !strings.HasSuffix(d.Of, "of 1 of 1 request with gaps: 1 with one token an event") {
		t.Errorf("%+v", d)
	}
}

// However the tokens are shared out, the gaps between them add up to the time from the
// first event that brought some to the last; with one each, told or counted, they are the
// gaps between events; and gaps between events do not depend on tokens.
func TestTokenGapProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var plain, list []*trace.Request
		between, tokens, one := time.Duration(0), int64(0), rapid.Bool().Draw(rt, "one each")
		for range rapid.IntRange(1, 10).Draw(rt, "requests") {
			kinds := "c" + rapid.StringOfN(rapid.SampledFrom([]rune("rgctuko")), 0, 12, -1).Draw(rt, "kinds")
			var at []trace.Time
			for range kinds {
				at = append(at, trace.Time(rapid.IntRange(0, 500).Draw(rt, "at")))
			}
			slices.Sort(at)
			q := chunked(0, 0, kinds, at...)
			copied := *q
			plain = append(plain, &copied)
			var counts []int32
			var first, last trace.Opt[trace.Time]
			pending := int64(0)
			for i := range q.Chunks {
				output := q.Chunks[i].Kind.Output()
				n := int32(rapid.IntRange(0, 5).Draw(rt, "tokens"))
				if one {
					n = 0
					if output {
						n = 1
					}
				}
				counts = append(counts, n)
				if pending += int64(n); output && pending > 0 {
					if last = trace.Some(q.Chunks[i].At); !first.OK {
						first = last
					} else {
						tokens += pending
					}
					pending = 0
				}
			}
			between += last.V.Sub(first.V)
			q.Chunks = slices.Clone(q.Chunks)
			list = append(list, told(q, counts...))
		}
		metrics := func(list []*trace.Request) map[string]Metric {
			ph := &phase{}
			for _, q := range list {
				gaps := gapsOf(q.Outputs(), nil)
				split, tokens := tokenGapsOf(q, q.Outputs(), nil)
				ph.take(q, &kept{gaps: gaps, split: split, tokens: tokens})
			}
			m := map[string]Metric{}
			ph.describe(m)
			return m
		}
		got, without := metrics(list), metrics(plain)
		a, b := got[InterChunkLatency].Distribution, without[InterChunkLatency].Distribution
		if (a == nil) != (b == nil) || a != nil && a.Mean != b.Mean {
			rt.Fatalf("gaps between events: %+v, and with tokens %+v", b, a)
		}
		d := got[InterTokenLatencyPooled].Distribution
		if d == nil {
			if tokens > 0 {
				rt.Fatalf("no gaps of %d tokens", tokens)
			}
			return
		}
		if d.Count != tokens {
			rt.Fatalf("gaps of %d tokens, want %d", d.Count, tokens)
		}
		near(t, "sum", d.Mean*float64(d.Count), between.Seconds(), 1e-9)
		if single := without[InterTokenLatencyPooled].Distribution; one && (single == nil || single.P99 != d.P99 || single.Mean != d.Mean || d.P50 != a.P50 || d.Count != a.Count) {
			rt.Fatalf("one token each: %+v, counted %+v, events %+v", d, single, a)
		}
	})
}
