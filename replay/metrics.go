package replay

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// metricKeys are the keys under which servers say what they measured of one
// request: vLLM and llama.cpp at the top, SGLang at the top or in a choice,
// TensorRT-LLM in a choice.
var metricKeys = [...]string{"metrics", "meta_info", "perf_metrics", "disaggregated_params", "timings"}

// timings is the place of llama.cpp's in metricKeys.
const timings = len(metricKeys) - 1

// maxMetrics bounds the objects of one answer in the log, in bytes. What is
// longer is not measurements.
const maxMetrics = 4 << 10

// metric reads the value of a key that nobody else knows, which may be what the
// server measured.
func (d *decoder) metric(name []byte, f *found) error {
	for i, key := range metricKeys {
		if string(name) == key && d.json.PeekKind() == '{' {
			v, _, err := d.value()
			f.metrics[i] = v
			return err
		}
	}
	return d.json.SkipValue()
}

// metrics keeps the last of each object that a server gave.
type metrics [len(metricKeys)][]byte

func (m *metrics) reset() {
	for i := range m {
		m[i] = m[i][:0]
	}
}

// take keeps what an event holds; it reports whether that is anything.
func (m *metrics) take(found *[len(metricKeys)][]byte) (any bool) {
	for i, v := range found {
		if len(v) > 0 {
			m[i], any = append(m[i][:0], v...), true
		}
	}
	return any
}

// object returns one object with what there is, by key; nil is nothing.
func (m *metrics) object() []byte {
	var b []byte
	for i, v := range m {
		if len(v) == 0 || len(v) > maxMetrics {
			continue
		}
		if v = withoutText(v); v == nil {
			continue
		}
		b = append(append(append(append(b, `,"`...), metricKeys[i]...), `":`...), v...)
	}
	if b == nil {
		return nil
	}
	b[0] = '{'
	return append(b, '}')
}

// withoutText returns a JSON object without the members that could hold a
// prompt, an answer or its tokens; verbatim where there are none.
func withoutText(object []byte) []byte {
	dec := jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	kept, whole := []byte{'{'}, true
	for dec.PeekKind() == '"' {
		name, err := dec.ReadValue()
		if err != nil {
			return nil
		}
		name = bytes.Clone(name)
		value, err := dec.ReadValue()
		if err != nil {
			return nil
		}
		if holdsText(name, value) {
			whole = false
			continue
		}
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = append(append(append(kept, name...), ':'), value...)
	}
	if whole {
		return object
	}
	return append(kept, '}')
}

// textual are parts of the names of members that hold tokens as numbers.
var textual = []string{"token_ids", "gen_tokens", "draft_tokens", "output_ids", "input_ids", "logprob", "log_prob", "logits", "hidden_states", "opaque_state", "b64"}

// holdsText reports whether a member could hold a text or its tokens: a string
// that is no name, anywhere in it, or a list that is called so.
func holdsText(name, value []byte) bool {
	if slices.ContainsFunc(textual, func(s string) bool { return bytes.Contains(name, []byte(s)) }) {
		return value[0] == '[' || value[0] == '"' || value[0] == '{'
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return false // the end: the value is known to be valid
		}
		if token.Kind() != '"' {
			continue
		}
		s := token.String()
		// A member's name inside the value: of one that holds tokens?
		if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && n%2 == 1 {
			if slices.ContainsFunc(textual, func(t string) bool { return strings.Contains(s, t) }) {
				return true
			}
		}
		if s != "" && !isName(s) {
			return true
		}
	}
}

// maxID bounds an answer's id.
const maxID = 128

// isID reports whether b is what servers call an answer, and not a text.
func isID(b []byte) bool {
	if len(b) == 0 || len(b) > maxID {
		return false
	}
	for _, c := range b {
		if !isNameByte(c) {
			return false
		}
	}
	return true
}
