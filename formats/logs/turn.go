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

// turning is a log of aiperf as the text of one of ours.
type turning struct {
	from   *aiperf.Reader
	log    *aiperf.Log
	config *aiperf.Config
	text   bytes.Buffer // what was made and not read
	w      *requests.Writer
	q      trace.Request
	count  requests.Close
	begun  bool
	done   error // what every further Read returns once text is empty
}

func turn(from *aiperf.Reader, log *aiperf.Log, config *aiperf.Config) io.Reader {
	t := &turning{from: from, log: log, config: config}
	from.Anchor = log.Clock.Anchor.UnixNanos
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
	run := requests.Run{Producer: "aiperf", Clock: t.log.Clock, Trace: requests.TraceInfo{Turns: t.log.Requests}, Targets: []string{""}}
	if c := t.config; c != nil {
		run.Producer = strings.TrimSpace("aiperf " + c.Version)
		if len(c.URLs) > 0 {
			run.Targets = nil
		}
		for _, s := range c.URLs {
			run.Targets = append(run.Targets, target(s))
		}
	}
	for _, ph := range t.log.Phases {
		run.Plan.Phases = append(run.Plan.Phases, planned(ph))
	}
	if err := t.w.Run(&run); err != nil {
		return err
	}
	for i, ph := range t.log.Phases {
		e := requests.PhaseEvent{Phase: ph.Name, Kind: ph.Kind, Start: true, At: ph.Start, Concurrency: run.Plan.Phases[i].Slots()}
		if err := t.w.Phase(&e); err != nil {
			return err
		}
	}
	return nil
}

// planned returns what is known of how a phase was planned.
func planned(ph aiperf.Phase) trace.Phase {
	p := ph.Load
	if p.Name == "" {
		p = trace.Phase{Load: trace.Load{FromTrace: true}}
	}
	p.Name, p.Kind, p.Handover = ph.Name, ph.Kind, ph.Handover
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
	for _, ph := range t.log.Phases {
		if err := t.w.Phase(&requests.PhaseEvent{Phase: ph.Name, Kind: ph.Kind, At: ph.End}); err != nil {
			return err
		}
	}
	if t.log.Truncated {
		return t.w.Flush()
	}
	t.count.Clean = !t.log.Cancelled
	return t.w.Close(&t.count)
}
