package replay

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// found is what one JSON object of an answer holds: an event, or a whole body.
// The slices are parts of the input.
type found struct {
	role, content, reasoning, tool bool

	usage  []byte           // the object
	count  trace.Opt[int64] // the output tokens of usage
	finish []byte           // the reason, without quotes
	failed bool             // there is an error object
	fault  fault
	known  bool // it has the shape of an answer or a part of one
	text   span // a string with output; zero if the output is something else
	err    error

	id      []byte                  // without quotes
	metrics [len(metricKeys)][]byte // what the server measured, by key; nil is none
}

// kind applies the order of trace.ChunkKind: output of any kind first, of
// several the text before the reasoning before the tool call.
func (f *found) kind() trace.ChunkKind {
	switch {
	case f.content:
		return trace.ChunkContent
	case f.reasoning:
		return trace.ChunkReasoning
	case f.tool:
		return trace.ChunkTool
	case f.failed:
		return trace.ChunkError
	case len(f.finish) > 0:
		return trace.ChunkFinish
	case len(f.usage) > 0:
		return trace.ChunkUsage
	case f.role:
		return trace.ChunkRole
	}
	return trace.ChunkOther
}

// span is where a string with output stands, without its quotes.
type span struct{ start, end int }

// fault is a server's error object.
type fault struct {
	Type, Code, Param string
	Message           string // may quote the prompt
}

// decoder walks the JSON of answers in the shapes of chat completions,
// completions and responses. It accepts duplicate names and bytes that are not
// UTF-8, as the fast path does; anything else that is wrong is an error.
type decoder struct {
	json *jsontext.Decoder
	buf  bytes.Buffer
	data []byte
}

var errTrailing = errors.New("something follows the JSON value")

