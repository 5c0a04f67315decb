package trtllm

import (
	"bufio"
	"errors"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/formats/elements"
	"wattrace/trace"
)

// A Writer writes a dataset:
//
//	{"task_id":7,"prompt":"Hello","output_tokens":5}
//	{"task_id":8,"input_ids":[863,22056],"output_tokens":9}
//
// A dataset has a prompt and a length and nothing else, so that a Writer refuses a body
// whose prompt it cannot say: a chat of more than one message of a user, or with tools;
// several prompts; parts that are no text. The length is what the body asks for
// (max_tokens, max_completion_tokens, max_output_tokens), else the expected one, else
// OutputTokens; without any the body is refused, too. All other keys of the body are
// left out. It is not safe for concurrent use.
type Writer struct {
	// TextOnly makes it vLLM's custom dataset: {"prompt","output_tokens"}, without token
	// ids and names.
	TextOnly     bool
	OutputTokens int64 // where nothing else says how many; 0 is none

	w   *bufio.Writer
	buf []byte
}

var _ formats.RequestWriter = (*Writer)(nil)

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// asked is what a dataset can say of a body.
type asked struct {
	prompt trace.Member // a string or an array of token ids
	tokens trace.Opt[int64]
}

// Write writes one request, as formats.RequestWriter says.
func (w *Writer) Write(q *formats.Request) error {
	a, err := ask(q.Body)
	if err != nil {
		return err
	}
	n := a.tokens
	for _, other := range []trace.Opt[int64]{q.Timing.OutputTokens, {V: w.OutputTokens, OK: w.OutputTokens > 0}} {
		if !n.OK {
			n = other
		}
	}
	if !n.OK || n.V < 1 || n.V > math.MaxInt32 {
		return &trace.ColumnError{Col: 1, Err: errors.New("nothing says how many tokens the answer has, from 1 to 2147483647")}
	}
	b := append(w.buf[:0], '{')
	if id := q.Timing.ID; id != "" && !w.TextOnly {
		b = append(b, `"task_id":`...)
		if v, err := strconv.ParseInt(id, 10, 64); err == nil && strconv.FormatInt(v, 10) == id {
			b = append(b, id...)
		} else if b, err = jsontext.AppendQuote(b, id); err != nil {
			return &trace.ColumnError{Col: 1, Err: err}
		}
		b = append(b, ',')
	}
	switch {
	case a.prompt.Value.Kind() == '"':
		b = append(append(b, `"prompt":`...), a.prompt.Value...)
	case w.TextOnly:
		return a.prompt.Errorf("the prompt is token ids, and this dataset has texts")
	default:
		b = append(append(b, `"input_ids":`...), a.prompt.Value...)
	}
	b = append(strconv.AppendInt(append(b, `,"output_tokens":`...), n.V, 10), '}', '\n')
	w.buf = b
	_, err = w.w.Write(b)
	return err
}

// ask takes from a body what a dataset can say.
func ask(body []byte) (a asked, err error) {
	endpoint, err := trace.CheckPayload(body)
	if err != nil {
		return a, err
	}
	from := map[trace.Endpoint]string{trace.Chat: "messages", trace.Completions: "prompt", trace.Responses: "input"}[endpoint]
	err = trace.WalkObject(body, func(m trace.Member) (err error) {
		switch name := string(m.Name); {
		case name == from:
			a.prompt = m
		case m.Value.Kind() == 'n':
		case name == "max_tokens", name == "max_completion_tokens", name == "max_output_tokens":
			n, err := strconv.ParseInt(string(m.Value), 10, 64)
			if err != nil || n < 1 {
				return m.Errorf("%q must be an integer of at least 1", name)
			}
			a.tokens = trace.Some(n)
		case name == "tools", name == "functions", name == "instructions", name == "suffix":
			if string(m.Value) != "[]" && string(m.Value) != `""` {
				err = m.Errorf("%q has no place in a dataset", name)
			}
		}
		return err
	})
	if err == nil && endpoint == trace.Chat {
		a.prompt, err = question(a.prompt)
	}
	if err != nil {
		return a, err
	}
	return a, plain(a.prompt)
}

// plain checks that a prompt is a text or token ids.
func plain(m trace.Member) error {
	switch m.Value.Kind() {
	case '"':
		return nil
	case '[':
	default:
		return m.Errorf("the prompt is neither a text nor token ids")
	}
	any := false
	err := elements.Each(&m, func(v trace.Member) error {
		any = true
		if n, err := strconv.ParseInt(string(v.Value), 10, 32); err != nil || n < 0 {
			return v.Errorf("the prompt is neither a text nor token ids")
		}
		return nil
	})
	if err == nil && !any {
		err = m.Errorf("the prompt is empty")
	}
	return err
}

// question returns the text of a chat that is one message of a user.
func question(messages trace.Member) (content trace.Member, err error) {
	n := 0
	err = elements.Each(&messages, func(m trace.Member) error {
		if n++; n > 1 {
			return m.Errorf("a chat of several messages has no place in a dataset")
		}
		if m.Value.Kind() != '{' {
			return m.Errorf("a message is no object")
		}
		role := ""
		err := trace.WalkObject(m.Value, func(k trace.Member) error {
			k.Col += m.Col - 1
			switch string(k.Name) {
			case "role":
				text, _ := jsontext.AppendUnquote(nil, k.Value)
				role = string(text)
			case "content":
				content = k
			}
			return nil
		})
		switch {
		case err != nil:
			return m.Inside(err)
		case role != "user":
			return m.Errorf("a message that is not a user's has no place in a dataset")
		case content.Value == nil || content.Value.Kind() != '"':
			return m.Errorf("the content of a message is no string")
		}
		return nil
	})
	if err == nil && n == 0 {
		err = messages.Errorf("the chat has no message")
	}
	return content, err
}

// Close writes what is left.
func (w *Writer) Close() error { return w.w.Flush() }
