package telemetry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Limits of what a recording may ask the reader to hold. They are far above
// what any recorder writes, and exist because arrow/go v17 allocates whatever a
// damaged length says, which can end the process.
const (
	maxMetadata = 1 << 20   // bytes of one message's metadata
	maxBody     = 256 << 20 // bytes of one message's body, also when uncompressed
	maxFields   = 1024      // fields of the schema, nested ones included
	maxDepth    = 16        // nesting of fields
	maxPairs    = 4096      // key-value pairs of the schema
	maxText     = 4 << 20   // bytes of strings, counted as often as they are referred to
	maxWindow   = 8 << 20   // bytes of a zstd window: what levels up to 19 use
)

// Kinds of message, and the codecs: numbers of Message.fbs.
const (
	headerSchema     = 1
	headerDictionary = 2
	headerRecord     = 3

	codecLZ4  = 0
	codecZstd = 1
)

var errBounds = errors.New("the metadata points outside itself")

// A message is what the walk found out about one message's metadata.
type message struct {
	kind int
	body int64 // length of the body in bytes

	// Of a schema.
	columns      shape            // of its record batches
	dictionaries map[uint64]shape // of its dictionary batches, by id

	// Of a record or dictionary batch.
	dictionary uint64 // its id
	nodes      int
	buffers    []span
	codec      int // -1 is uncompressed
}

// A shape is how many nodes and buffers arrow/go takes from a batch. It does not
// look whether the batch has them.
type shape struct{ nodes, buffers int }

func (s *shape) add(t shape) { s.nodes, s.buffers = s.nodes+t.nodes, s.buffers+t.buffers }

// A span is a buffer's place in the body.
type span struct{ offset, length int64 }

// verify walks the flatbuffer of a message and checks every offset, length and
// count in it that arrow/go follows. The layout is Message.fbs and Schema.fbs
// of the Arrow format; a slot is the place of a field in its table's vtable.
func verify(metadata []byte) (message, error) {
	w := walk{buf: metadata, dictionaries: map[uint64]shape{}}
	root := w.table(w.ref(0))
	m := message{
		codec: -1,
		kind:  int(w.uint(root, 1, 1)),
		body:  int64(w.uint(root, 3, 8)),
	}
	w.pairs(root, 4)
	if v := w.uint(root, 0, 2); v != 3 && v != 4 {
		w.fail(fmt.Errorf("metadata version %d is not V4 or V5", v+1))
	}
	if m.body < 0 || m.body > maxBody {
		w.fail(fmt.Errorf("a body of %d bytes; at most %d are read", m.body, int64(maxBody)))
	}
	header := w.table(w.refSlot(root, 2))
	switch m.kind {
	case headerSchema:
		m.columns, m.dictionaries = w.schema(header), w.dictionaries
	case headerDictionary:
		m.dictionary = w.uint(header, 0, 8)
		w.uint(header, 2, 1)
		w.batch(&m, w.table(w.refSlot(header, 1)))
	case headerRecord:
		w.batch(&m, header)
	default:
		w.fail(fmt.Errorf("message of kind %d, which no recording has", m.kind))
	}
	return m, w.err
}

// walk reads a flatbuffer with every access checked. The first failure stays in
// err, and everything read after it is zero.
type walk struct {
	buf    []byte
	err    error
	fields int
	npairs int
	text   int

	dictionaries map[uint64]shape
}

// A table is a flatbuffer table whose vtable is inside the buffer. The size in
// a vtable says nothing: writers share one among tables of different sizes.
type table struct{ pos, vtable, slots int }

func (w *walk) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// have reports whether n bytes at pos are inside the buffer.
func (w *walk) have(pos, n int) bool {
	if w.err == nil && (pos < 0 || n < 0 || pos > len(w.buf)-n) {
		w.fail(errBounds)
	}
	return w.err == nil
}

// ref follows the offset at pos.
func (w *walk) ref(pos int) int {
	if !w.have(pos, 4) {
		return 0
	}
	return pos + int(binary.LittleEndian.Uint32(w.buf[pos:]))
}

func (w *walk) table(pos int) table {
	if pos == 0 || !w.have(pos, 4) {
		w.fail(errBounds)
		return table{}
	}
	vtable := pos - int(int32(binary.LittleEndian.Uint32(w.buf[pos:])))
	if !w.have(vtable, 4) {
		return table{}
	}
	size := int(binary.LittleEndian.Uint16(w.buf[vtable:]))
	if size < 4 || size%2 != 0 || !w.have(vtable, size) {
		w.fail(errBounds)
		return table{}
	}
	return table{pos, vtable, (size - 4) / 2}
}

