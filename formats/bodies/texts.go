package bodies

import (
	"bytes"
	"errors"
	"os"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/formats/elements"
	"wattrace/formats/tokenizer"
	"wattrace/formats/tokens"
	"wattrace/trace"
)

// texts is what a tokenizer is used for: it counts, and it makes prompts. The zero
// value does nothing.
type texts struct {
	tok   *tokenizer.Tokenizer // nil is none
	prose *tokenizer.Prose     // nil leaves prompts that are made token ids
	ids   []int32              // of a text
	text  []byte
	quote []byte
}

// openTexts reads a tokenizer.json; path "" is none.
func openTexts(path string, asText bool) (*texts, error) {
	t := new(texts)
	if path == "" {
		if asText {
			return nil, errors.New("texts for lengths need a tokenizer")
		}
		return t, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if t.tok, err = tokenizer.Read(f, path); err != nil {
		return nil, err
	}
	if len(t.tok.Ordinary()) < tokens.First {
		return nil, errors.New(path + ": fewer than 1,000 tokens that are not special: this is the tokenizer of no model")
	}
	if asText {
		t.prose, err = tokenizer.NewProse(t.tok)
		if err != nil {
			return nil, errors.New(path + ": " + err.Error())
		}
	}
	return t, nil
}

// vocab is the one of which codecs make ids, which make then replaces: id
// tokens.First is the first of the tokenizer's tokens or words.
func (t *texts) vocab() tokens.Vocab {
	n := len(t.tok.Ordinary())
	if t.prose != nil {
		n = t.prose.Len()
	}
	return tokens.Vocab(tokens.First + n)
}

// make gives a prompt that was made for a length the tokenizer's ids, or words.
func (t *texts) make(row *formats.Request) error {
	if t.tok == nil || !row.Made {
		return nil
	}
	if t.prose == nil {
		ordinary := t.tok.Ordinary()
		for i, id := range row.IDs {
			row.IDs[i] = ordinary[id-tokens.First]
		}
		return nil
	}
	for i := range row.IDs {
		row.IDs[i] -= tokens.First
	}
	t.text = append(t.text[:0], '"')
	var err error
	if t.text, err = t.prose.Append(t.text, row.IDs); err != nil {
		return FaultOf(row, err)
	}
	t.text = append(t.text, '"')
	row.Prompt, row.IDs = t.text, nil
	return nil
}

// length stores how many tokens the prompt has, if that is not known and can be
// counted: those of its texts, without what a chat template puts around them.
func (t *texts) length(row *formats.Request) error {
	if row.Timing.InputTokens.OK {
		return nil
	}
	var n int64
	err := errUnknown
	switch {
	case row.IDs != nil:
		n, err = int64(len(row.IDs)), nil
	case row.Prompt != nil:
		n, err = t.value(row.Prompt)
	case row.Messages != nil:
		n, err = t.messages(row.Messages)
	case row.Body != nil:
		n, err = t.body(row.Body)
	}
	switch {
	case err == nil:
		row.Timing.InputTokens = trace.Some(n)
	case err != errUnknown:
		return FaultOf(row, err)
	}
	return nil
}

// answer stores how many tokens the answer had then, if that is not known.
func (t *texts) answer(row *formats.Request) error {
	if t.tok == nil || row.Timing.OutputTokens.OK || row.Answer == nil {
		return nil
	}
	n, err := t.value(row.Answer)
	if err != nil {
		return FaultOf(row, err)
	}
	if n > 0 { // none cannot be asked for
		row.Timing.OutputTokens = trace.Some(n)
	}
	return nil
}

// errUnknown is that something has parts that are no text, or no tokenizer is there.
var errUnknown = errors.New("unknown number of tokens")

// value counts a string's tokens, or token ids, or those of several of either.
func (t *texts) value(v jsontext.Value) (n int64, err error) {
	switch v.Kind() {
	case '"':
		if t.tok == nil {
			return 0, errUnknown
		}
		t.quote, _ = jsontext.AppendUnquote(t.quote[:0], v) // of lone surrogates, U+FFFD
		t.ids, err = t.tok.Append(t.ids[:0], string(t.quote))
		return int64(len(t.ids)), err
	case '[':
		inner := bytes.TrimLeft(v[1:], " \t\r\n")
		switch {
		case inner[0] == ']':
			return 0, nil
		case inner[0] != '"' && inner[0] != '[': // ids; anything else is for the server to refuse
			return int64(bytes.Count(v, []byte(","))) + 1, nil
		}
		err := elements.Each(&trace.Member{Value: v, Col: 1}, func(e trace.Member) error {
			k, err := t.value(e.Value)
			n += k
			return err
		})
		return n, err
	}
	return 0, errUnknown
}

// messages counts the texts of a chat.
func (t *texts) messages(v jsontext.Value) (n int64, err error) {
	if v.Kind() != '[' {
		return 0, errUnknown
	}
	err = elements.Each(&trace.Member{Value: v, Col: 1}, func(e trace.Member) error {
		if e.Value.Kind() != '{' {
			return errUnknown
		}
		return trace.WalkObject(e.Value, func(m trace.Member) error {
			if string(m.Name) != "content" {
				return nil
			}
			k, err := t.content(m.Value)
			n += k
			return err
		})
	})
	return n, err
}

// content counts a message's text, or its parts if they are texts.
func (t *texts) content(v jsontext.Value) (n int64, err error) {
	switch v.Kind() {
	case 'n':
		return 0, nil
	case '"':
		return t.value(v)
	case '[':
		err = elements.Each(&trace.Member{Value: v, Col: 1}, func(e trace.Member) error {
			if e.Value.Kind() != '{' {
				return errUnknown
			}
			found := false
			err := trace.WalkObject(e.Value, func(m trace.Member) error {
				if string(m.Name) != "text" || m.Value.Kind() != '"' {
					return nil
				}
				found = true
				k, err := t.value(m.Value)
				n += k
				return err
			})
			if err == nil && !found {
				err = errUnknown // an image has tokens too
			}
			return err
		})
		return n, err
	}
	return 0, errUnknown
}

// body counts what a whole body asks.
func (t *texts) body(v jsontext.Value) (n int64, err error) {
	found := false
	err = trace.WalkObject(v, func(m trace.Member) error {
		var k int64
		var err error
		switch string(m.Name) {
		case "messages":
			k, err = t.messages(m.Value)
		case "prompt":
			k, err = t.value(m.Value)
		case "input", "instructions":
			if m.Value.Kind() != '"' {
				return errUnknown
			}
			k, err = t.value(m.Value)
		default:
			return nil
		}
		n, found = n+k, true
		return err
	})
	if err == nil && !found {
		err = errUnknown
	}
	return n, err
}
