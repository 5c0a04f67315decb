package tokenizer

import (
	"errors"
	"fmt"
	"slices"
)

// Prose makes texts that have a given number of tokens: words that are one token
// each and stay so beside each other. A text is a pure function of the tokenizer's
// file and of the words that are asked for. It is not safe for concurrent use.
type Prose struct {
	t     *Tokenizer
	words []string // " word"
	ids   []int32
}

const (
	minWords = 64   // so that a text is unlike another one
	maxWords = 2048 // the first of the vocabulary, which are the most common ones
)

// NewProse finds the words of a vocabulary: of small letters, and one token both
// after a space and at the start of a text.
func NewProse(t *Tokenizer) (*Prose, error) {
	p := &Prose{t: t}
	type entry struct {
		id   int32
		word string
	}
	var entries []entry
	for name, id := range t.vocab {
		if word, ok := spelled(name); ok && isProse(word) {
			entries = append(entries, entry{id, word})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return int(a.id) - int(b.id) })
	var want []int32
	all := ""
	for _, e := range entries {
		if len(p.words) == maxWords {
			break
		}
		after, err := p.encode(e.word)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(after, []int32{e.id}) {
			continue
		}
		start, err := p.encode(e.word[1:])
		if err != nil {
			return nil, err
		}
		if len(start) == 1 {
			p.words, want, all = append(p.words, e.word), append(want, e.id), all+e.word
		}
	}
	if len(p.words) < minWords {
		return nil, fmt.Errorf("the vocabulary has %d words of small letters that are one token wherever they stand: want at least %d", len(p.words), minWords)
	}
	got, err := p.encode(all)
	if err == nil && !slices.Equal(got, want) {
		err = errors.New("the words of the vocabulary do not stay single tokens beside each other")
	}
	return p, err
}

// isProse reports whether a token is a space and at least two small letters.
func isProse(word string) bool {
	if len(word) < 3 || word[0] != ' ' {
		return false
	}
	for _, c := range []byte(word[1:]) {
		if c < 'a' || 'z' < c {
			return false
		}
	}
	return true
}

func (p *Prose) encode(text string) (ids []int32, err error) {
	p.ids, err = p.t.Append(p.ids[:0], text)
	return p.ids, err
}

// Len returns how many words there are.
func (p *Prose) Len() int { return len(p.words) }

// maxCorrections is how often a text is corrected that has not as many tokens as it
// should have.
const maxCorrections = 100

// Append appends a text of exactly as many tokens as words are asked for, each by
// its number below Len. It has small letters and single spaces, none at its ends.
func (p *Prose) Append(dst []byte, words []int32) ([]byte, error) {
	if len(words) == 0 {
		return dst, nil
	}
	start := len(dst)
	for i, w := range words {
		word := p.words[w]
		if i == 0 {
			word = word[1:]
		}
		dst = append(dst, word...)
	}
	// That words stay single tokens was seen, but a pattern may look further.
	for try := range maxCorrections {
		ids, err := p.encode(string(dst[start:]))
		if err != nil {
			return dst, err
		}
		switch {
		case len(ids) == len(words):
			return dst, nil
		case len(ids) < len(words):
			dst = append(dst, p.words[(int(words[0])+try)%len(p.words)]...)
		default:
			cut := start + 1
			for i := cut; i < len(dst); i++ {
				if dst[i] == ' ' {
					cut = i
				}
			}
			dst = dst[:cut]
		}
	}
	return dst, fmt.Errorf("no text of exactly %d tokens was found", len(words))
}
