package truth

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// Writer writes a file. Lines are buffered: Flush hands them on. The first
// error of the underlying writer is returned by every later call. A Writer is
// not safe for concurrent use.
type Writer struct {
	w      *bufio.Writer
	b      []byte
	latest map[int]trace.Time
	last   trace.Time
	err    error
}

// NewWriter writes the first line of a file.
func NewWriter(w io.Writer, h *Header) (*Writer, error) {
	t := &Writer{w: bufio.NewWriterSize(w, 64<<10), latest: map[int]trace.Time{}}
	if err := h.check(); err != nil {
		return nil, err
	}
	for _, d := range h.Devices {
		t.latest[d.Index] = -1
	}
	return t, t.line(h.append(t.b))
}

// check reports what makes a header useless.
func (h *Header) check() error {
	indexes, ids := map[int]bool{}, map[string]bool{}
	for _, d := range h.Devices {
		switch {
		case d.ID == "":
			return fmt.Errorf("device %d has no identity", d.Index)
		case d.Index < 0:
			return errors.New("the index of a device is negative")
		case indexes[d.Index] || ids[d.ID]:
			return fmt.Errorf("device %d is there twice", d.Index)
		}
		indexes[d.Index], ids[d.ID] = true, true
	}
	if len(h.Devices) == 0 {
		return errors.New("there is no device")
	}
	return nil
}

func (h *Header) append(b []byte) []byte {
	b = append(b, `{"type":"truth"`...)
	b = appendText(b, "schema", Schema)
	b = appendText(b, "producer", h.Producer)
	b = append(b, `,"seed":`...)
	b = strconv.AppendUint(b, h.Seed, 10)
	b = append(b, `,"clock":{"host":`...)
	b = appendString(b, h.Clock.Host)
	if h.Clock.BootID != "" {
		b = appendText(b, "boot_id", h.Clock.BootID)
	}
	b = appendAbsolute(b, "boot_nanos", h.Clock.Anchor.BootNanos)
	b = appendAbsolute(b, "monotonic_nanos", h.Clock.Anchor.MonotonicNanos)
	b = appendAbsolute(b, "unix_nanos", h.Clock.Anchor.UnixNanos)
	b = append(b, `},"devices":[`...)
	for i, d := range h.Devices {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"device":`...)
		b = appendString(b, d.ID)
		b = append(b, `,"device_index":`...)
		b = strconv.AppendInt(b, int64(d.Index), 10)
		b = appendText(b, "name", d.Name)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// Step writes a step.
func (w *Writer) Step(s Step) error {
	latest, ok := w.latest[s.Device]
	switch {
	case !ok:
		return fmt.Errorf("device %d is not in the header", s.Device)
	case s.At < 0 || s.At < latest:
		return fmt.Errorf("device %d goes back in time", s.Device)
	case s.Microwatts > MaxMicrowatts:
		return fmt.Errorf("device %d draws more than %d W", s.Device, MaxMicrowatts/1_000_000)
	}
	w.latest[s.Device], w.last = s.At, max(w.last, s.At)
	b := append(w.b, `{"type":"step","device_index":`...)
	b = strconv.AppendInt(b, int64(s.Device), 10)
	b = append(b, `,"at_nanos":`...)
	b = strconv.AppendInt(b, int64(s.At), 10)
	b = append(b, `,"power_watts":`...)
	b = appendMillionths(b, s.Microwatts)
	b = append(b, `,"energy_microjoules":`...)
	b = strconv.AppendUint(b, s.Microjoules, 10)
	return w.line(append(b, '}'))
}

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// Close writes the last line and flushes. It does not close the underlying
// writer.
func (w *Writer) Close(end End) error {
	if end.At < w.last {
		return errors.New("the end is before the last step")
	}
	b := append(w.b, `{"type":"close","at_nanos":`...)
	b = strconv.AppendInt(b, int64(end.At), 10)
	b = append(b, `,"clean":`...)
	b = strconv.AppendBool(b, end.Clean)
	if err := w.line(append(b, '}')); err != nil {
		return err
	}
	return w.Flush()
}

func (w *Writer) line(b []byte) error {
	b = append(b, '\n')
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
	w.b = b[:0]
	return w.err
}

// appendMillionths appends n/1e6 exactly, as the shortest decimal.
func appendMillionths(b []byte, n uint64) []byte {
	b = strconv.AppendUint(b, n/1_000_000, 10)
	if n %= 1_000_000; n == 0 {
		return b
	}
	start := len(b)
	b = strconv.AppendUint(b, 1_000_000+n, 10)
	b[start] = '.' // instead of the 1 that kept the zeros
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

func appendText(b []byte, key, value string) []byte {
	b = append(append(append(b, `,"`...), key...), `":`...)
	return appendString(b, value)
}

// appendAbsolute appends a reading of a clock as a decimal string; an absent
// clock is left out.
func appendAbsolute(b []byte, key string, nanos int64) []byte {
	if nanos == 0 {
		return b
	}
	return appendText(b, key, strconv.FormatInt(nanos, 10))
}

// appendString appends a JSON string. Bytes that are not UTF-8 become the
// replacement character, after which there is nothing left to fail on.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\ufffd"))
	return b
}
