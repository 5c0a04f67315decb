package attribute_test

import (
	"fmt"
	"time"

	"wattrace/reduce/attribute"
	"wattrace/trace"
)

// Two requests of 2 s share 4 s at 300 W, of which 100 W are drawn at rest. The
// run is too short for a fit, so tokens decide.
func Example() {
	at := func(seconds float64) trace.Time { return trace.Time(seconds * 1e9) }
	request := func(sent float64, input, output int64) *trace.Request {
		return &trace.Request{
			Sent: at(sent), FirstToken: trace.Some(at(sent + 0.5)), LastToken: trace.Some(at(sent + 2)), Done: at(sent + 2),
			InputTokens: trace.Some(input), OutputTokens: trace.Some(output), Outcome: trace.Succeeded,
			Usage: []byte(`{"prompt_tokens_details":{"cached_tokens":0}}`),
		}
	}
	log := []*trace.Request{request(1, 800, 51), request(1, 800, 151)}

	grid := attribute.NewGrid([]trace.Time{at(0), at(1), at(4)}, 0)
	a := attribute.New(grid, attribute.Options{Resolution: 100 * time.Millisecond})
	for _, q := range log {
		a.Survey(q, 0)
	}

	microjoules := make([]int64, grid.Len())
	for k := range microjoules {
		microjoules[k] = int64(300 * grid.Bound(k+1).Sub(grid.Bound(k)).Microseconds())
	}
	a.Energy(microjoules, nil, trace.Some(100.0))

	for _, q := range log {
		s := a.Request(q, 0)
		fmt.Printf("%.1f J (%.0f to %.0f): prefill %.1f J, decode %.1f J\n", float64(s.Energy)/1e6,
			float64(s.Low)/1e6, float64(s.High)/1e6, float64(s.Prefill.Energy)/1e6, float64(s.Decode.Energy)/1e6)
	}
	sum, _ := a.Sum(at(1), at(4))
	fmt.Printf("of %.0f J: idle %.0f J, requests %.1f J, unattributed %.1f J\n", float64(sum.Total)/1e6,
		float64(sum.Idle)/1e6, float64(sum.Requests)/1e6, float64(sum.Unattributed)/1e6)
	fmt.Println(a.Mode(), "-", a.Fit().Refused)
	// Output:
	// 125.0 J (100 to 240): prefill 50.0 J, decode 75.0 J
	// 275.0 J (160 to 330): prefill 50.0 J, decode 225.0 J
	// of 900 J: idle 300 J, requests 400.0 J, unattributed 200.0 J
	// tokens - too few cells: 4 of 500ms, of 30
}
