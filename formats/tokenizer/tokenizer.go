package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/text/unicode/norm"

	"wattrace/trace"
)

// A Tokenizer splits texts into token ids. It is not safe for concurrent use.
type Tokenizer struct {
	verbatim, normalized *added // tokens that are found before and after normalizing
	forms                []norm.Form
	splitters            []splitter
	model                *bpe
	ordinary             []int32          // ids that are no added tokens, in order
	vocab                map[string]int32 // as in the file
}

// maxFile bounds a tokenizer.json; those of 262,144 entries have 32 MB.
const maxFile = 256 << 20

// file is a tokenizer.json.
type file struct {
	AddedTokens  []addedToken    `json:"added_tokens"`
	Normalizer   json.RawMessage `json:"normalizer"`
	PreTokenizer json.RawMessage `json:"pre_tokenizer"`
	Model        *model          `json:"model"`
}

type model struct {
	Type         string     `json:"type"`
	Vocab        vocabulary `json:"vocab"`
	Merges       []two      `json:"merges"`
	Dropout      float64    `json:"dropout"`
	UnkToken     *string    `json:"unk_token"`
	Prefix       string     `json:"continuing_subword_prefix"`
	Suffix       string     `json:"end_of_word_suffix"`
	ByteFallback bool       `json:"byte_fallback"`
	IgnoreMerges bool       `json:"ignore_merges"`
}

// vocabulary is the ids of a BPE's entries. Other models have lists, which are
// left for the message that names the model.
type vocabulary map[string]int32

func (v *vocabulary) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, (*map[string]int32)(v))
}

// two is a merge, "a b" or ["a","b"].
type two struct{ left, right string }

var errMerge = errors.New(`a merge must be "a b" or ["a","b"]`)

func (t *two) UnmarshalJSON(b []byte) error {
	var list []string
	var text string
	switch b[0] {
	case '[':
		if json.Unmarshal(b, &list) != nil || len(list) != 2 {
			return errMerge
		}
	default:
		if json.Unmarshal(b, &text) != nil {
			return errMerge
		}
		if list = strings.Split(text, " "); len(list) != 2 {
			return errMerge
		}
	}
	t.left, t.right = list[0], list[1]
	return nil
}

// Read reads a tokenizer.json, whose name positions and errors have. An error
// says what of it is not understood.
func Read(r io.Reader, name string) (*Tokenizer, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: longer than %d MiB, which no tokenizer.json is", name, maxFile>>20)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, at(data, name, err)
	}
	t, err := build(&f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// at gives an error of JSON its position.
func at(data []byte, name string, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset, err = syntax.Offset, errors.New("not JSON")
	case errors.As(err, &kind):
		offset, err = kind.Offset, fmt.Errorf("%q must not be %s", kind.Field, article(kind.Value))
	}
	if offset < 0 || offset > int64(len(data)) {
		return fmt.Errorf("%s: %w", name, err)
	}
	before := data[:offset]
	return &trace.SyntaxError{
		Pos: trace.Pos{File: name, Line: bytes.Count(before, []byte("\n")) + 1, Col: max(1, len(before)-bytes.LastIndexByte(before, '\n')-1)},
		Err: err,
	}
}

func article(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	if kind == "array" || kind == "object" {
		return "an " + kind
	}
	return "a " + kind
}

