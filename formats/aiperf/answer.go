package aiperf

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// answer is what a record of the raw export says of the server's answer: when what came.
// No text of it is kept.
type answer struct {
	status trace.Opt[int64]
	events []trace.Chunk // At is on the client's perf_counter
	cols   []int         // where the times of events stand
	whole  instant       // when the body of an answer came that is not streamed
	usage  []byte        // the last usage object
	finish string

	text []byte // of one event or body, for as long as it is looked at
	json walker
}

// empty returns an answer that has nothing, and the memory of a.
func (a answer) empty() answer {
	return answer{events: a.events[:0], cols: a.cols[:0], usage: a.usage[:0], text: a.text, json: a.json}
}

// seen is what an event has in it.
type seen struct {
	content, reasoning, tool, failed, finish, usage, role bool
}

// kind is as trace.ChunkKind orders them.
func (s seen) kind() trace.ChunkKind {
	switch {
	case s.content:
		return trace.ChunkContent
	case s.reasoning:
		return trace.ChunkReasoning
	case s.tool:
		return trace.ChunkTool
	case s.failed:
		return trace.ChunkError
	case s.finish:
		return trace.ChunkFinish
	case s.usage:
		return trace.ChunkUsage
	case s.role:
		return trace.ChunkRole
	}
	return trace.ChunkOther
}

// responses reads the list of what came.
func (r *record) responses(name []byte) error {
	return r.list(name, func() error {
		var perf instant
		kind, body := trace.ChunkOther, false
		err := r.object(name, func(key []byte) error {
			switch string(key) {
			case "perf_ns":
				m, err := r.member(key)
				if err == nil {
					perf, err = moment(m)
				}
				return err
			case "packets":
				var err error
				kind, err = r.packets(key)
				return err
			case "text":
				body = true
				m, err := r.member(key)
				if err == nil && m.Value.Kind() == '"' {
					r.text, _ = jsontext.AppendUnquote(r.text[:0], m.Value)
					r.look(r.text)
				}
				return err
			case "raw_bytes":
				body = true
			}
			return r.skip()
		})
		switch {
		case err != nil:
			return err
		case !perf.OK:
			return at(int(r.walker.json.InputOffset())+1, "a response has no perf_ns")
		case body:
			r.whole = perf
		default:
			r.events, r.cols = append(r.events, trace.Chunk{At: trace.Time(perf.V), Kind: kind}), append(r.cols, perf.col)
		}
		return nil
	})
}