// slot returns where field i of a table is, or 0 where it is absent.
func (w *walk) slot(t table, i, size int) int {
	if w.err != nil || i >= t.slots {
		return 0
	}
	off := int(binary.LittleEndian.Uint16(w.buf[t.vtable+4+2*i:]))
	if off == 0 || !w.have(t.pos+off, size) {
		return 0
	}
	return t.pos + off
}

// uint reads a scalar of 1, 2, 4 or 8 bytes; absent is 0.
func (w *walk) uint(t table, i, size int) uint64 {
	pos := w.slot(t, i, size)
	if pos == 0 || w.err != nil {
		return 0
	}
	var b [8]byte
	copy(b[:size], w.buf[pos:])
	return binary.LittleEndian.Uint64(b[:])
}

// refSlot follows the offset in field i of a table; 0 where it is absent.
func (w *walk) refSlot(t table, i int) int {
	pos := w.slot(t, i, 4)
	if pos == 0 {
		return 0
	}
	return w.ref(pos)
}

// vector returns the first element and the count of the vector in field i.
func (w *walk) vector(t table, i, elem int) (pos, n int) {
	pos = w.refSlot(t, i)
	if pos == 0 || !w.have(pos, 4) {
		return 0, 0
	}
	n = int(binary.LittleEndian.Uint32(w.buf[pos:]))
	if n > len(w.buf)/elem || !w.have(pos+4, n*elem) {
		w.fail(errBounds)
		return 0, 0
	}
	return pos + 4, n
}

func (w *walk) string(t table, i int) {
	_, n := w.vector(t, i, 1)
	if w.text += n; w.text > maxText {
		w.fail(errors.New("the metadata has too much text"))
	}
}

func (w *walk) pairs(t table, i int) {
	pos, n := w.vector(t, i, 4)
	if w.npairs += n; w.npairs > maxPairs {
		w.fail(errors.New("the metadata has too many keys"))
		return
	}
	for j := range n {
		pair := w.table(w.ref(pos + 4*j))
		w.string(pair, 0)
		w.string(pair, 1)
		if w.err != nil {
			return
		}
	}
}

func (w *walk) schema(t table) shape {
	if w.uint(t, 0, 2) != 0 {
		w.fail(errors.New("the schema is big-endian"))
	}
	w.pairs(t, 2)
	w.vector(t, 3, 8)
	return w.children(t, 1, 0)
}

func (w *walk) children(t table, i, depth int) (s shape) {
	pos, n := w.vector(t, i, 4)
	if w.fields += n; w.fields > maxFields || depth > maxDepth {
		w.fail(fmt.Errorf("the schema has more than %d fields or %d levels", maxFields, maxDepth))
		return s
	}
	for j := range n {
		s.add(w.field(w.table(w.ref(pos+4*j)), depth))
		if w.err != nil {
			break
		}
	}
	return s
}

// ownBuffers is how many buffers a field has itself, by its type's number in
// Schema.fbs. Types that are not here are not read: unions, run-end encoding
// and views, whose buffers are not counted by the type alone.
var ownBuffers = map[uint64]int{
	1: 0,                                                           // null
	2: 2, 3: 2, 6: 2, 7: 2, 8: 2, 9: 2, 10: 2, 11: 2, 15: 2, 18: 2, // fixed width
	4: 3, 5: 3, 19: 3, 20: 3, // text and bytes
	12: 2, 17: 2, 21: 2, // lists and maps
	13: 1, 16: 1, // structs and lists of fixed size
}

func (w *walk) field(t table, depth int) shape {
	const timestamp = 10
	w.string(t, 0)
	w.uint(t, 1, 1)
	kind := w.uint(t, 2, 1)
	typ := w.table(w.refSlot(t, 3))
	if kind == timestamp {
		w.string(typ, 1)
	}
	buffers, ok := ownBuffers[kind]
	if !ok {
		w.fail(fmt.Errorf("a column of type %d, which is not read", kind))
	}
	s := shape{1, buffers}
	s.add(w.children(t, 5, depth+1))
	w.pairs(t, 6)
	pos := w.refSlot(t, 4)
	if pos == 0 {
		return s
	}
	encoding := w.table(pos)
	w.table(w.refSlot(encoding, 1))
	id := w.uint(encoding, 0, 8)
	if known, ok := w.dictionaries[id]; ok && known != s {
		w.fail(errors.New("two columns share a dictionary and not its type"))
	}
	w.dictionaries[id] = s
	return shape{1, 2}
}

