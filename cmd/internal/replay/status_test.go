package replay

import (
	"errors"
	"testing"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/replay"
	"wattrace/trace"
)

func TestClientSummary(t *testing.T) {
	t.Parallel()
	ms := func(n float64) trace.Opt[time.Duration] { return trace.Some(time.Duration(n * 1e6)) }
	for want, j := range map[string]replay.Judgement{
		"client ok: requests were sent up to 123µs late (p99; bound 1ms), 8 % of its processor time used": {
			Verdict: replay.ClientOK, LatenessP99: ms(0.12345), Bound: time.Millisecond, CPUShare: trace.Some(0.08)},
		"client ok: nothing was sent": {Verdict: replay.ClientOK, Bound: time.Millisecond},
		"client late: requests were sent up to 2.35ms late (p99; bound 2ms); slots waited 1.5s for the log": {
			Verdict: replay.ClientLate, LatenessP99: ms(2.3456), Bound: 2 * time.Millisecond, LogBlocked: 1500 * time.Millisecond},
		"client saturated: in 25 % of the time it used more than 90 % of the processor time that it may have": {
			Verdict: replay.ClientSaturated, BusyShare: trace.Some(0.25), SchedP99: ms(3), Bound: time.Millisecond},
		"client saturated: goroutines waited up to 3ms for a processor (p99; bound 1ms)": {
			Verdict: replay.ClientSaturated, SchedP99: ms(3), BusyShare: trace.Some(0.0), Bound: time.Millisecond},
	} {
		if got := clientSummary(&j); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestProgressRates(t *testing.T) {
	t.Parallel()
	at := func(seconds float64, succeeded, inFlight, tokens int64) replay.Progress {
		return replay.Progress{Phase: "p", Kind: trace.Measure, Number: 1, Phases: 2, Now: trace.Time(seconds * 1e9), Succeeded: succeeded, InFlight: inFlight, OutputTokens: tokens}
	}
	for want, now := range map[string]replay.Progress{
		"p (1 of 2): 45 ended, 20 in flight, 4 requests/s and 800 tokens/s ended": at(20, 45, 20, 9000),
		"p (1 of 2): 5 ended, 20 in flight, none ended in 10s":                    at(20, 5, 20, 1000), // long answers, and not 0 tokens/s
		"starting": {},
	} {
		before := at(10, 5, 20, 1000)
		if got := progressLine(&now, &before); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestStrict(t *testing.T) {
	t.Parallel()
	for _, v := range []replay.ClientVerdict{replay.ClientOK, replay.ClientLate, replay.ClientSaturated} {
		for _, strict := range []bool{false, true} {
			err := verdict(&replay.Result{Client: replay.Judgement{Verdict: v}}, nil, strict)
			if (err != nil) != (strict && v != replay.ClientOK) {
				t.Errorf("%s, strict %v: %v", v, strict, err)
			}
		}
	}
	interrupted := &replay.Result{Stopped: true, Client: replay.Judgement{Verdict: replay.ClientLate}}
	if err := verdict(interrupted, nil, true); !errors.Is(err, cli.ErrInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
}
