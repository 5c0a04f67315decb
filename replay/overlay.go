package replay

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// Overlay sets one top-level key of every request body and touches no other
// byte: each occurrence of the key gets the value, in place; where there is
// none the key is added at the end.
type Overlay struct {
	given  string // as given to ParseOverlay
	key    string
	quoted []byte // the key as JSON
	value  []byte // JSON, as given
}

// word is a value that can only be meant as text: a model's name or path.
var word = regexp.MustCompile(`^[A-Za-z_/.~][-A-Za-z0-9_/.:+@~]*$`)

// constant is how a value of JSON is written elsewhere.
var constant = regexp.MustCompile(`^(?i:true|false|null|none|nan|inf|infinity)$`)

// ParseOverlay reads KEY=JSON. A value that is one word and no JSON stands for
// itself as a string: model=my-model.
func ParseOverlay(s string) (Overlay, error) {
	key, value, ok := strings.Cut(s, "=")
	switch {
	case !ok || key == "":
		return Overlay{}, errors.New("want KEY=JSON")
	case strings.TrimSpace(key) != key:
		return Overlay{}, fmt.Errorf("there is white space around the key %q", key)
	}
	o := Overlay{given: s, key: key, value: []byte(strings.TrimSpace(value))}
	var err error
	if o.quoted, err = jsontext.AppendQuote(nil, key); err != nil {
		return Overlay{}, errors.New("the key is not UTF-8")
	}
	if jsontext.Value(o.value).IsValid() {
		return o, nil
	}
	if constant.Match(o.value) {
		return Overlay{}, fmt.Errorf("%s is not JSON (JSON has true, false and null)", o.value)
	}
	if !word.Match(o.value) {
		return Overlay{}, fmt.Errorf("the value of %s is neither JSON nor one word", key)
	}
	o.value, err = jsontext.AppendQuote(nil, o.value)
	return o, err
}

// String returns the overlay as it was given to ParseOverlay.
func (o Overlay) String() string { return o.given }

// Apply appends body with the overlay to dst. The body must be one JSON object;
// dst must not overlap it.
func (o Overlay) Apply(dst, body []byte) ([]byte, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if dec.PeekKind() != '{' {
		return dst, errors.New("the body is not a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return dst, err
	}
	done := 0 // up to where body is in dst
	last := int(dec.InputOffset())
	found, empty := false, true
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return dst, err
		}
		hit := name.String() == o.key
		value, err := dec.ReadValue()
		if err != nil {
			return dst, err
		}
		last, empty = int(dec.InputOffset()), false
		if hit {
			dst = append(dst, body[done:last-len(value)]...)
			dst = append(dst, o.value...)
			done, found = last, true
		}
	}
	if _, err := dec.ReadToken(); err != nil { // the closing brace, or what is wrong
		return dst, err
	}
	if !found {
		dst = append(dst, body[:last]...)
		if !empty {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, o.quoted...), ':'), o.value...)
		done = last
	}
	return append(dst, body[done:]...), nil
}

// applyAll applies overlays one after another. The result is body itself, or
// stands in one of the two buffers, which grow as needed.
func applyAll(overlays []Overlay, body []byte, buffers *[2][]byte) ([]byte, error) {
	for i, o := range overlays {
		b, err := o.Apply(buffers[i%2][:0], body)
		if err != nil {
			return nil, err
		}
		buffers[i%2], body = b, b
	}
	return body, nil
}

// body returns the body of a request: a turn's, with the overlays, and with a
// salt where there is to be one. It stands where applyAll says.
func (e *Engine) body(payload []byte, q *trace.Request, buffers *[2][]byte) ([]byte, error) {
	body, err := applyAll(e.opt.Overlays, payload, buffers)
	seed, salted := e.opt.CacheSalt.Get()
	if err != nil || !salted {
		return body, err
	}
	q.CacheSalt = cacheSalt(seed, q.Seq)
	salt := Overlay{key: "cache_salt", quoted: []byte(`"cache_salt"`), value: []byte(`"` + q.CacheSalt + `"`)}
	free := &buffers[len(e.opt.Overlays)%2] // not the one that body stands in
	*free, err = salt.Apply((*free)[:0], body)
	return *free, err
}

// cacheSalt returns the salt of a request: 16 hexadecimal digits, different for
// every seq of a seed. It is the finalizer of splitmix64, which maps no two
// numbers to one.
func cacheSalt(seed, seq int64) string {
	z := uint64(seed)*0xd1342543de82ef95 + uint64(seq+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return fmt.Sprintf("%016x", z)
}
