package reduce

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/trace"
)

// poll is one reading of a field.
type poll struct {
	at    time.Duration
	watts float64
}

// every reads a field from an instant to another.
func every(interval, from, to time.Duration, watts func(time.Duration) float64) (out []poll) {
	for at := from; at <= to; at += interval {
		out = append(out, poll{at, watts(at)})
	}
	return out
}

// ticksOf runs changePoints of an averaged field over polls.
func ticksOf(polls []poll, end bool) (ticks []Tick) {
	c := changePoints{
		period: 100 * time.Millisecond, rest: time.Second, span: 1150 * time.Millisecond,
		emit: func(t Tick) { ticks = append(ticks, t) },
	}
	for _, p := range polls {
		c.read(trace.Time(p.at), p.watts)
	}
	if end {
		c.end()
	}
	return ticks
}

// text writes ticks as "kind ms watts", those before the first reading left out.
func text(ticks []Tick) string {
	var s []string
	for _, t := range ticks {
		if t.At < -trace.Time(60*time.Millisecond) {
			continue
		}
		watts := "?"
		if t.Known {
			watts = fmt.Sprint(t.Watts)
		}
		s = append(s, fmt.Sprintf("%s %g %s", [...]string{"seen", "assumed", "doubtful"}[t.Kind], math.Round(t.At.Seconds()*1000), watts))
	}
	return strings.Join(s, "\n")
}

