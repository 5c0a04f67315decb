package stamped

import (
	"bytes"
	"errors"
)

// Field returns the field of a CSV (RFC 4180) that begins at pos of a line, its 1-based
// column, and where the next one begins; -1 is that there is none. bare is that it does
// not stand in quotes; then spaces around it are taken off. A quote that nothing closes is
// an error.
func Field(line []byte, pos int) (text []byte, col, next int, bare bool, err error) {
	from := pos
	for from < len(line) && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	if from == len(line) || line[from] != '"' {
		end := from
		for end < len(line) && line[end] != ',' {
			end++
		}
		next = end + 1
		if end == len(line) {
			next = -1
		}
		for end > from && (line[end-1] == ' ' || line[end-1] == '\t') {
			end--
		}
		return line[from:end], from + 1, next, true, nil
	}
	doubled := false
	to := from + 1
	for ; ; to++ {
		n := bytes.IndexByte(line[to:], '"')
		if n < 0 {
			return nil, from + 1, -1, false, errors.New("nothing closes the quote")
		}
		if to += n; to+1 == len(line) || line[to+1] != '"' {
			break
		}
		doubled = true
		to++
	}
	text, col = line[from+1:to], from+2
	if doubled {
		text = bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
	}
	for to++; to < len(line) && (line[to] == ' ' || line[to] == '\t'); to++ {
	}
	switch {
	case to == len(line):
		return text, col, -1, false, nil
	case line[to] != ',':
		return nil, to + 1, -1, false, errors.New("a comma is wanted after the closing quote")
	}
	return text, col, to + 1, false, nil
}

// OpenQuote reports whether a line of a CSV ends inside quotes.
func OpenQuote(line []byte) bool {
	return bytes.Count(line, []byte{'"'})%2 == 1
}
