package reduce

import (
	"fmt"
	"strings"
	"time"

	"wattrace/reduce/histogram"
	"wattrace/trace"
)

// tokenSplit says how it is known how many tokens each event with output holds.
type tokenSplit uint8

const (
	splitUnknown tokenSplit = iota
	splitUsage              // the server said with each event how many there were so far
	splitSingle             // as many events as the server counted tokens: one each
)

// tokenGap is a time between two events with output that brought tokens, and how many
// tokens came since the first of them.
type tokenGap struct {
	gap    time.Duration
	tokens int64
}

// tokenGapsOf returns how the tokens of a request's events are known, outputs being those
// with output, and the gaps of splitUsage, in a slice that is used again. The gaps of
// splitSingle are those between its events. Of an answer with several choices nothing is
// known: a gap is between tokens of two of them.
func tokenGapsOf(q *trace.Request, outputs []trace.Chunk, list []tokenGap) (tokenSplit, []tokenGap) {
	list = list[:0]
	switch {
	case q.ChunkTokens:
	case q.TokenSource.Exact() && q.OutputTokens.OK && q.OutputTokens.V == int64(len(outputs)) && choices(q) <= 1:
		return splitSingle, list
	default:
		return splitUnknown, list
	}
	var last trace.Time
	begun, tokens := false, int64(0)
	for i := range q.Chunks {
		c := &q.Chunks[i]
		tokens += int64(c.Tokens)
		if !c.Kind.Output() || tokens == 0 { // text of tokens that came before is no token
			continue
		}
		if begun {
			list = append(list, tokenGap{max(0, c.At.Sub(last)), tokens})
		}
		begun, last, tokens = true, c.At, 0
	}
	return splitUsage, list
}

// choices returns how many events end a choice and do nothing else.
func choices(q *trace.Request) (n int) {
	for i := range q.Chunks {
		if q.Chunks[i].Kind == trace.ChunkFinish {
			n++
		}
	}
	return n
}

// eventGaps gathers the gaps of a phase's requests, between events and between tokens.
type eventGaps struct {
	alike  histogram.Histogram // between events that hold one token each
	chunks histogram.Histogram // between the other events
	tokens histogram.Histogram // between the tokens of some of those

	requests, usage, single int64 // that have gaps; whose tokens are known, by usage and as one each
}

// add takes the gaps of a request.
func (g *eventGaps) add(gaps []time.Duration, split tokenSplit, list []tokenGap) {
	if len(gaps) == 0 {
		return
	}
	g.requests++
	if split == splitSingle {
		g.single++
		g.alike.AddAll(gaps)
		return
	}
	g.chunks.AddAll(gaps)
	if split == splitUsage {
		g.usage++
	}
	for _, t := range list {
		// In whole nanoseconds, so that they add up to the gap.
		each, more := t.gap/time.Duration(t.tokens), int64(t.gap)%t.tokens
		g.tokens.AddN(each, t.tokens-more)
		g.tokens.AddN(each+1, more)
	}
}

// between returns the gaps between events, and those between tokens as far as they are
// known.
func (g *eventGaps) between() (chunks, tokens histogram.Histogram) {
	for _, h := range []*histogram.Histogram{&g.alike, &g.chunks} {
		chunks.Merge(h)
	}
	for _, h := range []*histogram.Histogram{&g.alike, &g.tokens} {
		tokens.Merge(h)
	}
	return chunks, tokens
}

// coverage says of how many requests the gaps between tokens are; nil is of all.
func (g *eventGaps) coverage() *Coverage {
	if known := g.usage + g.single; known < g.requests {
		return &Coverage{known, g.requests}
	}
	return nil
}

// known says of which requests the gaps between tokens are, and how.
func (g *eventGaps) known() string {
	var how []string
	if g.usage > 0 {
		how = append(how, fmt.Sprintf("%d by usage with each event", g.usage))
	}
	if g.single > 0 {
		how = append(how, fmt.Sprintf("%d with one token an event", g.single))
	}
	return fmt.Sprintf("gap / tokens that it brought, for each token, of %d of %s with gaps: %s",
		g.usage+g.single, plural(int(g.requests), "request", "requests"), strings.Join(how, ", "))
}