func build(f *file) (*Tokenizer, error) {
	t := new(Tokenizer)
	switch m := f.Model; {
	case m == nil:
		return nil, errors.New("no model: this is no tokenizer.json")
	case m.Type != "BPE" && (m.Type != "" || m.Merges == nil):
		return nil, fmt.Errorf("model: the type %q is not supported, BPE on bytes is", m.Type)
	case len(m.Vocab) == 0:
		return nil, errors.New("model: no vocab")
	case m.Dropout != 0:
		return nil, errors.New("model: dropout is not supported: the same text would have different tokens")
	case m.Prefix != "":
		return nil, errors.New("model: continuing_subword_prefix is not supported")
	case m.Suffix != "":
		return nil, errors.New("model: end_of_word_suffix is not supported")
	case m.ByteFallback:
		return nil, errors.New("model: byte_fallback is not supported: bytes must be tokens, by a ByteLevel")
	}
	for _, id := range f.Model.Vocab {
		if id < 0 {
			return nil, fmt.Errorf("model: an id of %d", id)
		}
	}
	var err error
	if t.forms, err = normalizers(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if t.splitters, err = splitters(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if t.model, err = newBPE(f.Model); err != nil {
		return nil, err
	}
	t.vocab = f.Model.Vocab
	var verbatim, normalized []addedToken
	reserved := map[int32]bool{}
	for _, a := range f.AddedTokens {
		if id, ok := t.vocab[a.Content]; ok {
			a.ID = id // which is what the library does
		}
		if a.ID < 0 {
			return nil, fmt.Errorf("added_tokens: an id of %d", a.ID)
		}
		reserved[a.ID] = true
		if a.Normalized {
			a.Content = t.normalize(a.Content)
			normalized = append(normalized, a)
		} else {
			verbatim = append(verbatim, a)
		}
	}
	t.verbatim, t.normalized = newAdded(verbatim), newAdded(normalized)
	for _, id := range t.vocab {
		if !reserved[id] {
			t.ordinary = append(t.ordinary, id)
		}
	}
	slices.Sort(t.ordinary)
	t.ordinary = slices.Compact(t.ordinary)
	return t, nil
}

var forms = map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}

func normalizers(raw json.RawMessage) ([]norm.Form, error) {
	if isNull(raw) {
		return nil, nil
	}
	var n struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, errors.New("not an object with a type")
	}
	if n.Type != "Sequence" {
		form, ok := forms[n.Type]
		if !ok {
			return nil, fmt.Errorf("the type %q is not supported; NFC, NFD, NFKC, NFKD and a Sequence are", n.Type)
		}
		return []norm.Form{form}, nil
	}
	var all []norm.Form
	for _, raw := range n.Normalizers {
		more, err := normalizers(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// splitters returns the steps of a pre-tokenizer up to the mapping of bytes, which
// comes last and is part of the model here.
func splitters(raw json.RawMessage) ([]splitter, error) {
	steps, byteLevel, err := steps(raw)
	if err == nil && !byteLevel {
		err = errors.New("without a ByteLevel at its end: only BPE on bytes is supported")
	}
	return steps, err
}

type preTokenizer struct {
	Type string `json:"type"`

	PreTokenizers []json.RawMessage `json:"pretokenizers"` // of a Sequence

	AddPrefixSpace *bool `json:"add_prefix_space"` // of ByteLevel
	UseRegex       *bool `json:"use_regex"`

	Pattern  struct{ Regex, String *string } `json:"pattern"` // of Split
	Behavior string                          `json:"behavior"`
	Invert   bool                            `json:"invert"`

	IndividualDigits bool `json:"individual_digits"` // of Digits
}

// steps also reports whether the last of them maps bytes.
func steps(raw json.RawMessage) (all []splitter, byteLevel bool, _ error) {
	if isNull(raw) {
		return nil, false, nil
	}
	var p preTokenizer
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, false, errors.New("not an object with a type and what belongs to it")
	}
	switch p.Type {
	case "Sequence":
		for _, raw := range p.PreTokenizers {
			if byteLevel {
				return nil, false, errors.New("a ByteLevel that something follows is not supported")
			}
			more, last, err := steps(raw)
			if err != nil {
				return nil, false, err
			}
			all, byteLevel = append(all, more...), last
		}
		return all, byteLevel, nil
	case "ByteLevel":
		if p.AddPrefixSpace == nil || *p.AddPrefixSpace {
			all = append(all, prefixed{})
		}
		if p.UseRegex == nil || *p.UseRegex {
			s, err := newByRegexp(gpt2, false)
			if err != nil {
				return nil, false, err
			}
			all = append(all, s)
		}
		return all, true, nil
	case "Digits":
		return []splitter{byDigits{p.IndividualDigits}}, false, nil
	case "Split":
		s, err := p.split()
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", p.Type, err)
		}
		return []splitter{s}, false, nil
	}
	return nil, false, fmt.Errorf("the type %q is not supported; ByteLevel, Split, Digits and a Sequence are", p.Type)
}

func (p *preTokenizer) split() (splitter, error) {
	only := false
	switch {
	case p.Behavior == "Isolated":
	case p.Behavior == "Removed" && p.Invert:
		only = true
	default:
		return nil, fmt.Errorf("the behavior %q (invert: %t) is not supported", p.Behavior, p.Invert)
	}
	switch {
	case p.Pattern.Regex != nil:
		return newByRegexp(*p.Pattern.Regex, only)
	case p.Pattern.String != nil && *p.Pattern.String != "":
		re, err := regexp2.Compile(regexp2.Escape(*p.Pattern.String))
		return &byRegexp{re: re, only: only}, err
	}
	return nil, errors.New("neither a Regex nor a String")
}

func (t *Tokenizer) normalize(s string) string {
	for _, f := range t.forms {
		s = normal(f, s)
	}
	return s
}

// Append appends the ids of a text. The text must be UTF-8. Special tokens are not
// added, but found where the text has them.
func (t *Tokenizer) Append(dst []int32, text string) ([]int32, error) {
	token := func(id int32) { dst = append(dst, id) }
	word := func(w string) error {
		dst = t.model.appendWord(dst, w)
		return nil
	}
	words := func(s string) error { return t.pieces(t.splitters, s, word) }
	err := t.verbatim.split(text, func(s string) error { return t.normalized.split(t.normalize(s), words, token) }, token)
	return dst, err
}

func (t *Tokenizer) pieces(steps []splitter, s string, word func(string) error) error {
	if len(steps) == 0 {
		return word(s)
	}
	return steps[0].split(s, func(piece string) error { return t.pieces(steps[1:], piece, word) })
}

// Ordinary returns the ids of the vocabulary that are no added tokens, as special
// ones are, in order. It must not be changed.
func (t *Tokenizer) Ordinary() []int32 { return t.ordinary }
