package telemetry

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/apache/arrow/go/v17/arrow/ipc"

	"wattrace/sample"
	"wattrace/trace"
)

const (
	maxRead    = 64 << 10  // rows that one Read returns at most
	maxDevices = 4096      // devices of a file
	maxHeld    = 512 << 20 // bytes of one batch and its dictionaries
)

// Reader reads a recording. It must not be used by two goroutines at once.
type Reader struct {
	name     string
	messages *messages
	memory   *cappedAllocator
	stream   *ipc.Reader
	columns  columns
	record   record // the Arrow batch being handed out
	next     int    // its first row that has not been
	batch    int64  // Arrow batches read, over the file
	err      error  // why Read ends

	head      Head        // of the first stream, with the devices of all
	table     deviceTable // of the current stream, into head.Devices
	snapshots []trace.ClockSnapshot
	holes     []Hole
	clocks    []trace.Clocks // of each recording so far

	clock   trace.Clock   // of the current recording
	shift   time.Duration // from its clock to that of the first
	rows    int64         // of the current recording so far
	open    bool          // it has not ended
	last    *End          // what the current stream says, if it is the last
	unended bool          // a recording before it never did
	ended   bool
	end     End // of all recordings that did
}

// NewReader reads the head of a recording: Arrow streams, one or many, or an
// Arrow file. name is for error messages.
func NewReader(r io.Reader, name string) (*Reader, error) {
	rd := &Reader{name: name, messages: newMessages(r), memory: &cappedAllocator{limit: maxHeld}}
	if err := rd.messages.begin(); err != nil {
		if err == io.EOF {
			err = cut("it is empty")
		}
		return nil, rd.corrupt(0, err)
	}
	if err := rd.begin(); err != nil {
		return nil, err
	}
	return rd, nil
}

// Head returns what the recording says of itself: the head of its first
// stream, with the devices of all streams so far.
func (r *Reader) Head() Head { return r.head }

// Snapshots returns the clock snapshots of the streams so far, the end's
// included, in the time of Head's clock.
func (r *Reader) Snapshots() []trace.ClockSnapshot { return r.snapshots }

// Clocks returns the clock of each recording so far with its readings, the end's
// included: one, but where recordings were put one after the other. The first
// is Head's.
func (r *Reader) Clocks() []trace.Clocks { return r.clocks }

// Holes returns what the recorder could not keep, as far as the streams so far
// say it, in the time of Head's clock.
func (r *Reader) Holes() []Hole { return r.holes }

// End returns what the recording says of itself at its end, once Read has
// returned io.EOF. Of concatenated recordings it gives sums, and the worst
// lateness; it is clean only if all were.
func (r *Reader) End() (End, bool) { return r.end, r.ended }

// Read replaces the content of b by the next rows, at most 65,536, or returns
// io.EOF at the end of a complete recording. b.Time is on the steady clock of
// Head; b.Devices holds the devices of all streams so far, so that an index
// keeps its meaning. A recording that is cut or damaged gives all batches
// before the fault and then a *CorruptError. After an error, Read returns it
// again.
func (r *Reader) Read(b *sample.Batch) error {
	for r.next == r.record.rows {
		if r.err == nil {
			r.err = r.advance()
		}
		if r.err != nil {
			return r.err
		}
	}
	from := r.next
	r.next = min(from+maxRead, r.record.rows)
	b.Devices = r.head.Devices
	r.record.copyTo(b, from, r.next, r.shift-time.Duration(r.clock.Anchor.UnixNanos))
	return nil
}

// advance reads the next Arrow batch, over the bounds of streams.
func (r *Reader) advance() error {
	r.record.release()
	r.next = 0
	for !r.stream.Next() {
		err := r.messages.err // arrow/go's wrapping of it says no more
		if err == nil {
			err = r.stream.Err()
		}
		if err != nil {
			return r.corrupt(r.batch+1, err)
		}
		if err := r.endStream(); err != nil {
			return err
		}
		if err := r.messages.begin(); err != nil {
			if err == io.EOF {
				return r.endFile()
			}
			return r.corrupt(r.batch+1, err)
		}
		if err := r.begin(); err != nil {
			return err
		}
	}
	r.batch++
	return r.decode()
}

// decode checks the current Arrow batch as a whole, so that none of a bad one
// is handed out.
func (r *Reader) decode() (err error) {
	defer func() {
		// arrow/go checks the shape of arrays by panicking.
		if p := recover(); p != nil {
			err = r.corrupt(r.batch, fmt.Errorf("the batch does not hold together: %v", p))
		}
	}()
	row, err := r.record.decode(r.stream.Record(), &r.columns, &r.table)
	if err != nil {
		r.record.release()
		err := r.corrupt(r.batch, err)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			corrupt.Row = int64(row)
		}
		return err
	}
	r.rows += int64(r.record.rows)
	return nil
}

