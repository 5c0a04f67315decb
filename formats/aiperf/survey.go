package aiperf

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"wattrace/trace"
)

// maxPhases bounds the phases of a file.
const maxPhases = 4096

// Phase is a part of a run.
type Phase struct {
	Name       string
	Kind       trace.PhaseKind
	Start, End trace.Time
	Handover   bool        // it ends where the next starts, with requests in flight
	Load       trace.Phase // as configured; without a name where that is not known
}

// Log is what a file of requests says as a whole.
type Log struct {
	Clock     trace.Clock // its anchor, the first start, has a wall clock only
	Phases    []Phase     // in the order of time
	Requests  int64
	Truncated bool // the last line is cut off
	Cancelled bool // the run was
}

var errEmpty = errors.New("the file holds no request of aiperf")

// Survey reads a file for its phases; config may be nil. A request whose id comes twice
// is an error, for which 40 bytes a request are held.
func Survey(r io.Reader, name string, config *Config) (*Log, error) {
	rd := NewReader(r, name)
	l := &Log{}
	warmup := map[string]bool{}
	if config != nil {
		l.Cancelled = config.Cancelled
	}
	byName := map[string]int{}
	seed := maphash.MakeSeed()
	seen := map[uint64]int{} // line of each id
	var q trace.Request
	for {
		err := rd.Read(&q)
		if errors.Is(err, ErrTruncated) {
			l.Truncated = true
			break
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if id := rd.rec.id; id != "" {
			h := maphash.String(seed, id)
			if before, twice := seen[h]; twice {
				return nil, &trace.SyntaxError{Pos: rd.pos, Err: fmt.Errorf("the request (x_request_id) was read before, in line %d", before)}
			}
			seen[h] = rd.pos.Line
		}
		i, ok := byName[q.Phase]
		if !ok {
			if len(l.Phases) == maxPhases {
				return nil, &trace.SyntaxError{Pos: rd.pos, Err: fmt.Errorf("there are more than %d phases", maxPhases)}
			}
			i = len(l.Phases)
			byName[q.Phase] = i
			l.Phases = append(l.Phases, Phase{Name: q.Phase, Start: q.Sent, End: q.Done})
			warmup[q.Phase] = strings.EqualFold(cmp.Or(rd.rec.kind, rd.rec.phase, q.Phase), "warmup")
		}
		ph := &l.Phases[i]
		ph.Start, ph.End = min(ph.Start, q.Sent), max(ph.End, q.Done)
		l.Requests++
	}
	if l.Requests == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errEmpty}
	}
	l.settle(config, warmup)
	return l, nil
}

// settle puts the phases in order, on the clock of the log.
func (l *Log) settle(config *Config, warmup map[string]bool) {
	slices.SortFunc(l.Phases, func(a, b Phase) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Name, b.Name))
	})
	anchor := l.Phases[0].Start
	l.Clock.Anchor.UnixNanos = int64(anchor)
	for i := range l.Phases {
		ph := &l.Phases[i]
		if i+1 < len(l.Phases) && l.Phases[i+1].Start < ph.End {
			ph.End, ph.Handover = l.Phases[i+1].Start, true
		}
		ph.Start, ph.End = ph.Start-anchor, ph.End-anchor
		ph.Kind = trace.Measure
		if warmup[ph.Name] {
			ph.Kind = trace.Warmup
		}
		if load, ok := config.phase(ph.Name, ph.Kind); ok {
			ph.Load, ph.Kind = load, load.Kind
		}
	}
}
