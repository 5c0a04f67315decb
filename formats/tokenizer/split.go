package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// gpt2 is the pattern of a ByteLevel that has use_regex.
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// A splitter parts a piece of text into smaller ones, in order.
type splitter interface {
	split(piece string, do func(string) error) error
}

// byRegexp takes the matches for pieces, and what is between them.
type byRegexp struct {
	re    *regexp2.Regexp
	only  bool // the matches alone
	runes []rune
}

func newByRegexp(pattern string, only bool) (*byRegexp, error) {
	if err := checkPattern(pattern); err != nil {
		return nil, err
	}
	re, err := regexp2.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("the pattern is not understood: %w", err)
	}
	return &byRegexp{re: re, only: only}, nil
}

func (s *byRegexp) split(piece string, do func(string) error) error {
	s.runes = s.runes[:0]
	for _, r := range piece {
		s.runes = append(s.runes, r)
	}
	at, from := 0, 0 // the same place, in runes and in bytes
	to := func(end int) string {
		start := from
		for ; at < end; at++ {
			from += utf8.RuneLen(s.runes[at])
		}
		return piece[start:from]
	}
	var failed error
	err := s.re.FindRunesMatches(s.runes, 0, func(m regexp2.MatchView) bool {
		start, n, _ := m.GroupRange(0)
		if gap := to(start); !s.only && gap != "" {
			failed = do(gap)
		}
		if match := to(start + n); match != "" && failed == nil {
			failed = do(match)
		}
		return failed == nil
	})
	if err != nil {
		return errors.New("the pre-tokenizer's pattern gives up on a text")
	}
	if gap := to(len(s.runes)); !s.only && gap != "" && failed == nil {
		failed = do(gap)
	}
	return failed
}

// byDigits takes digits for pieces, one by one or those beside each other.
type byDigits struct{ single bool }

func (s byDigits) split(piece string, do func(string) error) error {
	start, number := 0, false
	for i, r := range piece {
		n := unicode.IsNumber(r)
		if i > start && (n != number || n && s.single) {
			if err := do(piece[start:i]); err != nil {
				return err
			}
			start = i
		}
		number = n
	}
	if start < len(piece) {
		return do(piece[start:])
	}
	return nil
}

// prefixed puts a space before what has none.
type prefixed struct{}

func (prefixed) split(piece string, do func(string) error) error {
	if !strings.HasPrefix(piece, " ") {
		piece = " " + piece
	}
	return do(piece)
}

// checkPattern refuses what means something else to Oniguruma than to regexp2.
func checkPattern(pattern string) error {
	class := false
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
			if i == len(pattern) {
				return errors.New(`the pattern ends with "\"`)
			}
			if e := pattern[i]; ('a' <= e && e <= 'z' || 'A' <= e && e <= 'Z' || '0' <= e && e <= '9') && strings.IndexByte("sSdDwWpPrnt", e) < 0 {
				return fmt.Errorf(`the pattern has the escape \%c, which is not known to mean the same everywhere`, e)
			} else if end := strings.IndexByte(pattern[i:], '}'); (e == 'p' || e == 'P') && end > 0 {
				i += end
			}
		case class && (c == '[' || c == '&' && strings.HasPrefix(pattern[i:], "&&")):
			return errors.New("the pattern has a class within a class")
		case class:
			class = c != ']'
		case c == '[':
			class = true
			if strings.HasPrefix(pattern[i:], "[^") {
				i++
			}
			if strings.HasPrefix(pattern[i+1:], "]") {
				return errors.New("the pattern has a class that begins with a bracket")
			}
		case strings.IndexByte("^$.", c) >= 0:
			return fmt.Errorf("the pattern has %q, which does not mean the same everywhere", c)
		case c == '}' && strings.HasPrefix(pattern[i+1:], "+"):
			return errors.New(`the pattern has "}+", which does not mean the same everywhere`)
		}
	}
	return nil
}
