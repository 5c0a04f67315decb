package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/replay"
	"wattrace/trace"
)

// progress makes the progress line. Rates are those since the line before.
type progress struct {
	engine *replay.Engine
	last   replay.Progress
}

func (p *progress) status() string {
	now := p.engine.Progress()
	before := p.last
	p.last = now
	return progressLine(&now, &before)
}

// progressLine says where a run is. Tokens are known of an answer when it has ended:
// where none has, there is no rate of them.
func progressLine(now, before *replay.Progress) string {
	if now.Phase == "" {
		return "starting"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d of %d)", now.Phase, now.Number, now.Phases)
	if now.Kind != trace.Idle {
		ended := func(p *replay.Progress) int64 { return p.Succeeded + p.Failed + p.Cancelled }
		fmt.Fprintf(&b, ": %d ended, %d in flight", ended(now), now.InFlight)
		if now.Failed > 0 {
			fmt.Fprintf(&b, ", %d failed", now.Failed)
		}
		since := now.Now.Sub(before.Now)
		switch n := ended(now) - ended(before); {
		case n > 0 && since > 0:
			fmt.Fprintf(&b, ", %.3g requests/s and %.4g tokens/s ended", float64(n)/since.Seconds(), float64(now.OutputTokens-before.OutputTokens)/since.Seconds())
		case since >= time.Second:
			fmt.Fprintf(&b, ", none ended in %v", since.Round(time.Second))
		}
	}
	if left, ok := left(now); ok {
		fmt.Fprintf(&b, ", %v left", left.Round(time.Second))
	}
	return b.String()
}

// left estimates how long the phase still sends: until its deadline, or as long
// as the requests still to be handed out take at the rate so far.
func left(p *replay.Progress) (time.Duration, bool) {
	if until, ok := p.Until.Get(); ok {
		return max(0, until.Sub(p.Now)), true
	}
	total, ok := p.Total.Get()
	ended := p.Handed - p.InFlight
	if !ok || ended <= 0 {
		return 0, false
	}
	each := float64(p.Now.Sub(p.Since)) / float64(ended)
	return time.Duration(each * float64(total-ended)), true
}

// summary is the last line: what was sent and what came of it.
func summary(res *replay.Result) string {
	s := res.End.Sub(res.Begin).Seconds()
	line := fmt.Sprintf("%d requests in %.1f s: %d succeeded, %d failed", res.Sent, s, res.Succeeded, res.Failed)
	if res.Cancelled > 0 {
		line += fmt.Sprintf(", %d cancelled", res.Cancelled)
	}
	line += fmt.Sprintf("; %d output tokens", res.OutputTokens)
	if s > 0 {
		line += fmt.Sprintf(" (%.1f/s)", float64(res.OutputTokens)/s)
	}
	if res.Stopped && res.Reason == "" {
		line += "; stopped before the end of the plan"
	}
	return line
}

// heldBack says of phases that are no open loop any more, since what was due had to
// wait. Of a closed loop that is what it is for.
func heldBack(res *replay.Result, plan *trace.Plan) (lines []string) {
	for i := range plan.Phases {
		ph := &plan.Phases[i]
		n := res.Held[ph.Name]
		if kind := ph.LoadKind(); n == 0 || kind != trace.OpenLoop && kind != trace.TraceTimes {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %d requests waited in line, so it was no open loop: see their lateness", ph.Name, n))
	}
	return lines
}

// clientSummary is the verdict on the client, and the figure that decides it.
func clientSummary(j *replay.Judgement) string {
	line := "client " + string(j.Verdict) + ": " + decides(j)
	if j.LogBlocked > 0 {
		line += fmt.Sprintf("; slots waited %v for the log", j.LogBlocked.Round(time.Millisecond))
	}
	return line
}

func decides(j *replay.Judgement) string {
	bound := fmt.Sprintf("bound %v", short(j.Bound))
	switch {
	case j.BusyShare.Or(0) > replay.BusySeconds:
		return fmt.Sprintf("in %.0f %% of the time it used more than %.0f %% of the processor time that it may have", 100*j.BusyShare.V, 100*replay.BusyCPU)
	case j.Verdict == replay.ClientSaturated:
		return fmt.Sprintf("goroutines waited up to %v for a processor (p99; %s)", short(j.SchedP99.V), bound)
	case !j.LatenessP99.OK:
		return "nothing was sent"
	}
	line := fmt.Sprintf("requests were sent up to %v late (p99; %s)", short(j.LatenessP99.V), bound)
	if j.CPUShare.OK {
		line += fmt.Sprintf(", %.0f %% of its processor time used", 100*j.CPUShare.V)
	}
	return line
}

// short rounds a duration to three digits.
func short(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// verdict turns a result into the tool's exit. strict is what the client is to be.
func verdict(res *replay.Result, opt *replay.Options, strict bool) error {
	if res.Reason != "" {
		return cli.Incompletef("stopped: %s", res.Reason)
	}
	if res.Stopped {
		return cli.ErrInterrupted
	}
	if res.Sent > 0 && res.Cancelled == res.Sent {
		return cli.Incompletef("all %d requests were given up before they were answered", res.Sent)
	}
	if res.Failed == 0 {
		if strict && res.Client.Verdict != replay.ClientOK {
			return cli.Incompletef("--strict: the client was %s", res.Client.Verdict)
		}
		return nil
	}
	var classes []string
	for class := range res.Classes {
		classes = append(classes, string(class))
	}
	slices.SortFunc(classes, func(a, b string) int {
		return cmp.Or(cmp.Compare(res.Classes[trace.ErrorClass(b)], res.Classes[trace.ErrorClass(a)]), cmp.Compare(a, b))
	})
	for i, class := range classes {
		classes[i] = fmt.Sprintf("%s %d", class, res.Classes[trace.ErrorClass(class)])
	}
	err := cli.Incompletef("%d of %d requests failed: %s; the first: %s",
		res.Failed, res.Sent, strings.Join(classes, ", "), res.First.Message)
	if res.Classes[trace.ErrConnect] == res.Sent {
		err = cli.Hint(err, "is a server listening at %s?", opt.Targets[0])
	}
	return err
}