// packets reads the fields of a server-sent event.
func (r *record) packets(name []byte) (kind trace.ChunkKind, err error) {
	r.text = r.text[:0]
	data, failed, other := false, false, false
	err = r.list(name, func() error {
		field, value := "", jsontext.Value(nil)
		err := r.members(name, func(m trace.Member) error {
			switch string(m.Name) {
			case "name":
				s, err := text(m)
				field = s
				return err
			case "value":
				value = m.Value
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case field == "data" && value.Kind() == '"':
			if data {
				r.text = append(r.text, '\n')
			}
			data = true
			r.text, _ = jsontext.AppendUnquote(r.text, value)
		case field == "event":
			other, failed = true, string(value) == `"error"`
		case field != "comment":
			other = true
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case string(bytes.TrimSpace(r.text)) == "[DONE]":
		return trace.ChunkDone, nil
	case !data && !other:
		return trace.ChunkComment, nil
	}
	if data {
		kind = r.look(r.text)
	}
	if failed || !data {
		kind = trace.ChunkOther
		if failed {
			kind = trace.ChunkError
		}
	}
	return kind, nil
}

// look finds out what an event or a body has in it: as chat completions, completions and
// responses have it. What is no JSON has nothing.
func (a *answer) look(data []byte) trace.ChunkKind {
	var s seen
	var kind, status string // of an event of responses, and of its answer
	w := &a.json
	delta, output := false, false
	err := w.document(data, func(name []byte) (err error) {
		switch string(name) {
		case "choices":
			return a.choices(&s)
		case "usage":
			return a.takeUsage(name, &s)
		case "error":
			s.failed = w.peek() != 'n'
		case "type":
			kind, err = a.word(name)
			return err
		case "status":
			status, err = a.word(name)
			return err
		case "delta":
			delta, err = a.filled(name)
			return err
		case "output":
			output, err = a.filled(name)
			return err
		case "response":
			return w.object(name, func(inner []byte) error {
				switch string(inner) {
				case "usage":
					return a.takeUsage(inner, &s)
				case "error":
					s.failed = s.failed || w.peek() != 'n'
				}
				return w.skip()
			})
		}
		return w.skip()
	})
	if err != nil {
		return trace.ChunkOther
	}
	event, streamed := strings.CutPrefix(kind, "response.")
	switch {
	case kind == "error" || event == "failed" && streamed:
		s.failed = true
	case !streamed:
		s.content = s.content || output
		if output && a.finish == "" {
			a.finish = status
		}
	case event == "completed" || event == "incomplete":
		s.finish, a.finish = true, event
	case event == "created" || event == "in_progress" || event == "queued":
		s.role = true
	case delta && (strings.HasPrefix(event, "output_text.") || strings.HasPrefix(event, "refusal.")):
		s.content = true
	case delta && strings.HasPrefix(event, "reasoning"):
		s.reasoning = true
	case delta && strings.Contains(event, "call"):
		s.tool = true
	}
	return s.kind()
}

// choices reads the choices of an event of completions.
func (a *answer) choices(s *seen) error {
	w := &a.json
	return w.list([]byte("choices"), func() error {
		return w.object([]byte("choice"), func(name []byte) (err error) {
			switch string(name) {
			case "delta", "message":
				return a.delta(name, s)
			case "text":
				return a.also(name, &s.content)
			case "finish_reason":
				reason, err := a.word(name)
				if reason != "" {
					s.finish, a.finish = true, reason
				}
				return err
			}
			return w.skip()
		})
	})
}

func (a *answer) delta(name []byte, s *seen) error {
	w := &a.json
	return w.object(name, func(name []byte) error {
		switch string(name) {
		case "content", "refusal":
			return a.also(name, &s.content)
		case "reasoning_content", "reasoning":
			return a.also(name, &s.reasoning)
		case "tool_calls", "function_call":
			return a.also(name, &s.tool)
		case "role":
			return a.also(name, &s.role)
		}
		return w.skip()
	})
}

// also sets a flag if a value has something in it.
func (a *answer) also(name []byte, flag *bool) error {
	filled, err := a.filled(name)
	*flag = *flag || filled
	return err
}

// filled reads a value, and reports whether it is a string, an array or an object with
// something in it.
func (a *answer) filled(name []byte) (bool, error) {
	m, err := a.json.member(name)
	if err != nil {
		return false, err
	}
	switch m.Value.Kind() {
	case '"', '[', '{':
		return len(bytes.TrimSpace(m.Value[1:len(m.Value)-1])) > 0 || m.Value.Kind() == '"' && len(m.Value) > 2, nil
	}
	return false, nil
}

// word reads a short string; of anything else, "".
func (a *answer) word(name []byte) (string, error) {
	m, err := a.json.member(name)
	if err != nil || m.Value.Kind() != '"' || len(m.Value) > maxText {
		return "", err
	}
	s, _ := jsontext.AppendUnquote(nil, m.Value)
	return string(s), nil
}

// takeUsage keeps a usage object as it stands.
func (a *answer) takeUsage(name []byte, s *seen) error {
	m, err := a.json.member(name)
	if err == nil && m.Value.Kind() == '{' {
		s.usage = true
		a.usage = append(a.usage[:0], m.Value...)
	}
	return err
}

// counted returns the tokens that the usage object says.
func (a *answer) counted() (input, output trace.Opt[int64]) {
	count := func(v jsontext.Value) trace.Opt[int64] {
		n, err := strconv.ParseInt(string(v), 10, 64)
		return trace.Opt[int64]{V: n, OK: err == nil && n >= 0 && n <= maxTokens}
	}
	w := &a.json
	w.document(a.usage, func(name []byte) error {
		m, err := w.member(name)
		switch string(name) {
		case "prompt_tokens", "input_tokens":
			input = count(m.Value)
		case "completion_tokens", "output_tokens":
			output = count(m.Value)
		}
		return err
	})
	return input, output
}

// answered takes when what of the answer came, and the tokens that the server counted.
func (r *record) answered(q *trace.Request, usage []byte) error {
	if !r.perf.OK && (len(r.events) > 0 || r.whole.OK) {
		return at(1, "the record does not say when the request was sent on the clock of its responses: start_perf_ns is wanted")
	}
	since := func(perf int64, col int) (trace.Time, error) {
		if perf < r.perf.V || perf-r.perf.V > math.MaxInt64/4 {
			return 0, at(col, "a response comes before its request was sent")
		}
		return q.Sent + trace.Time(perf-r.perf.V), nil
	}
	outputs := int64(0)
	for i, c := range r.events {
		t, err := since(int64(c.At), r.cols[i])
		if err != nil {
			return err
		}
		if n := len(q.Chunks); n > 0 && t < q.Chunks[n-1].At {
			return at(r.cols[i], "a response comes before the one before it")
		}
		q.Chunks = append(q.Chunks, trace.Chunk{At: t, Kind: c.Kind})
		r.latest = t
		if c.Kind.Output() {
			if outputs++; outputs == 1 {
				q.FirstToken = trace.Some(t)
			}
			q.LastToken = trace.Some(t)
		}
	}
	if r.whole.OK {
		t, err := since(r.whole.V, r.whole.col)
		if err != nil {
			return err
		}
		r.latest = max(r.latest, t)
		if len(r.events) == 0 && !r.failed {
			q.LastToken = trace.Some(t)
		}
	}
	q.FinishReason = r.finish
	if len(r.answer.usage) > 0 {
		q.Usage = append(usage, r.answer.usage...)
		q.InputTokens, q.OutputTokens = r.counted()
		q.TokenSource = trace.FromUsage
	}
	if !q.OutputTokens.OK {
		q.TokenSource = ""
		if outputs > 0 {
			q.OutputTokens, q.TokenSource = trace.Some(outputs), trace.FromChunks
		}
	}
	return nil
}
