package bodies

import (
	"bytes"
	"fmt"

	"wattrace/formats"
	"wattrace/trace"
)

// adapterBy says how a target is told the adapter (LoRA) that a request is for.
var adapterBy = map[string]string{
	"trtllm": "lora_request", // in the body
	"vllm":   "model",        // instead of the model's name
	"sglang": "model",
}

// appendRow appends the body of a row, as appendBody does, with what the row
// says of it beside what is asked. A *trace.SyntaxError is of a row that the
// target cannot be asked.
func (b *Maker) appendRow(dst []byte, row *formats.Request) ([]byte, error) {
	by := adapterBy[b.target.name]
	var fault error
	switch {
	case row.Body != nil && row.Bare:
		return b.appendBare(dst, row.Body)
	case row.Body != nil:
		return b.appendBody(dst, row)
	case row.Adapter.Name != nil && by == "":
		fault = fmt.Errorf("a request for an adapter (lora_request), for which --target %s has no key", b.target.name)
	case row.Media != "" && row.Media != "image" && b.target.name == "openai":
		fault = fmt.Errorf("a request with %s, which --target openai does not take", row.Media)
	}
	if fault != nil {
		return dst, &trace.SyntaxError{Pos: row.Pos, Err: fault}
	}
	start := len(dst)
	dst, err := b.appendBody(dst, row)
	if err != nil || row.Extra == nil && row.Adapter.Name == nil {
		return dst, err
	}
	var own []byte // what the row says of the body
	if row.Adapter.Name != nil {
		m := trace.Member{Name: []byte(by), Value: row.Adapter.Object}
		if by == "model" {
			m.Value = row.Adapter.Name
			b.paths++
		}
		own = append(formats.AppendMember(own, &m), '}')
	}
	return merge(dst, start, own, row.Extra)
}

// merge gives the object dst[start:] the members of others, which win over its own.
func merge(dst []byte, start int, others ...[]byte) ([]byte, error) {
	theirs := map[string]bool{}
	for _, object := range others {
		if err := addKeys(theirs, object); err != nil {
			return dst, err
		}
	}
	var merged []byte
	for i, object := range append([][]byte{dst[start:]}, others...) {
		if object == nil {
			continue
		}
		err := trace.WalkObject(object, func(m trace.Member) error {
			if i > 0 || !theirs[string(m.Name)] {
				merged = formats.AppendMember(merged, &m)
			}
			return nil
		})
		if err != nil {
			return dst, err
		}
	}
	return append(append(dst[:start], merged...), '}'), nil
}

// appendBare appends a body with the model, and the wish for a stream, where it
// says nothing of them.
func (b *Maker) appendBare(dst, body []byte) ([]byte, error) {
	own := map[string]bool{}
	if err := addKeys(own, body); err != nil {
		return dst, err
	}
	if !own["model"] && string(b.model) == `""` {
		return dst, ErrNoModel
	}
	dst = append(dst, bytes.TrimSuffix(bytes.TrimRight(body, " \t\r\n"), []byte("}"))...)
	if !own["model"] {
		dst = append(append(dst, `,"model":`...), b.model...)
	}
	if b.stream && !own["stream"] {
		dst = append(dst, `,"stream":true`...)
		if !own["stream_options"] {
			dst = append(dst, `,"stream_options":{"include_usage":true}`...)
		}
	}
	return append(dst, '}'), nil
}

// addKeys adds the keys of an object; nil has none.
func addKeys(keys map[string]bool, object []byte) error {
	if object == nil {
		return nil
	}
	return trace.WalkObject(object, func(m trace.Member) error {
		keys[string(m.Name)] = true
		return nil
	})
}

// limited reports whether the fields of a body limit the length of the answer.
func limited(object []byte) bool {
	own := map[string]bool{}
	if err := addKeys(own, object); err != nil {
		return false // whoever merges them says so
	}
	for key := range own {
		if formats.IsLimit(key) {
			return true
		}
	}
	return false
}
