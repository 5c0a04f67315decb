package prompts

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/trace"
)

// A column is one of guidellm's, which has several names.
type column int

const (
	textColumn column = iota
	messagesColumn
	prefixColumn
	inputColumn
	outputColumn
	atColumn
	refused // what would change the request, and is not read
	nColumns
)

// names are the names of columns.
var names = [nColumns][]string{
	textColumn:     {"prompt", "instruction", "question", "input", "context", "content", "conversation", "turn", "text"},
	messagesColumn: {"messages", "chat_messages"},
	prefixColumn:   {"system_prompt", "system", "prefix"},
	inputColumn:    {"prompt_tokens_count", "input_tokens_count"},
	outputColumn:   {"output_tokens_count", "completion_tokens_count"},
	atColumn:       {"relative_timestamp"},
	refused: {
		"image", "picture", "photo", "img", "video", "clip", "movie", "footage", "mp4", "mov", "avi", "audio", "sound", "voice", "speech", "wav", "mp3",
		"tools", "functions", "tool_definitions", "tool_response", "tool_result", "tool_output", "tool_choice", "conversation_turns",
	},
}

// columns are the keys that count, by column; "" is none yet.
type columns [nColumns]string

// known returns the column that a key is a name of, and whether a number behind
// the name makes a turn of it.
func known(key string) (c column, turn, ok bool) {
	key = strings.ToLower(key)
	if i := strings.LastIndexAny(key, "-_"); i >= 0 {
		if _, err := strconv.ParseUint(key[i+1:], 10, 64); err == nil {
			key, turn = key[:i], true
		}
	}
	for _, name := range []string{key, strings.TrimSuffix(key, "s"), strings.TrimSuffix(key, "es")} {
		for c, all := range names {
			if slices.Contains(all, name) {
				return column(c), turn, true
			}
		}
	}
	return 0, false, false
}

func (r *Reader) guidellm(row *formats.Request, line []byte) error {
	of := r.columns
	var found [nColumns]trace.Member
	err := trace.WalkObject(line, func(m trace.Member) error {
		c, turn, ok := known(string(m.Name))
		if !ok {
			return nil
		}
		key := string(m.Name)
		switch {
		case c == refused && m.Value.Kind() != 'n':
			return m.Errorf("%q is not supported", key)
		case c == refused:
			return nil
		case turn && m.Value.Kind() != 'n':
			return m.Errorf("%q is a turn, and only columns of one turn are read", key)
		case turn:
			return nil
		}
		if of[c] == "" {
			of[c] = key
		}
		if of[c] != key {
			return nil
		}
		if found[c].Value != nil {
			return m.Errorf("%q is there twice", key)
		}
		found[c] = m
		return nil
	})
	if err == nil {
		err = fill(row, &found)
	}
	if err == nil {
		r.columns = of
	}
	return err
}

// fill makes a request of what a row has in its columns.
func fill(row *formats.Request, found *[nColumns]trace.Member) (err error) {
	var prefix jsontext.Value
	for c := range found {
		m := &found[c]
		if m.Value == nil || m.Value.Kind() == 'n' {
			continue
		}
		switch column(c) {
		case textColumn:
			err = text(&row.Prompt, m)
		case messagesColumn:
			if m.Value.Kind() != '[' || len(m.Value) < 3 {
				return m.Errorf("%q must be an array that is not empty", m.Name)
			}
			row.Messages = m.Value
		case prefixColumn:
			err = text(&prefix, m)
		case inputColumn:
			row.Timing.InputTokens, err = m.Integer(0, math.MaxInt32)
		case outputColumn:
			row.Timing.OutputTokens, err = m.Integer(1, math.MaxInt32)
		case atColumn:
			row.Timing.AtSeconds, err = m.Seconds()
		}
		if err != nil {
			return err
		}
	}
	both := func(c column) error {
		return found[messagesColumn].Errorf("both %q and %q", found[messagesColumn].Name, found[c].Name)
	}
	switch {
	case row.Messages != nil && row.Prompt != nil:
		return both(textColumn)
	case row.Messages != nil && prefix != nil:
		return both(prefixColumn)
	case row.Messages != nil:
	case row.Prompt == nil:
		return &trace.ColumnError{Col: 1, Err: errNothingAsked}
	case prefix != nil:
		row.Messages = append(append([]byte(`[{"role":"system","content":`), prefix...), `},{"role":"user","content":`...)
		row.Messages = append(append(row.Messages, row.Prompt...), `}]`...)
		row.Prompt = nil
	}
	return nil
}
