package weka

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"wattrace/formats"
	"wattrace/formats/elements"
	"wattrace/formats/tokens"
	"wattrace/trace"
)

const (
	blockTokens = 64
	maxInput    = 1 << 24 // tokens, so that a row of some bytes cannot fill the memory
)

// Options are what a trace does not say of itself. The zero value is the usual.
type Options struct {
	BlockTokens int          // tokens of a hash's block; 0 is what the trace says
	Vocab       tokens.Vocab // 0 is tokens.Default
}

// A Reader reads a trace. It is not safe for concurrent use.
type Reader struct {
	elements *elements.Reader
	buf      []byte
	pos      trace.Pos // of the object
	o        Options
	rows     uint64 // requests so far
	omitted  int64

	names map[string]*conversation
	conv  *conversation
	list  []request // of the object
	next  int
	hash  []uint64 // of all in list
	block int
	local bool // hashes are of one conversation

	unanswered int64 // requests of the object
}

// A conversation is what was seen of one.
type conversation struct {
	name  string
	salt  uint64             // of its hashes
	turns int                // that it has had
	ended trace.Opt[float64] // end of its last request, of requests that are objects of their own
}

// A request is one of an object.
type request struct {
	at       trace.Member // where it stands
	in, out  int64
	from, to int // of Reader.hash
	delay    trace.Opt[float64]
}

// NewReader returns a reader of the trace r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string, o Options) *Reader {
	if o.Vocab == 0 {
		o.Vocab = tokens.Default
	}
	return &Reader{elements: elements.NewReader(r, name, ""), o: o, names: map[string]*conversation{}}
}

// Omissions says how many requests had no answer.
func (r *Reader) Omissions() []formats.Omission {
	return []formats.Omission{{What: "requests without an answer", N: r.omitted}}
}

// Read reads the next request, as formats.RequestReader says. A fault skips the
// object that has it.
func (r *Reader) Read(dst *formats.Request) error {
	ids := dst.IDs[:0]
	for r.next == len(r.list) {
		if err := r.object(); err != nil {
			*dst = formats.Request{IDs: ids}
			return err
		}
	}
	q := &r.list[r.next]
	r.next++
	r.rows++
	*dst = formats.Request{
		Pos: elements.ErrorAt(r.pos, r.buf, q.at.Errorf("")).Pos, Conversation: r.conv.name, Turn: r.conv.turns,
		IDs:    r.prompt(ids, q),
		Made:   true,
		Timing: trace.Timing{InputTokens: trace.Some(q.in), OutputTokens: trace.Some(q.out)},
	}
	if r.conv.turns > 0 {
		dst.Timing.DelaySeconds = q.delay
	}
	r.conv.turns++
	return nil
}

// prompt appends the token ids of a request.
func (r *Reader) prompt(ids []int32, q *request) []int32 {
	n := int(q.in)
	for _, hash := range r.hash[q.from:q.to] {
		if r.local {
			hash ^= r.conv.salt
		}
		k := min(n, r.block)
		ids = r.o.Vocab.AppendBlock(ids, hash, k)
		n -= k
	}
	return r.o.Vocab.AppendUnique(ids, r.rows, n)
}

// object reads the next one.
func (r *Reader) object() error {
	element, pos, err := r.elements.Read(r.buf)
	r.buf, r.list, r.hash, r.next = element, r.list[:0], r.hash[:0], 0
	if err != nil {
		return err
	}
	r.pos = pos
	r.unanswered = 0
	if err := r.parse(element); err != nil {
		r.list = r.list[:0]
		return elements.ErrorAt(pos, element, err)
	}
	r.omitted += r.unanswered
	return nil
}

// A header is what is said beside the requests.
type header struct{ id, block, scope, requests trace.Member }

func (h *header) member(name string) *trace.Member {
	switch name {
	case "id":
		return &h.id
	case "block_size":
		return &h.block
	case "hash_id_scope":
		return &h.scope
	case "requests":
		return &h.requests
	}
	return nil
}

func (r *Reader) parse(element []byte) error {
	var h header
	err := trace.WalkObject(element, func(m trace.Member) error {
		kept := h.member(string(m.Name))
		switch {
		case kept == nil || m.Value.Kind() == 'n':
			return nil
		case kept.Value != nil:
			return m.Errorf("%q is there twice", m.Name)
		}
		*kept = m
		return nil
	})
	if err != nil {
		return err
	}
	if r.block = r.o.BlockTokens; r.block == 0 {
		r.block = blockTokens
		if h.block.Value != nil {
			n, err := h.block.Integer(1, maxInput)
			if err != nil {
				return err
			}
			r.block = int(n.V)
		}
	}
	switch string(h.scope.Value) {
	case `"local"`, "":
		r.local = true
	case `"global"`:
		r.local = false
	default:
		return h.scope.Errorf(`"hash_id_scope" must be "local" or "global"`)
	}
	whole := h.requests.Value != nil
	var ended trace.Opt[float64]
	if whole {
		err = elements.Each(&h.requests, func(e trace.Member) error { return r.request(&e, 0, &ended, true) })
	} else {
		if err := r.name(&h.id, false); err != nil {
			return err
		}
		one := trace.Member{Value: element, Col: 1}
		return r.request(&one, 0, &r.conv.ended, false)
	}
	if err != nil {
		return err
	}
	return r.name(&h.id, true)
}

