package attribute

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// TestKeep: edges that do not count leave no trace in what requests have, not even in
// the fit; those that do still end windows that add up.
func TestKeep(t *testing.T) {
	t.Parallel()
	const second = trace.Time(time.Second)
	var log []*trace.Request
	for i := range trace.Time(60) {
		sent := i * second / 2
		log = append(log, &trace.Request{
			Sent: sent, FirstToken: trace.Some(sent + second/4), LastToken: trace.Some(sent + second + i*second/40), Done: sent + second + i*second/40,
			InputTokens: trace.Some(int64(300 + i*i%700)), OutputTokens: trace.Some(int64(20 + i*37%90)), Outcome: trace.Succeeded,
		})
	}
	run := func(edges, keep []trace.Time) (shares []Share, fit Fit, a *Attributor) {
		grid := NewGrid(edges, 0)
		a = New(grid, Options{Resolution: 100 * time.Millisecond})
		for _, q := range log {
			a.Survey(q, 0)
		}
		microjoules := make([]int64, grid.Len())
		for k := range microjoules {
			watts := 300 + 20*int64(grid.Bound(k)/(second/3)%7)
			microjoules[k] = watts * grid.Bound(k+1).Sub(grid.Bound(k)).Microseconds()
		}
		if keep != nil {
			a.Keep(keep)
		}
		a.Energy(microjoules, nil, trace.Opt[float64]{})
		for _, q := range log {
			shares = append(shares, a.Request(q, 0))
		}
		return shares, a.Fit(), a
	}
	few := []trace.Time{0, 10*second + second/20, 33 * second} // the second cuts what the sensor does not see apart
	many := append([]trace.Time{}, few...)
	for at := trace.Time(0); at < 33*second; at += second / 10 {
		many = append(many, at)
	}
	want, wantFit, _ := run(few, nil)
	got, fit, a := run(many, few)
	if wantFit.Cells < 50 {
		t.Fatalf("a fit of %d cells", wantFit.Cells)
	}
	if fit != wantFit {
		t.Errorf("fit %+v, want %+v", fit, wantFit)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// They may come in any order, as the phases of several runs do.
	if back, _, _ := run(many, []trace.Time{few[2], few[1], few[0]}); !cmp.Equal(want, back) {
		t.Error("edges that were named in another order give other shares")
	}
	if _, cut, _ := run(many, nil); cut.Cells == fit.Cells {
		t.Error("edges that count do not cut cells")
	}
	one, _ := a.Sum(0, few[1])
	two, _ := a.Sum(few[1], 33*second)
	all, _ := a.Sum(0, 33*second)
	if one.Total+two.Total != all.Total || one.Requests+two.Requests != all.Requests || one.Unattributed < 0 || two.Unattributed < 0 {
		t.Errorf("%+v %+v %+v", one, two, all)
	}
}
