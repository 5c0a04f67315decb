package tokenizer

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// normal normalizes a text. What norm does with more than 30 marks in a row, it
// puts U+034F between them, is not the form that Unicode defines; such texts are
// done by hand.
func normal(f norm.Form, s string) string {
	n := f.String(s)
	const joiner = "\u034f"
	if strings.Count(n, joiner) == strings.Count(s, joiner) {
		return n
	}
	decomposed := norm.NFD
	if f == norm.NFKC || f == norm.NFKD {
		decomposed = norm.NFKD
	}
	var runes []rune
	for _, r := range s {
		runes = append(runes, []rune(decomposed.String(string(r)))...)
	}
	class := func(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }
	for i := 0; i < len(runes); {
		j := i
		for j < len(runes) && class(runes[j]) != 0 {
			j++
		}
		slices.SortStableFunc(runes[i:j], func(a, b rune) int { return int(class(a)) - int(class(b)) })
		i = j + 1
	}
	if f == norm.NFD || f == norm.NFKD {
		return string(runes)
	}
	return string(compose(runes, class))
}

// compose joins each mark with the letter before it where there is a character for
// both, and nothing between them is in the way.
func compose(runes []rune, class func(rune) uint8) []rune {
	out := runes[:0]
	letter, last := -1, uint8(0) // where the letter is, and the class of what came last
	for _, r := range runes {
		c := class(r)
		if letter >= 0 && (last == 0 && len(out)-1 == letter || last != 0 && last < c) {
			if one := []rune(norm.NFC.String(string([]rune{out[letter], r}))); len(one) == 1 {
				out[letter] = one[0]
				continue
			}
		}
		if c == 0 {
			letter = len(out)
		}
		out = append(out, r)
		last = c
	}
	return out
}