func TestChangePoints(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	steps := func(at ...time.Duration) func(time.Duration) float64 {
		return func(t time.Duration) float64 {
			n := 0
			for n < len(at) && at[n] <= t {
				n++
			}
			return float64(n)
		}
	}
	for name, test := range map[string]struct {
		polls []poll
		end   bool
		want  string
	}{
		"changes are in the middle of two polls": {
			polls: every(20*ms, 0, 220*ms, steps(95*ms, 195*ms)),
			want:  "assumed -50 0\nseen 90 1\nseen 190 2",
		},
		"updates without a change are put back, counted from the next change": {
			polls: every(20*ms, 0, 540*ms, steps(95*ms, 530*ms)),
			want:  "assumed -50 0\nseen 90 1\nassumed 230 1\nassumed 330 1\nassumed 430 1\nseen 530 2",
		},
		"slow polls: half a period ago, and what was between is not known": {
			polls: []poll{{0, 0}, {300 * ms, 1}, {600 * ms, 1}, {900 * ms, 2}},
			want: "assumed -50 0\nassumed 50 ?\nassumed 150 ?\nseen 250 1\n" +
				"assumed 350 1\nassumed 450 1\nassumed 550 1\nassumed 650 ?\nassumed 750 ?\nseen 850 2",
		},
		"a device at rest": {
			polls: every(10*ms, 0, 1300*ms, steps(205*ms, 1200*ms)),
			want: "assumed -50 0\nassumed 5 0\nassumed 105 0\nseen 205 1\n" +
				"doubtful 295 ?\ndoubtful 395 ?\ndoubtful 495 ?\ndoubtful 595 ?\ndoubtful 695 ?\ndoubtful 795 ?\ndoubtful 895 ?\ndoubtful 995 ?\ndoubtful 1095 ?\nseen 1195 2",
		},
		"an update at rest that changed nothing": {
			polls: every(10*ms, 0, 3300*ms, steps(205*ms, 1200*ms, 3205*ms)),
			want: "assumed -50 0\nassumed 5 0\nassumed 105 0\nseen 205 1\n" +
				"doubtful 295 ?\ndoubtful 395 ?\ndoubtful 495 ?\ndoubtful 595 ?\ndoubtful 695 ?\ndoubtful 795 ?\ndoubtful 895 ?\ndoubtful 995 ?\ndoubtful 1095 ?\nseen 1195 2\n" +
				"doubtful 1300 ?\ndoubtful 1400 ?\ndoubtful 1500 ?\ndoubtful 1600 ?\ndoubtful 1700 ?\ndoubtful 1800 ?\ndoubtful 1900 ?\ndoubtful 2000 ?\ndoubtful 2100 ?\nassumed 2200 2\n" +
				"doubtful 2305 ?\ndoubtful 2405 ?\ndoubtful 2505 ?\ndoubtful 2605 ?\ndoubtful 2705 ?\ndoubtful 2805 ?\ndoubtful 2905 ?\ndoubtful 3005 ?\ndoubtful 3105 ?\nseen 3205 3",
		},
		"the end of a plateau": {
			polls: every(50*ms, 0, 400*ms, steps(150*ms)), end: true,
			want: "assumed -50 0\nassumed 25 0\nseen 125 1\nassumed 225 1\nassumed 325 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := text(ticksOf(test.polls, test.end)); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// A value that has stood for a second is a device's at rest, unless a load that came back
// within the last update makes just such a rise of it.
func TestChangePointsAfterAPause(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, test := range []struct {
		from, to float64
		rest     bool
	}{
		{70, 71, false}, {70, 105, false}, {70, 110, true}, {70, 200, true}, // of at most 400 W, 36 W come with an update
		{70, 69.5, true}, {70, 60, true}, {395, 399, true}, // nothing rises so far above
	} {
		doubtful := 0
		c := changePoints{
			period: 100 * ms, rest: time.Second, span: 1150 * ms, top: 400,
			emit: func(t Tick) {
				if t.Kind == TickDoubtful {
					doubtful++
				}
			},
		}
		for at := time.Duration(0); at < 1300*ms; at += 10 * ms {
			watts := 300.
			if at >= 205*ms {
				watts = test.from
			}
			if at >= 1200*ms {
				watts = test.to
			}
			c.read(trace.Time(at), watts)
		}
		if rest := doubtful > 0; rest != test.rest {
			t.Errorf("%v W after a second of %v W: at rest %v", test.to, test.from, rest)
		}
	}
}

// The updates before the first reading are there to begin averages.
func TestChangePointsBegin(t *testing.T) {
	t.Parallel()
	ticks := ticksOf([]poll{{0, 7}}, false)
	if len(ticks) != 13 || ticks[0].At != -trace.Time(1250*time.Millisecond) || ticks[0].Known || !ticks[12].Known || ticks[12].Watts != 7 {
		t.Errorf("%+v", ticks)
	}
}

// A plateau of an hour comes out as it goes, not all at its end, and its end is
// counted back from what ends it.
func TestChangePointsOfALongPlateau(t *testing.T) {
	t.Parallel()
	var last Tick
	n := 0
	c := changePoints{period: 100 * time.Millisecond, rest: time.Second, span: 1150 * time.Millisecond, emit: func(t Tick) { last, n = t, n+1 }}
	for at := trace.Time(0); at < trace.Time(time.Hour); at = at.Add(30 * time.Millisecond) {
		c.read(at, 100)
		if at.Sub(last.At) > 2*time.Second {
			t.Fatalf("at %v, the last update was at %v", at, last.At)
		}
	}
	n = 0
	end := trace.Time(time.Hour).Add(37 * time.Millisecond)
	var tail []Tick
	c.emit = func(t Tick) { tail = append(tail, t) }
	c.read(end, 200)
	change := tail[len(tail)-1]
	if change.Kind != TickSeen || len(tail) < 12 {
		t.Fatalf("%+v", tail)
	}
	for i := range 12 {
		if before := tail[len(tail)-1-i]; before.At != change.At.Add(-time.Duration(i)*100*time.Millisecond) {
			t.Errorf("update %d before the change is %v before it", i, change.At.Sub(before.At))
		}
	}
}

// Whatever is read: updates are in order, none is far from the next, and a value
// that is known is the one that the next poll read.
func TestChangePointsProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fast := rapid.Bool().Draw(t, "fast")
		var polls []poll
		at := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			polls = append(polls, poll{at, float64(rapid.IntRange(0, 2).Draw(t, "watts"))})
			if fast {
				at += time.Duration(rapid.IntRange(1, 60).Draw(t, "ms")) * time.Millisecond
			} else {
				at += time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond
			}
		}
		ticks := ticksOf(polls, true)
		next := 0
		for i, tick := range ticks {
			if i > 0 {
				if gap := tick.At.Sub(ticks[i-1].At); gap <= 0 || gap >= 151*time.Millisecond {
					t.Fatalf("an update %v after the last", gap)
				}
			}
			for next < len(polls) && trace.Time(polls[next].at) < tick.At {
				next++
			}
			if tick.Known && next < len(polls) && polls[next].watts != tick.Watts {
				t.Fatalf("the update at %v has %v W, the poll at %v read %v W", tick.At, tick.Watts, polls[next].at, polls[next].watts)
			}
			if tick.Known && next == len(polls) {
				t.Fatalf("an update at %v that no poll saw", tick.At)
			}
		}
		// The last change is at most a poll and the time between updates back.
		if end := trace.Time(polls[len(polls)-1].at); end.Sub(ticks[len(ticks)-1].At) >= 151*time.Millisecond {
			t.Fatalf("the last update is at %v, the last poll at %v", ticks[len(ticks)-1].At, end)
		}
	})
}
