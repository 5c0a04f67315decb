package perfetto

import (
	"bufio"
	"hash/fnv"
	"io"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the fields; see doc.go.
const (
	tracePacket = 1

	packetClockSnapshot   = 6
	packetTimestamp       = 8
	packetSequence        = 10
	packetTrackEvent      = 11
	packetSequenceFlags   = 13
	packetTrackDescriptor = 60

	trackUUID, trackName, trackParent, trackCounter = 1, 2, 5, 8
	trackOrdering, trackRank                        = 11, 12
	counterUnitName                                 = 6

	eventAnnotation, eventType, eventTrack, eventName, eventDouble = 4, 9, 11, 23, 44
	noteBool, noteInt, noteDouble, noteString, noteName            = 2, 4, 5, 6, 10

	snapshotClock, clockID, clockTimestamp = 1, 1, 2
)

// The values of enums.
const (
	sliceBegin, sliceEnd, counter = 1, 2, 4
	explicit                      = 3 // TrackDescriptor.ChildTracksOrdering
	bootTime, realTime            = 6, 1
	stateCleared                  = 1
	sequence                      = 1
)

// Track is a track, by its uuid.
type Track uint64

// TrackOf returns the uuid of what names make out; the same names give the same.
func TrackOf(names ...string) Track {
	h := fnv.New64a()
	for _, n := range names {
		io.WriteString(h, n)
		h.Write([]byte{0})
	}
	return Track(max(h.Sum64(), 1)) // 0 is no track
}

// Note is a debug annotation of a slice. Its Value is an int64, float64, bool or string.
type Note struct {
	Name  string
	Value any
}

// Description describes a track.
type Description struct {
	Name    string
	Parent  Track  // 0 is none
	Rank    int    // its place among its siblings
	Counter bool   // its events are values
	Unit    string // of a counter
}

// Writer writes a trace. After an error, which sticks and which Flush returns, it is of
// no more use. It must not be used by two goroutines at once.
type Writer struct {
	w      *bufio.Writer
	err    error
	packet []byte
	event  []byte
	part   []byte
}

// NewWriter begins a trace. unixNanos is any time of it.
func NewWriter(w io.Writer, unixNanos int64) *Writer {
	t := &Writer{w: bufio.NewWriterSize(w, 256<<10)}
	t.snapshot(unixNanos)
	return t
}

// Describe describes a track, which must be done before its first event.
func (w *Writer) Describe(t Track, d Description) {
	b := varint(w.event[:0], trackUUID, uint64(t))
	b = text(b, trackName, d.Name)
	if d.Parent != 0 {
		b = varint(b, trackParent, uint64(d.Parent))
	}
	if d.Counter {
		w.part = w.part[:0]
		if d.Unit != "" {
			w.part = text(w.part, counterUnitName, d.Unit)
		}
		b = message(b, trackCounter, w.part)
	}
	b = varint(b, trackOrdering, explicit)
	b = varint(b, trackRank, uint64(int64(d.Rank)))
	w.event = b
	w.begin(0)
	w.end(packetTrackDescriptor)
}

// Begin begins a slice, inside of those of the track that have not ended. unixNanos is the time.
func (w *Writer) Begin(t Track, unixNanos int64, name string, notes ...Note) {
	b := varint(w.event[:0], eventType, sliceBegin)
	b = varint(b, eventTrack, uint64(t))
	b = text(b, eventName, name)
	for _, n := range notes {
		w.part = text(w.part[:0], noteName, n.Name)
		switch v := n.Value.(type) {
		case int64:
			w.part = varint(w.part, noteInt, uint64(v))
		case float64:
			w.part = double(w.part, noteDouble, v)
		case bool:
			w.part = varint(w.part, noteBool, protowire.EncodeBool(v))
		case string:
			w.part = text(w.part, noteString, v)
		}
		b = message(b, eventAnnotation, w.part)
	}
	w.event = b
	w.begin(unixNanos)
	w.end(packetTrackEvent)
}

// End ends the slice of the track that began last.
func (w *Writer) End(t Track, unixNanos int64) {
	w.event = varint(varint(w.event[:0], eventType, sliceEnd), eventTrack, uint64(t))
	w.begin(unixNanos)
	w.end(packetTrackEvent)
}

// Count gives a counter its value from a time on. What is no number is left out.
func (w *Writer) Count(t Track, unixNanos int64, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	b := varint(varint(w.event[:0], eventType, counter), eventTrack, uint64(t))
	w.event = double(b, eventDouble, value)
	w.begin(unixNanos)
	w.end(packetTrackEvent)
}

// begin begins a packet at a time; 0 is none.
func (w *Writer) begin(unixNanos int64) {
	w.packet = w.packet[:0]
	if unixNanos != 0 {
		w.packet = varint(w.packet, packetTimestamp, uint64(unixNanos))
	}
	w.packet = varint(w.packet, packetSequence, sequence)
}

// snapshot writes the packet that says what the timestamps are.
func (w *Writer) snapshot(unixNanos int64) {
	b := varint(nil, packetTimestamp, uint64(unixNanos))
	b = varint(b, packetSequence, sequence)
	b = varint(b, packetSequenceFlags, stateCleared)
	var clocks []byte
	for _, id := range []uint64{bootTime, realTime} {
		clocks = message(clocks, snapshotClock, varint(varint(nil, clockID, id), clockTimestamp, uint64(unixNanos)))
	}
	w.write(message(b, packetClockSnapshot, clocks))
}

// end puts the event into the packet and writes it.
func (w *Writer) end(field protowire.Number) {
	w.packet = message(w.packet, field, w.event)
	w.write(w.packet)
}

func (w *Writer) write(packet []byte) {
	w.part = protowire.AppendVarint(protowire.AppendTag(w.part[:0], tracePacket, protowire.BytesType), uint64(len(packet)))
	if _, err := w.w.Write(w.part); err != nil && w.err == nil {
		w.err = err
	}
	if _, err := w.w.Write(packet); err != nil && w.err == nil {
		w.err = err
	}
}

// Flush writes what is left, and returns the first error.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func varint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func double(b []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
}

// text appends a string, which must be UTF-8 in a protobuf message.
func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), strings.ToValidUTF8(s, "\ufffd"))
}

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}
