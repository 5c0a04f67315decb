package logs

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"strings"

	"wattrace/formats/aiperf"
	"wattrace/formats/requests"
	"wattrace/trace"
)

// source gives the requests of another program's log, on the clock of its head, in the
// order of the file. Its last error is io.EOF, or wraps aiperf.ErrTruncated.
type source interface {
	Read(q *trace.Request) error
}

// head is what such a log says as a whole.
type head struct {
	producer  string
	clock     trace.Clock
	targets   []string // URLs; nil is not said
	phases    []phase
	count     requests.Close // of all requests
	truncated bool
}

// phase is a part of its run.
type phase struct {
	name       string
	kind       trace.PhaseKind
	start, end trace.Time
	handover   bool
	endless    bool        // it is not known when it ended
	load       trace.Phase // without a name where it is not known
}

// turning is another program's log as the text of one of ours.
type turning struct {
	from  source
	head  *head
	text  bytes.Buffer // what was made and not read
	w     *requests.Writer
	q     trace.Request
	count requests.Close
	begun bool
	done  error // what every further Read returns once text is empty
}

func turn(from source, h *head) *turning {
	t := &turning{from: from, head: h}
	t.w = requests.NewWriter(&t.text)
	t.w.ChunkNanos = true
	return t
}

func (t *turning) Read(p []byte) (int, error) {
	for t.text.Len() == 0 {
		if t.done != nil {
			return 0, t.done
		}
		if t.done = t.more(); t.done == nil {
			t.done = t.w.Flush()
		}
	}
	return t.text.Read(p)
}

// more makes the next lines.
func (t *turning) more() error {
	if !t.begun {
		t.begun = true
		return t.begin()
	}
	switch err := t.from.Read(&t.q); {
	case err == io.EOF, errors.Is(err, aiperf.ErrTruncated):
		if err := t.end(); err != nil {
			return err
		}
		return io.EOF
	case err != nil:
		return err
	}
	q := &t.q
	if q.Line > 1<<53 {
		q.Line = 1 << 53
	}
	t.count.Sent++
	switch q.Outcome {
	case trace.Succeeded:
		t.count.Succeeded++
	case trace.Failed:
		t.count.Failed++
	case trace.Cancelled:
		t.count.Cancelled++
	}
	t.count.At = max(t.count.At, q.Done)
	if err := t.w.Sent(&requests.Sent{Seq: q.Seq, Line: q.Line, Phase: q.Phase, At: q.Sent}); err != nil {
		return err
	}
	return t.w.Request(q)
}

// begin writes the run and the starts of all phases.
func (t *turning) begin() error {
	run := requests.Run{Producer: t.head.producer, Clock: t.head.clock, Trace: requests.TraceInfo{Turns: t.head.count.Sent}, Targets: []string{""}}
	if len(t.head.targets) > 0 {
		run.Targets = nil
	}
	for _, s := range t.head.targets {
		run.Targets = append(run.Targets, target(s))
	}
	for _, ph := range t.head.phases {
		run.Plan.Phases = append(run.Plan.Phases, planned(ph))
	}
	if err := t.w.Run(&run); err != nil {
		return err
	}
	for i, ph := range t.head.phases {
		e := requests.PhaseEvent{Phase: ph.name, Kind: ph.kind, Start: true, At: ph.start, Concurrency: run.Plan.Phases[i].Slots()}
		if err := t.w.Phase(&e); err != nil {
			return err
		}
	}
	return nil
}

// planned returns what is known of how a phase was planned.
func planned(ph phase) trace.Phase {
	p := ph.load
	if p.Name == "" {
		p = trace.Phase{Load: trace.Load{FromTrace: true}}
	}
	p.Name, p.Kind, p.Handover = ph.name, ph.kind, ph.handover
	return p
}

// target returns a URL without what may be secret in it.
func target(s string) string {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// end writes the ends of all phases, and closes the log if it is whole.
func (t *turning) end() error {
	for _, ph := range t.head.phases {
		if ph.endless {
			continue
		}
		if err := t.w.Phase(&requests.PhaseEvent{Phase: ph.name, Kind: ph.kind, At: ph.end}); err != nil {
			return err
		}
	}
	if t.head.truncated {
		return t.w.Flush()
	}
	t.count.Clean = t.head.count.Clean
	return t.w.Close(&t.count)
}
