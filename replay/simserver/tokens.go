package simserver

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// The token rule of the package comment.
const (
	bytesPerToken    = 4
	tokensPerMessage = 4
	tokensPerAnswer  = 3
)

var errPromptForm = errors.New("must be a string, a list of token ids, or a list of one of those")

// textTokens counts the tokens of a text.
func textTokens(text []byte) int { return (len(text) + bytesPerToken - 1) / bytesPerToken }

// countPrompt counts the tokens of a completion's prompt.
func countPrompt(v jsontext.Value) (int, error) {
	if listOfPrompts(v) {
		prompts, err := elements(v)
		if err != nil {
			return 0, err
		}
		for _, p := range prompts {
			if _, err := countOne(p); err != nil {
				return 0, err
			}
		}
		if len(prompts) > 1 {
			return 0, errors.New("several prompts in one request, of which this server takes one")
		}
		v = prompts[0]
	}
	n, err := countOne(v)
	if err == nil && n == 0 {
		err = errors.New("the prompt is empty")
	}
	return n, err
}

// listOfPrompts reports whether a list begins with a prompt and not with an id.
func listOfPrompts(v jsontext.Value) bool {
	if v.Kind() != '[' {
		return false
	}
	first := bytes.TrimLeft(v[1:], " \t\r\n")
	return first[0] == '"' || first[0] == '['
}

// countOne counts the tokens of a string or a list of ids.
func countOne(v jsontext.Value) (int, error) {
	switch v.Kind() {
	case '"':
		return textTokens(unquote(v)), nil
	case '[':
		return countIDs(v)
	}
	return 0, errPromptForm
}

// countIDs counts the elements of a valid JSON list whose elements must be
// non-negative integers. It looks at each byte once: prompts of ids are long.
func countIDs(v jsontext.Value) (int, error) {
	n, inside := 0, false
	for _, c := range v[1 : len(v)-1] {
		switch c {
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			if !inside {
				n++
			}
			inside = true
		case ' ', '\t', '\r', '\n', ',':
			inside = false
		default:
			return 0, errPromptForm
		}
	}
	return n, nil
}

// elements returns the elements of a valid JSON list.
func elements(v jsontext.Value) ([]jsontext.Value, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var all []jsontext.Value
	for d.PeekKind() != ']' {
		e, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		all = append(all, e.Clone())
	}
	return all, nil
}

// countInput counts the tokens of a response's input: a text, or messages.
func countInput(v jsontext.Value) (int, error) {
	if v.Kind() == '"' {
		return tokensPerAnswer + tokensPerMessage + textTokens(unquote(v)), nil
	}
	return countMessages(v)
}

// countMessages counts the tokens of a chat.
func countMessages(v jsontext.Value) (int, error) {
	if v.Kind() != '[' {
		return 0, errors.New("must be a list of messages")
	}
	messages, err := elements(v)
	if err != nil || len(messages) == 0 {
		return 0, errors.New("must be a list of at least one message")
	}
	total := tokensPerAnswer
	for _, m := range messages {
		n, err := countMessage(m)
		if err != nil {
			return 0, err
		}
		total += tokensPerMessage + n
	}
	return total, nil
}

func countMessage(v jsontext.Value) (int, error) {
	role, n := false, 0
	if v.Kind() != '{' {
		return 0, errors.New("a message must be an object")
	}
	err := trace.WalkObject(v, func(m trace.Member) (err error) {
		switch string(m.Name) {
		case "role":
			if role = m.Value.Kind() == '"'; !role {
				return errors.New("the role of a message must be a string")
			}
		case "content":
			n, err = countContent(m.Value)
		}
		return err
	})
	if err == nil && !role {
		err = errors.New("a message has no role")
	}
	return n, err
}

// countContent counts the tokens of a message's content: a string, null, or a
// list of parts, all of text.
func countContent(v jsontext.Value) (int, error) {
	switch v.Kind() {
	case 'n':
		return 0, nil
	case '"':
		return textTokens(unquote(v)), nil
	case '[':
		parts, err := elements(v)
		if err != nil {
			return 0, err
		}
		total := 0
		for _, p := range parts {
			n, err := countPart(p)
			if err != nil {
				return 0, err
			}
			total += n
		}
		return total, nil
	}
	return 0, errors.New("the content of a message must be a string or a list of parts")
}

func countPart(v jsontext.Value) (int, error) {
	var kind, text jsontext.Value
	if v.Kind() == '{' {
		err := trace.WalkObject(v, func(m trace.Member) error {
			switch string(m.Name) {
			case "type":
				kind = m.Value
			case "text":
				text = m.Value
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	named := string(kind) == `"text"` || string(kind) == `"input_text"` || string(kind) == `"output_text"`
	if !named || text.Kind() != '"' {
		return 0, errors.New("a part of a content must be text: this server reads nothing else")
	}
	return textTokens(unquote(text)), nil
}

// vocabulary is what answers are made of.
var vocabulary = [...]string{
	"the", "a", "power", "of", "each", "step", "and", "its", "energy", "is", "counted", "in", "joules", "while",
	"many", "users", "wait", "for", "one", "more", "token", "from", "this", "simulated", "server", "that", "says",
	"nothing", "with", "great", "care", "indeed",
}

// appendWord appends token i of an answer, with a space before it unless it is
// the first of a text.
func appendWord(b []byte, words uint64, i int, first bool) []byte {
	if !first {
		b = append(b, ' ')
	}
	return append(b, vocabulary[mix(words+uint64(i))%uint64(len(vocabulary))]...)
}