// name finds the conversation, which must be a new one if told.
func (r *Reader) name(id *trace.Member, fresh bool) error {
	name := strconv.Itoa(len(r.names) + 1)
	if id.Value != nil {
		var err error
		if id.Value.Kind() == '0' {
			var n trace.Opt[int64]
			n, err = id.Integer(math.MinInt64, math.MaxInt64)
			name = strconv.FormatInt(n.V, 10)
		} else {
			name, err = id.Text()
		}
		if err != nil {
			return err
		}
	} else if !fresh {
		return &trace.ColumnError{Col: 1, Err: errors.New(`neither "requests" nor "id" is there`)}
	}
	c, ok := r.names[name]
	if ok && fresh {
		return &trace.ColumnError{Col: max(id.Col, 1), Err: errors.New("another conversation has this id")}
	}
	if !ok {
		c = &conversation{name: name, salt: uint64(len(r.names)+1) * 0x9e3779b97f4a7c15}
		r.names[name] = c
	}
	r.conv = c
	return nil
}

// keys are the known ones of a request.
var keys = [...]string{"in", "out", "hash_ids", "t", "api_time", "think_time", "type", "requests"}

const (
	keyIn = iota
	keyOut
	keyHashes
	keyT
	keyAPITime
	keyThinkTime
	keyType
	keyRequests
)

// request takes one, or those of a subagent where there may be one. The end of
// the request before it, in the same array, becomes its own. The columns of e
// count from before bytes into the object.
func (r *Reader) request(e *trace.Member, before int, ended *trace.Opt[float64], agents bool) error {
	var found [len(keys)]trace.Member
	err := trace.WalkObject(e.Value, func(m trace.Member) error {
		for i, key := range keys {
			if string(m.Name) != key || m.Value.Kind() == 'n' {
				continue
			}
			if found[i].Value != nil {
				return m.Errorf("%q is there twice", key)
			}
			found[i] = m
		}
		return nil
	})
	if err == nil {
		switch string(found[keyType].Value) {
		case "", `"s"`, `"n"`:
			err = r.take(before+e.Col, &found, ended)
		case `"subagent"`:
			if err = r.agent(&found, before+e.Col-1, agents); err == nil {
				*ended = trace.Opt[float64]{} // when it was done is not known
			}
		default:
			err = found[keyType].Errorf(`"type" must be s, n or subagent`)
		}
	}
	if err != nil {
		return e.Inside(err)
	}
	return nil
}

func (r *Reader) agent(found *[len(keys)]trace.Member, before int, allowed bool) error {
	if !allowed {
		return found[keyType].Errorf("a subagent where there can be none")
	}
	if found[keyRequests].Value == nil {
		return nil
	}
	var ended trace.Opt[float64]
	return elements.Each(&found[keyRequests], func(e trace.Member) error { return r.request(&e, before, &ended, false) })
}

// take takes a request that stands at a column of the object.
func (r *Reader) take(col int, found *[len(keys)]trace.Member, ended *trace.Opt[float64]) error {
	q := request{at: trace.Member{Col: col}, from: len(r.hash)}
	var times [3]trace.Opt[float64]
	for i, l := range []struct {
		most int64
		dst  *int64
	}{keyIn: {maxInput, &q.in}, keyOut: {math.MaxInt32, &q.out}} {
		if found[i].Value == nil {
			return &trace.ColumnError{Col: 1, Err: fmt.Errorf("%q is missing", keys[i])}
		}
		n, err := found[i].Integer(0, l.most)
		if err != nil {
			return err
		}
		*l.dst = n.V
	}
	for i := range times {
		if found[keyT+i].Value == nil {
			continue
		}
		var err error
		if times[i], err = found[keyT+i].Seconds(); err != nil {
			return err
		}
	}
	t, took, think := times[0], times[1], times[2]
	if q.delay = think; !think.OK && t.OK && ended.OK {
		q.delay = trace.Some(max(0, math.Round((t.V-ended.V)*1e9)/1e9))
	}
	*ended = trace.Opt[float64]{}
	if t.OK && took.OK {
		*ended = trace.Some(t.V + took.V)
	}
	if q.out == 0 {
		r.unanswered++
		return nil
	}
	if q.in == 0 {
		return found[keyIn].Errorf(`"in" must be at least 1`)
	}
	if err := r.hashes(&q, &found[keyHashes]); err != nil {
		return err
	}
	r.list = append(r.list, q)
	return nil
}

// hashes takes the hashes of a request.
func (r *Reader) hashes(q *request, m *trace.Member) (err error) {
	if m.Value != nil {
		var bad int
		if r.hash, bad = formats.AppendHashes(r.hash, m.Value); bad == 0 {
			return m.Errorf(`"hash_ids" must be an array`)
		} else if bad > 0 {
			return &trace.ColumnError{Col: m.Col + bad, Err: errors.New(`a hash in "hash_ids" must be an integer from 0 to 2^64-1`)}
		}
	}
	q.to = len(r.hash)
	block := int64(r.block)
	if n := int64(q.to - q.from); n != q.in/block && n != (q.in+block-1)/block && n > 0 {
		return m.Errorf(`"hash_ids" has %d blocks of %d tokens where "in" needs %d`, n, r.block, q.in/block)
	}
	return nil
}
