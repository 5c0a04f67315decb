package requests

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// parser reads the JSON of one line. It keeps the first error and where it was;
// from then on every method returns zeros, so that callers need not look.
type parser struct {
	b       []byte
	i       int
	at      int // of err, an index into b
	err     error
	known   map[string]string // strings seen before, so that names allocate once
	scratch []byte
}

// maxKnown bounds the strings that are kept; a log of many conversations goes on
// with new ones.
const maxKnown = 1 << 14

// maxDepth bounds the nesting of a value that is skipped, as jsontext does.
const maxDepth = 10000

func (p *parser) reset(line []byte) {
	p.b, p.i, p.err = line, 0, nil
}

func (p *parser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.at, p.err = at, fmt.Errorf(format, args...)
	}
}

// peek returns the next byte that is not white space, 0 at the end.
func (p *parser) peek() byte {
	for p.i < len(p.b) {
		switch c := p.b[p.i]; c {
		case ' ', '\t', '\r', '\n':
			p.i++
		default:
			return c
		}
	}
	return 0
}

// take consumes c.
func (p *parser) take(c byte, in string) bool {
	if p.err != nil {
		return false
	}
	if p.peek() != c {
		p.fail(p.i, "expected %q in %s", c, in)
		return false
	}
	p.i++
	return true
}

// object reads an object and calls one for each key of keys that it has, with
// the key's index; one must read the value. Other keys are skipped. It returns
// the set of keys that were there, and fails when one of the required is not.
func (p *parser) object(what string, keys []string, required uint64, one func(key int)) (seen uint64) {
	at := p.i
	if p.err != nil {
		return 0
	}
	if p.peek() != '{' {
		p.fail(p.i, "%s must be an object", what)
		return 0
	}
	p.i++
	next := 0 // logs have their keys in our order, so the search starts there
	for first := true; p.err == nil; first = false {
		if p.peek() == '}' && first {
			p.i++
			break
		}
		if !first {
			if p.peek() == '}' {
				p.i++
				break
			}
			if !p.take(',', what) {
				return 0
			}
			p.peek()
		}
		start := p.i
		key := p.raw("a key")
		p.take(':', what)
		if p.err != nil {
			return 0
		}
		k := find(keys, key, next)
		if k < 0 {
			p.skip()
			continue
		}
		if seen&(1<<k) != 0 {
			p.fail(start, "the key %q is given twice", keys[k])
			return 0
		}
		seen |= 1 << k
		next = k + 1
		one(k)
	}
	if missing := required &^ seen; missing != 0 && p.err == nil {
		for k := range keys {
			if missing&(1<<k) != 0 {
				p.fail(at, "%s has no key %q", what, keys[k])
			}
		}
	}
	return seen
}

// find returns the index of key in keys, searching from next on and then from
// the start.
func find(keys []string, key []byte, next int) int {
	for k := next; k < len(keys); k++ {
		if string(key) == keys[k] {
			return k
		}
	}
	for k := range keys[:next] {
		if string(key) == keys[k] {
			return k
		}
	}
	return -1
}

// array reads an array and calls one at each element.
func (p *parser) array(what string, one func()) {
	if p.err != nil {
		return
	}
	if p.peek() != '[' {
		p.fail(p.i, "%s must be an array", what)
		return
	}
	p.i++
	if p.peek() == ']' {
		p.i++
		return
	}
	for p.err == nil {
		one()
		if p.err == nil && p.peek() == ']' {
			p.i++
			return
		}
		p.take(',', what)
	}
}

// raw reads a string and returns what it stands for; the bytes are valid until
// the next call.
func (p *parser) raw(what string) []byte {
	if p.err != nil {
		return nil
	}
	if p.peek() != '"' {
		p.fail(p.i, "%s must be a string", what)
		return nil
	}
	start := p.i
	p.i++
	n := bytes.IndexByte(p.b[p.i:], '"')
	if n < 0 {
		p.fail(start, "the string does not end")
		return nil
	}
	s := p.b[p.i : p.i+n]
	plain := true
	for _, c := range s {
		if c < ' ' || c == '\\' {
			plain = false
			break
		}
	}
	if plain {
		p.i += n + 1
		return s
	}
	return p.unquote(start)
}

