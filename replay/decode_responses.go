package replay

import "bytes"

// responsesEvent is an event of a /v1/responses stream, or its whole answer:
// {"type":"response.output_text.delta","delta":"Hi",...}. The end of a stream is
// an event "response.completed" that holds the whole answer, usage included.
type responsesEvent struct {
	kind    []byte // the type
	delta   []byte
	deltaAt int // where delta stands in the event
	status  []byte
	detail  []byte // why it is incomplete
	output  bool   // the answer holds output
}

// response reads the answer inside an event.
func (d *decoder) response(f *found, r *responsesEvent) error {
	return d.object(func(name []byte) (err error) {
		switch string(name) {
		case "usage":
			return d.usage(f)
		case "error":
			return d.fault(f)
		case "status":
			r.status, _, err = d.string()
		case "incomplete_details":
			return d.incomplete(r)
		case "id":
			f.id, _, err = d.string()
		default:
			err = d.metric(name, f)
		}
		return err
	})
}

func (d *decoder) incomplete(r *responsesEvent) error {
	return d.object(func(name []byte) (err error) {
		if string(name) == "reason" {
			r.detail, _, err = d.string()
			return err
		}
		return d.json.SkipValue()
	})
}

// settle draws from r what it means; whole says that it is an answer that was
// not streamed.
func (r *responsesEvent) settle(f *found, whole bool) {
	kind, streamed := bytes.CutPrefix(r.kind, []byte("response."))
	if !streamed && !whole {
		return
	}
	f.known = true
	if len(r.delta) > 0 && bytes.HasSuffix(kind, []byte(".delta")) {
		r.settleDelta(f, kind)
	}
	if whole && r.output {
		f.content = true
	}
	switch string(kind) {
	case "created", "in_progress", "queued":
		f.role = true
	case "failed":
		f.failed = true
	case "completed", "incomplete":
		f.finish = kind
	}
	if whole && len(r.status) > 0 {
		f.finish = r.status
		f.failed = f.failed || string(r.status) == "failed"
	}
	if len(f.finish) > 0 && len(r.detail) > 0 {
		f.finish = r.detail
	}
}

// settleDelta says what a delta is by the type of its event.
func (r *responsesEvent) settleDelta(f *found, kind []byte) {
	switch {
	case bytes.HasPrefix(kind, []byte("output_text.")), bytes.HasPrefix(kind, []byte("refusal.")):
		f.content = true
	case bytes.HasPrefix(kind, []byte("reasoning")): // reasoning_text, reasoning_summary_text
		f.reasoning = true
	case bytes.Contains(kind, []byte("call")): // function_call_arguments, mcp_call_arguments, ...
		f.tool = true
	default:
		return
	}
	f.text = span{r.deltaAt, r.deltaAt + len(r.delta)}
}