func (w *walk) batch(m *message, t table) {
	if rows := w.uint(t, 0, 8); rows > math.MaxInt32 {
		w.fail(fmt.Errorf("a batch of %d rows", rows))
	}
	pos, n := w.vector(t, 1, 16)
	m.nodes = n
	for i := range n {
		rows, nulls := w.pair64(pos + 16*i)
		if rows < 0 || rows > math.MaxInt32 || nulls < 0 || nulls > rows {
			w.fail(fmt.Errorf("a column of %d rows and %d nulls", rows, nulls))
		}
	}
	pos, n = w.vector(t, 2, 16)
	if n > 8*maxFields {
		w.fail(fmt.Errorf("a batch of %d buffers", n))
		return
	}
	for i := range n {
		offset, length := w.pair64(pos + 16*i)
		if offset < 0 || length < 0 || offset > m.body-length {
			w.fail(errors.New("a buffer lies outside the body"))
		}
		m.buffers = append(m.buffers, span{offset, length})
	}
	w.vector(t, 4, 8)
	if pos := w.refSlot(t, 3); pos != 0 {
		compression := w.table(pos)
		m.codec = int(w.uint(compression, 0, 1))
		if w.uint(compression, 1, 1) != 0 || m.codec != codecLZ4 && m.codec != codecZstd {
			w.fail(errors.New("the body's compression is not one of the Arrow format"))
		}
	}
}

func (w *walk) pair64(pos int) (a, b int64) {
	if !w.have(pos, 16) {
		return 0, 0
	}
	return int64(binary.LittleEndian.Uint64(w.buf[pos:])), int64(binary.LittleEndian.Uint64(w.buf[pos+8:]))
}

// verifyBody checks what only the body tells: how large its compressed buffers
// say they are, and whether so much can come out of so little.
func verifyBody(m message, body []byte) error {
	if m.codec < 0 {
		return nil
	}
	total := int64(0)
	for _, s := range m.buffers {
		if s.length == 0 {
			continue
		}
		if s.length < 8 {
			return errors.New("a compressed buffer is shorter than its length")
		}
		buffer := body[s.offset : s.offset+s.length]
		size, compressed := int64(binary.LittleEndian.Uint64(buffer)), buffer[8:]
		most := 256 * int64(len(compressed)) // LZ4: a byte of the block adds at most 255
		switch {
		case size == -1: // left uncompressed
			size = int64(len(compressed))
		case m.codec == codecZstd:
			if err := verifyZstd(compressed); err != nil {
				return err
			}
			most = int64(len(compressed)) << 15 // a block takes 4 bytes and holds at most 128 KiB
		}
		if size < 0 || size > most || size > maxBody-total {
			return fmt.Errorf("a compressed buffer that says it holds %d bytes", size)
		}
		total += size
	}
	return nil
}

// verifyZstd walks the frames of a buffer (RFC 8878, section 3.1), since each
// can ask for a window.
func verifyZstd(b []byte) error {
	for len(b) > 0 {
		n, window := zstdFrame(b)
		if n > len(b) {
			return errors.New("a compressed buffer is cut, or not zstd")
		}
		if window > maxWindow {
			return errors.New("a compressed buffer asks for too much memory")
		}
		b = b[n:]
	}
	return nil
}

// zstdFrame returns the length of a frame, more than there is if it is cut or
// none, and the window that it asks for.
func zstdFrame(b []byte) (length int, window uint64) {
	const magic, skippable = 0xFD2FB528, 0x184D2A50
	none := len(b) + 1
	if len(b) < 8 {
		return none, 0
	}
	switch first := binary.LittleEndian.Uint32(b); {
	case first&^0xF == skippable:
		return 8 + int(binary.LittleEndian.Uint32(b[4:])), 0
	case first != magic:
		return none, 0
	}
	flags := b[4]
	single := flags>>5&1 == 1
	contentSize := []int{0, 2, 4, 8}[flags>>6]
	if single && contentSize == 0 {
		contentSize = 1
	}
	n := 5
	if !single {
		exponent, mantissa := b[n]>>3, b[n]&7
		window = 1 << (10 + exponent)
		window += window / 8 * uint64(mantissa)
		n++
	}
	n += []int{0, 1, 2, 4}[flags&3] // dictionary
	if n+contentSize > len(b) {
		return none, 0
	}
	if single {
		var size [8]byte
		copy(size[:], b[n:n+contentSize])
		window = binary.LittleEndian.Uint64(size[:])
		if contentSize == 2 {
			window += 256
		}
	}
	n += contentSize
	n += zstdBlocks(b[n:])
	if flags>>2&1 == 1 { // checksum
		n += 4
	}
	return n, window
}

// zstdBlocks returns the length of a frame's blocks, or more than there is.
func zstdBlocks(b []byte) int {
	const rle = 1
	for n := 0; n+3 <= len(b); {
		header := int(b[n]) | int(b[n+1])<<8 | int(b[n+2])<<16
		size := header >> 3
		if header>>1&3 == rle {
			size = 1
		}
		n += 3 + size
		if header&1 != 0 {
			return n
		}
	}
	return len(b) + 1
}