// unquote reads a string that has escapes, or is wrong.
func (p *parser) unquote(start int) []byte {
	end := start + 1
	for end < len(p.b) && p.b[end] != '"' {
		if p.b[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(p.b) {
		p.fail(start, "the string does not end")
		return nil
	}
	p.i = end + 1
	s, err := jsontext.AppendUnquote(p.scratch[:0], p.b[start:p.i])
	if err != nil {
		p.fail(start, "the string is not valid JSON")
		return nil
	}
	p.scratch = s
	return s
}

// text reads a string.
func (p *parser) text(what string) string {
	s := p.raw(what)
	if len(s) == 0 {
		return ""
	}
	if known, ok := p.known[string(s)]; ok {
		return known
	}
	if len(p.known) >= maxKnown {
		return string(s)
	}
	if p.known == nil {
		p.known = map[string]string{}
	}
	p.known[string(s)] = string(s)
	return p.known[string(s)]
}

// integer reads an integer between least and most.
func (p *parser) integer(what string, least, most int64) int64 {
	if p.err != nil {
		return 0
	}
	c := p.peek()
	start := p.i
	if c == '-' {
		p.i++
	}
	v, ok := p.digits()
	if !ok {
		p.fail(start, "%s must be an integer", what)
		return 0
	}
	if c == '-' {
		v = -v
	}
	if v < least || v > most {
		p.fail(start, "%s is out of range", what)
		return 0
	}
	return v
}

// digits reads the digits of an integer; not ok is anything else, including a
// fraction, an exponent, and what does not fit.
func (p *parser) digits() (v int64, ok bool) {
	start, i, b := p.i, p.i, p.b
	for i < len(b) && b[i]-'0' < 10 {
		if v > math.MaxInt64/10-1 {
			return 0, false
		}
		v = v*10 + int64(b[i]-'0')
		i++
	}
	p.i = i
	if i == start || b[start] == '0' && i > start+1 {
		return 0, false
	}
	return v, i == len(b) || b[i] != '.' && b[i]|0x20 != 'e'
}

// absolute reads an instant in the form of a decimal string.
func (p *parser) absolute(what string) int64 {
	start := p.i
	v, err := strconv.ParseInt(string(p.raw(what)), 10, 64)
	if err != nil {
		p.fail(start, "%s must be a decimal integer in a string", what)
	}
	return v
}

// number reads a number that may have a fraction.
func (p *parser) number(what string) float64 {
	if p.err != nil {
		return 0
	}
	c := p.peek()
	start := p.i
	if c != '-' && c-'0' > 9 {
		p.fail(start, "%s must be a number", what)
		return 0
	}
	p.skip()
	v, err := strconv.ParseFloat(string(p.b[start:p.i]), 64)
	if err != nil && p.err == nil {
		p.fail(start, "%s is out of range", what)
	}
	return v
}

// boolean reads true or false.
func (p *parser) boolean(what string) bool {
	if p.err != nil {
		return false
	}
	p.peek()
	for _, word := range []string{"true", "false"} {
		if bytes.HasPrefix(p.b[p.i:], []byte(word)) {
			p.i += len(word)
			return word == "true"
		}
	}
	p.fail(p.i, "%s must be true or false", what)
	return false
}

// skip reads any value and returns its bytes.
func (p *parser) skip() []byte {
	if p.err != nil {
		return nil
	}
	p.peek()
	start := p.i
	p.value(0)
	if p.err != nil {
		return nil
	}
	return p.b[start:p.i]
}

// value checks any value and moves past it.
func (p *parser) value(depth int) {
	if depth > maxDepth {
		p.fail(p.i, "the value is nested too deep")
		return
	}
	switch c := p.peek(); {
	case c == '{':
		p.members(depth)
	case c == '[':
		p.array("an array", func() { p.value(depth + 1) })
	case c == '"':
		p.raw("a string")
	case c == 't' || c == 'f':
		p.boolean("a value")
	case c == 'n' && bytes.HasPrefix(p.b[p.i:], []byte("null")):
		p.i += len("null")
	case c == '-' || c-'0' < 10:
		p.literal()
	default:
		p.fail(p.i, "expected a value")
	}
}

func (p *parser) members(depth int) {
	p.i++
	if p.peek() == '}' {
		p.i++
		return
	}
	for p.err == nil {
		p.raw("a key")
		if !p.take(':', "an object") {
			return
		}
		p.value(depth + 1)
		if p.err == nil && p.peek() == '}' {
			p.i++
			return
		}
		p.take(',', "an object")
	}
}

// literal checks a number by the grammar of RFC 8259, section 6.
func (p *parser) literal() {
	start := p.i
	run := func() int {
		n := p.i
		for p.i < len(p.b) && p.b[p.i]-'0' < 10 {
			p.i++
		}
		return p.i - n
	}
	at := func(set string) bool {
		if p.i < len(p.b) && bytes.IndexByte([]byte(set), p.b[p.i]) >= 0 {
			p.i++
			return true
		}
		return false
	}
	at("-")
	first := p.i
	whole := run()
	ok := whole > 0 && (whole == 1 || p.b[first] != '0')
	if at(".") {
		ok = run() > 0 && ok
	}
	if at("eE") {
		at("+-")
		ok = run() > 0 && ok
	}
	if !ok {
		p.fail(start, "expected a number")
	}
}

// end checks that the line holds nothing more.
func (p *parser) end() {
	if p.err == nil && (p.peek() != 0 || p.i < len(p.b)) {
		p.fail(p.i, "there is something after the object")
	}
}