// begin reads the schema of a stream.
func (r *Reader) begin() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = r.corrupt(r.streamBatch(), fmt.Errorf("the schema does not hold together: %v", p))
		}
	}()
	if r.stream != nil {
		r.stream.Release()
	}
	r.stream, err = ipc.NewReaderFromMessageReader(r.messages, ipc.WithAllocator(r.memory))
	if err != nil {
		if r.messages.err != nil {
			err = r.messages.err
		} else if errors.Is(err, io.EOF) {
			err = errors.New("a stream without a schema")
		}
		return r.corrupt(r.streamBatch(), err)
	}
	schema := r.stream.Schema()
	metadata := schema.Metadata()
	head, err := decodeHead(metadata.GetValue)
	if err == nil {
		r.columns, err = findColumns(schema)
	}
	if err == nil {
		err = r.join(head)
	}
	if err != nil {
		return r.corrupt(r.streamBatch(), err)
	}
	r.last = head.end
	for _, hole := range head.holes {
		hole.From, hole.To = hole.From.Add(r.shift), hole.To.Add(r.shift)
		r.holes = append(r.holes, hole)
	}
	return nil
}

// streamBatch is the batch that an error in a schema is shown with: none in
// the first.
func (r *Reader) streamBatch() int64 {
	if r.batch == 0 {
		return 0
	}
	return r.batch + 1
}

// join puts a stream's head to those before it.
func (r *Reader) join(h streamHead) error {
	if len(r.snapshots) == 0 {
		r.head = h.Head
		r.head.Devices, r.head.Metrics = nil, nil
	}
	for id, place := range r.columns.metric {
		if place >= 0 && !slices.Contains(r.head.Metrics, sample.MetricID(id)) {
			r.head.Metrics = append(r.head.Metrics, sample.MetricID(id))
		}
	}
	slices.Sort(r.head.Metrics)
	if !r.open || h.Clock != r.clock {
		r.unended = r.unended || r.open
		r.clock, r.rows, r.open = h.Clock, 0, true
		r.shift, _ = r.head.Clock.Offset(h.Clock)
		r.clocks = append(r.clocks, trace.Clocks{Clock: h.Clock})
	}
	last := &r.clocks[len(r.clocks)-1]
	for _, s := range append([]trace.ClockSnapshot{h.Snapshot}, h.later...) {
		last.Snapshots = append(last.Snapshots, s)
		s.At = s.At.Add(r.shift)
		r.snapshots = append(r.snapshots, s)
	}
	return r.joinDevices(h.Devices)
}

// joinDevices adds the devices that are new and maps the identities of the
// stream to them. A device whose description has changed counts as new.
func (r *Reader) joinDevices(devices []sample.Device) error {
	all := r.head.Devices
	r.table = deviceTable{}
	for _, d := range devices {
		i := slices.Index(all, d)
		if i < 0 {
			if i = len(all); i == maxDevices {
				return fmt.Errorf("more than %d devices", maxDevices)
			}
			all = append(all, d)
		}
		if !r.table.add(identityOf(&d), int32(i), int32(d.Index)) {
			return fmt.Errorf("%s: two devices of one identity", keyDevices)
		}
	}
	r.head.Devices = all
	return nil
}

// endStream compares the end of a recording with what was read of it.
func (r *Reader) endStream() error {
	if r.last == nil {
		return nil
	}
	e := *r.last
	if e.Rows != r.rows {
		return r.corrupt(r.batch+1, fmt.Errorf("the recording holds %d rows, its end says %d", r.rows, e.Rows))
	}
	e.Snapshot.At = e.Snapshot.At.Add(r.shift)
	if r.ended {
		e = r.end.Join(e)
	}
	r.end, r.ended, r.open, r.last = e, true, false, nil
	return nil
}

// Join returns the end of two recordings, or of two parts of one, of which next
// is the later: sums, and the worst lateness.
func (e End) Join(next End) End {
	next.Clean = next.Clean && e.Clean
	next.Rows, next.Ticks, next.Missed = next.Rows+e.Rows, next.Ticks+e.Ticks, next.Missed+e.Missed
	next.LatenessP50 = max(next.LatenessP50, e.LatenessP50)
	next.LatenessP99 = max(next.LatenessP99, e.LatenessP99)
	next.LatenessMax = max(next.LatenessMax, e.LatenessMax)
	next.Read, next.CPU = next.Read+e.Read, next.CPU+e.CPU
	next.Lost, next.Units = next.Lost+e.Lost, append(slices.Clone(e.Units), next.Units...)
	return next
}

func (r *Reader) endFile() error {
	if r.open || r.unended {
		r.ended = false
		return r.corrupt(r.batch+1, cut("its recorder wrote no end"))
	}
	return io.EOF
}

// corrupt gives err its place. An error of the underlying reader, which is no
// fault of the recording, gets only the name.
func (r *Reader) corrupt(batch int64, err error) error {
	r.ended = false
	var read *readError
	if errors.As(err, &read) {
		return fmt.Errorf("%s: %w", r.name, read.err)
	}
	return &CorruptError{File: r.name, Batch: batch, Offset: r.messages.start, Err: err}
}
