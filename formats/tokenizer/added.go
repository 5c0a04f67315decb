package tokenizer

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is one of added_tokens.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// added finds tokens in a text that stand for themselves.
type added struct {
	byFirst [256][]addedToken // by the first byte, the longest first
	any     bool
}

func newAdded(tokens []addedToken) *added {
	a := new(added)
	for _, t := range tokens {
		if t.Content != "" {
			a.byFirst[t.Content[0]] = append(a.byFirst[t.Content[0]], t)
			a.any = true
		}
	}
	for _, list := range a.byFirst {
		sort.SliceStable(list, func(i, j int) bool { return len(list[i].Content) > len(list[j].Content) })
	}
	return a
}

// split calls text with what is between tokens and token with each, in order.
func (a *added) split(s string, text func(string) error, token func(id int32)) error {
	done := 0 // up to here all was given away
	for i := 0; a.any && i < len(s); {
		t := a.at(s[i:])
		if t == nil {
			i++
			continue
		}
		start, stop := i, i+len(t.Content)
		i = stop
		if t.SingleWord && (wordBefore(s[:start]) || wordAfter(s[stop:])) {
			continue
		}
		if t.LStrip {
			start = len(strings.TrimRightFunc(s[:start], unicode.IsSpace))
		}
		if t.RStrip {
			stop = len(s) - len(strings.TrimLeftFunc(s[stop:], unicode.IsSpace))
		}
		start, stop = max(start, done), max(stop, done)
		if done < start {
			if err := text(s[done:start]); err != nil {
				return err
			}
		}
		token(t.ID)
		done = stop
	}
	if done < len(s) {
		return text(s[done:])
	}
	return nil
}

// at returns the longest token that s begins with.
func (a *added) at(s string) *addedToken {
	list := a.byFirst[s[0]]
	for i := range list {
		if strings.HasPrefix(s, list[i].Content) {
			return &list[i]
		}
	}
	return nil
}

func wordBefore(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func wordAfter(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w.
func isWord(r rune) bool {
	return unicode.In(r, unicode.Letter, unicode.Mark, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic) || r == '\u200c' || r == '\u200d'
}