// start makes d read data.
func (d *decoder) start(data []byte) {
	if d.json == nil {
		d.json = new(jsontext.Decoder)
	}
	d.data = data
	d.buf = *bytes.NewBuffer(data)
	d.json.Reset(&d.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// decode reads an event or a body into f.
func (d *decoder) decode(data []byte, f *found) {
	d.start(data)
	if d.json.PeekKind() != '{' {
		if f.err = d.json.SkipValue(); f.err == nil {
			f.err = d.end()
		}
		return
	}
	f.err = d.top(f)
	if f.err == nil {
		f.err = d.end()
	}
}

// end checks that nothing follows.
func (d *decoder) end() error {
	_, err := d.json.ReadToken()
	switch err {
	case io.EOF:
		return nil
	case nil:
		return errTrailing
	}
	return err
}

// value reads a value and returns it as a part of the input, which stays valid,
// and where it stands.
func (d *decoder) value() (v []byte, start int, err error) {
	read, err := d.json.ReadValue()
	if err != nil {
		return nil, 0, err
	}
	end := int(d.json.InputOffset())
	start = end - len(read)
	return d.data[start:end], start, nil
}

// object reads an object and calls one for each name; one must read or skip
// the value. What is no object is skipped.
func (d *decoder) object(one func(name []byte) error) error {
	if d.json.PeekKind() != '{' {
		return d.json.SkipValue()
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() == '"' {
		name, _, err := d.value()
		if err != nil {
			return err
		}
		if bytes.IndexByte(name, '\\') >= 0 {
			name, _ = jsontext.AppendUnquote(nil, name)
		} else {
			name = name[1 : len(name)-1]
		}
		if err := one(name); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken() // the brace, or what is wrong
	return err
}

// array reads an array and calls one at each element; one must read it. What
// is no array is skipped.
func (d *decoder) array(one func() error) error {
	if d.json.PeekKind() != '[' {
		return d.json.SkipValue()
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for k := d.json.PeekKind(); k != ']' && k != jsontext.KindInvalid; k = d.json.PeekKind() {
		if err := one(); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// string reads a value and returns what is between its quotes, escapes and
// all; not ok if it is no string.
func (d *decoder) string() (s []byte, start int, err error) {
	isString := d.json.PeekKind() == '"'
	v, start, err := d.value()
	if err != nil || !isString {
		return nil, 0, err
	}
	return v[1 : len(v)-1], start + 1, nil
}

// output reads a value that is output if it is not empty: a string, whose place
// is noted, or, as some servers send, an array of parts.
func (d *decoder) output(f *found) (bool, error) {
	if d.json.PeekKind() == '[' {
		return d.filled()
	}
	s, start, err := d.string()
	if err != nil || len(s) == 0 {
		return false, err
	}
	f.text = span{start, start + len(s)}
	return true, nil
}

// filled reads a value and reports whether it is an array or an object with
// something in it.
func (d *decoder) filled() (bool, error) {
	k := d.json.PeekKind()
	v, _, err := d.value()
	if err != nil || k != '[' && k != '{' {
		return false, err
	}
	return len(bytes.TrimSpace(v[1:len(v)-1])) > 0, nil
}

func (d *decoder) top(f *found) error {
	var r responsesEvent
	var flat fault
	var object []byte
	err := d.object(func(name []byte) (err error) {
		switch string(name) {
		case "choices":
			f.known = true
			return d.array(func() error { return d.choice(f) })
		case "usage":
			return d.usage(f)
		case "error":
			return d.fault(f)
		case "object":
			object, _, err = d.string()
		case "type":
			r.kind, _, err = d.string()
		case "delta":
			r.delta, r.deltaAt, err = d.string()
		case "response":
			return d.response(f, &r)
		case "status":
			r.status, _, err = d.string()
		case "incomplete_details":
			return d.incomplete(&r)
		case "output":
			r.output, err = d.filled()
		case "code":
			flat.Code, err = d.scalar()
		case "param":
			flat.Param, err = d.scalar()
		case "message":
			flat.Message, err = d.scalar()
		case "id":
			f.id, _, err = d.string()
		default:
			err = d.metric(name, f)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.settle(f, string(object) == "response")
	if string(object) == "error" || string(r.kind) == "error" {
		if !f.failed {
			flat.Type = string(r.kind)
			f.fault = flat
		}
		f.failed = true
	}
	return nil
}

func (d *decoder) choice(f *found) error {
	return d.object(func(name []byte) (err error) {
		switch string(name) {
		case "delta", "message":
			return d.delta(f)
		case "text":
			f.content, err = d.also(f.content, f)
		case "finish_reason":
			var s []byte
			if s, _, err = d.string(); len(s) > 0 {
				f.finish = s
			}
		default:
			err = d.metric(name, f)
		}
		return err
	})
}

func (d *decoder) delta(f *found) error {
	return d.object(func(name []byte) (err error) {
		var more bool
		switch string(name) {
		case "content", "refusal":
			f.content, err = d.also(f.content, f)
		case "reasoning_content", "reasoning":
			f.reasoning, err = d.also(f.reasoning, f)
		case "tool_calls", "function_call":
			more, err = d.filled()
			f.tool = f.tool || more
		case "role":
			var s []byte
			s, _, err = d.string()
			f.role = f.role || len(s) > 0
		default:
			err = d.json.SkipValue()
		}
		return err
	})
}

// also reads output and reports whether there is any, or was before.
func (d *decoder) also(before bool, f *found) (bool, error) {
	more, err := d.output(f)
	return before || more, err
}

func (d *decoder) usage(f *found) error {
	if d.json.PeekKind() != '{' {
		return d.json.SkipValue()
	}
	start := int(d.json.InputOffset())
	start += bytes.IndexByte(d.data[start:], '{') // white space and a colon are before it
	var count trace.Opt[int64]
	err := d.object(func(name []byte) error {
		v, _, err := d.value()
		if n, ok := number(v); ok && isOutput(name) {
			count = trace.Some(n)
		}
		return err
	})
	if err == nil {
		f.usage, f.count = d.data[start:d.json.InputOffset()], count
	}
	return err
}

// isOutput reports whether a member of a usage object counts the output tokens.
func isOutput(name []byte) bool {
	return string(name) == "completion_tokens" || string(name) == "output_tokens"
}

// scalar reads a string or a number as text; anything else is "".
func (d *decoder) scalar() (string, error) {
	k := d.json.PeekKind()
	v, _, err := d.value()
	if err != nil || k != '"' && k != '0' {
		return "", err
	}
	if k == '0' {
		return string(v), nil
	}
	// What is not UTF-8 has become the replacement character; the syntax is
	// known to be right.
	s, _ := jsontext.AppendUnquote(nil, v)
	return string(s), nil
}

// fault reads the value of "error": an object, or a message. null is none.
func (d *decoder) fault(f *found) (err error) {
	switch d.json.PeekKind() {
	case '{':
		f.failed, f.fault = true, fault{}
		return d.object(func(name []byte) (err error) {
			switch string(name) {
			case "type":
				f.fault.Type, err = d.scalar()
			case "code":
				f.fault.Code, err = d.scalar()
			case "param":
				f.fault.Param, err = d.scalar()
			case "message":
				f.fault.Message, err = d.scalar()
			default:
				err = d.json.SkipValue()
			}
			return err
		})
	case '"':
		var s string
		if s, err = d.scalar(); s != "" {
			f.failed, f.fault = true, fault{Message: s}
		}
		return err
	}
	return d.json.SkipValue()
}

// timed reads the token counts of llama.cpp's timings. The prompt is what was
// found in the cache and what was not: its tokens are not known without both.
func (d *decoder) timed(object []byte) (input, output trace.Opt[int64]) {
	var cached, prompt trace.Opt[int64]
	d.integers(object, func(name []byte, n int64) {
		switch string(name) {
		case "cache_n":
			cached = trace.Some(n)
		case "prompt_n":
			prompt = trace.Some(n)
		case "predicted_n":
			output = trace.Some(n)
		}
	})
	if cached.OK && prompt.OK {
		input = trace.Some(cached.V + prompt.V)
	}
	return input, output
}

// counts reads the token counts of a usage object: prompt_tokens and
// completion_tokens, in a response input_tokens and output_tokens.
func (d *decoder) counts(usage []byte) (input, output trace.Opt[int64]) {
	d.integers(usage, func(name []byte, n int64) {
		switch {
		case string(name) == "prompt_tokens", string(name) == "input_tokens":
			input = trace.Some(n)
		case isOutput(name):
			output = trace.Some(n)
		}
	})
	return input, output
}

// maxCount bounds the counts that a server is believed: no answer has so many
// tokens. Two of them add up to what reduce takes.
const maxCount = 1 << 30

// integers calls one for each member of an object, which is known to be valid,
// that is an integer from 0 to maxCount.
func (d *decoder) integers(object []byte, one func(name []byte, n int64)) {
	d.start(object)
	d.object(func(name []byte) error {
		v, _, err := d.value()
		if err != nil {
			return err
		}
		if n, ok := number(v); ok {
			one(name, n)
		}
		return nil
	})
}

// number reads a value that is an integer from 0 to maxCount.
func number(v []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil && 0 <= n && n <= maxCount
}
