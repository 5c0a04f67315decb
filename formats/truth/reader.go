package truth

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/sample"
	"wattrace/trace"
)

// Reader reads a file step by step. It is not safe for concurrent use.
type Reader struct {
	lines   *trace.LineReader
	tail    tail
	buf     []byte
	header  Header
	devices map[int]*state
	last    trace.Time // of any step
	end     trace.Opt[End]
	done    error
}

// state is where a device's steps have got to.
type state struct {
	begun      bool
	at         trace.Time
	microwatts uint64
	energy     exact // at at
}

// tail remembers the last byte of a stream.
type tail struct {
	r    io.Reader
	last byte
}

func (t *tail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.last = p[n-1]
	}
	return n, err
}

// NewReader reads the first line of a file. Positions in errors have the given
// name. A fault of the file is a *trace.SyntaxError, after which there is no
// reading on: a truth that is doubted is none.
func NewReader(r io.Reader, name string) (*Reader, error) {
	t := &Reader{tail: tail{r: r}, devices: map[int]*state{}}
	t.lines = trace.NewLineReader(&t.tail, name)
	line, pos, err := t.lines.ReadLine(nil)
	if err == io.EOF {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the file is empty")}
	}
	if err != nil {
		return nil, err
	}
	if err := t.readHeader(line); err != nil {
		return nil, trace.ErrorAt(pos, err)
	}
	t.buf = line
	for _, d := range t.header.Devices {
		t.devices[d.Index] = &state{}
	}
	return t, nil
}

// Header returns the first line.
func (r *Reader) Header() *Header { return &r.header }

// End returns the last line, once Read has returned io.EOF. It is unknown
// when the file is incomplete.
func (r *Reader) End() trace.Opt[End] { return r.end }

// Read reads the next step. At the end, of a whole file or an incomplete one,
// the error is io.EOF.
func (r *Reader) Read(dst *Step) error {
	for r.done == nil {
		line, pos, err := r.lines.ReadLine(r.buf)
		r.buf = line
		if err != nil {
			r.done = err
			break
		}
		step, err := r.readLine(line)
		switch {
		case err != nil && errors.Is(err, trace.ErrNotJSON) && r.cut():
			r.done = io.EOF
		case err != nil:
			r.done = trace.ErrorAt(pos, err)
		case step != nil:
			*dst = *step
			return nil
		}
	}
	return r.done
}

// cut reports whether the line just read is the last one and has no ending, as
// a killed writer leaves it.
func (r *Reader) cut() bool {
	_, _, err := r.lines.ReadLine(nil)
	return err == io.EOF && r.tail.last != '\n'
}

// readLine reads any line but the first; only a step returns one.
func (r *Reader) readLine(line []byte) (*Step, error) {
	f, err := parse(line)
	if err != nil {
		return nil, err
	}
	kind, err := f.text("type")
	switch {
	case err != nil:
		return nil, err
	case kind == "truth":
		return nil, errors.New("a second truth line")
	case r.end.OK:
		return nil, errors.New("a line after the close line")
	case kind == "step":
		return r.readStep(f)
	case kind == "close":
		return nil, r.readEnd(f)
	}
	return nil, nil
}

func (r *Reader) readStep(f fields) (*Step, error) {
	index, err := f.integer("device_index")
	if err != nil {
		return nil, err
	}
	d, ok := r.devices[int(index)]
	if !ok {
		return nil, f["device_index"].Errorf(`"device_index" %d is not in the first line`, index)
	}
	at, err := f.integer("at_nanos")
	if err != nil {
		return nil, err
	}
	if at < 0 || trace.Time(at) < d.at {
		return nil, f["at_nanos"].Errorf(`"at_nanos": device %d goes back in time`, index)
	}
	microwatts, err := f.microwatts("power_watts")
	if err != nil {
		return nil, err
	}
	microjoules, err := f.integer("energy_microjoules")
	if err != nil {
		return nil, err
	}
	s := &Step{int(index), trace.Time(at), microwatts, uint64(microjoules)}
	if err := d.advance(s); err != nil {
		return nil, f["energy_microjoules"].Errorf(`"energy_microjoules": %w`, err)
	}
	r.last = max(r.last, s.At)
	return s, nil
}

// advance adds up the energy to a step and compares.
func (d *state) advance(s *Step) error {
	want := exact{}
	if d.begun {
		var err error
		if want, err = d.energy.plus(d.microwatts, uint64(s.At-d.at)); err != nil {
			return err
		}
	}
	if s.Microjoules != want.micro {
		return fmt.Errorf("device %d has used %d by then", s.Device, want.micro)
	}
	*d = state{true, s.At, s.Microwatts, want}
	return nil
}

func (r *Reader) readEnd(f fields) error {
	at, err := f.integer("at_nanos")
	if err != nil {
		return err
	}
	if trace.Time(at) < r.last {
		return f["at_nanos"].Errorf(`"at_nanos" is before the last step`)
	}
	for _, d := range r.devices {
		if _, err := d.energy.plus(d.microwatts, uint64(trace.Time(at)-d.at)); d.begun && err != nil {
			return f["at_nanos"].Errorf(`"at_nanos": %w`, err)
		}
	}
	clean, err := f.boolean("clean")
	if err != nil {
		return err
	}
	r.end = trace.Some(End{trace.Time(at), clean})
	return nil
}

func (r *Reader) readHeader(line []byte) error {
	f, err := parse(line)
	if err != nil {
		return err
	}
	if kind, err := f.text("type"); err != nil || kind != "truth" {
		return &trace.ColumnError{Col: 1, Err: errors.New("not a truth file: no truth line")}
	}
	if err := f.schema(); err != nil {
		return err
	}
	h := &r.header
	if h.Producer, err = f.optText("producer"); err != nil {
		return err
	}
	if h.Seed, err = f.unsigned("seed"); err != nil {
		return err
	}
	if h.Clock, err = f.clock(); err != nil {
		return err
	}
	if h.Devices, err = f.devices(); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return f["devices"].Errorf(`"devices": %w`, err)
	}
	return nil
}

// fields are the members of one object by name; of equal names the last.
type fields map[string]*trace.Member

// parse reads one line, or one object in it.
func parse(line []byte) (fields, error) {
	f := fields{}
	err := trace.WalkObject(line, func(m trace.Member) error {
		f[string(m.Name)] = &m
		return nil
	})
	return f, err
}

func (f fields) get(name string) (*trace.Member, error) {
	m, ok := f[name]
	if !ok {
		return nil, &trace.ColumnError{Col: 1, Err: fmt.Errorf("%q is missing", name)}
	}
	return m, nil
}

func (f fields) text(name string) (string, error) {
	m, err := f.get(name)
	if err != nil {
		return "", err
	}
	if m.Value.Kind() != '"' {
		return "", m.Errorf("%q is not a string", name)
	}
	text, _ := jsontext.AppendUnquote(nil, m.Value) // fails on lone surrogates, which become U+FFFD
	return string(text), nil
}

func (f fields) optText(name string) (string, error) {
	if _, ok := f[name]; !ok {
		return "", nil
	}
	return f.text(name)
}

func (f fields) integer(name string) (int64, error) {
	m, err := f.get(name)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(string(m.Value), 10, 64)
	if err != nil || v < 0 {
		return 0, m.Errorf("%q is not an integer from 0 to 2^63-1", name)
	}
	return v, nil
}

func (f fields) unsigned(name string) (uint64, error) {
	m, err := f.get(name)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(string(m.Value), 10, 64)
	if err != nil {
		return 0, m.Errorf("%q is not an integer from 0 to 2^64-1", name)
	}
	return v, nil
}

// microwatts reads watts with at most six decimals.
func (f fields) microwatts(name string) (uint64, error) {
	m, err := f.get(name)
	if err != nil {
		return 0, err
	}
	watts, err := strconv.ParseFloat(string(m.Value), 64)
	if m.Value.Kind() != '0' || err != nil || !(watts >= 0 && watts <= MaxMicrowatts/1e6) {
		return 0, m.Errorf("%q is not a number from 0 to %d", name, MaxMicrowatts/1_000_000)
	}
	// What a double itself errs by is far below a microwatt up to 100 MW.
	micro := math.Round(watts * 1e6)
	if math.Abs(float64(watts*1e6)-micro) > 1e-6+micro*1e-15 {
		return 0, m.Errorf("%q has more than six decimals", name)
	}
	return uint64(micro), nil
}

func (f fields) boolean(name string) (bool, error) {
	m, err := f.get(name)
	if err != nil {
		return false, err
	}
	switch string(m.Value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, m.Errorf("%q is not true or false", name)
}

func (f fields) schema() error {
	name, err := f.text("schema")
	if err != nil {
		return err
	}
	number, ok := strings.CutPrefix(name, "wattrace.truth/")
	version, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil || version < 1:
		return f["schema"].Errorf(`"schema" is not %s`, Schema)
	case version > 1:
		return f["schema"].Errorf(`"schema" is wattrace.truth/%d, which needs a newer version; %s is known`, version, Schema)
	}
	return nil
}

// nested reads an object inside the line. Its errors point at its start.
func (f fields) nested(name string) (fields, error) {
	m, err := f.get(name)
	if err != nil {
		return nil, err
	}
	inner, err := parse(m.Value)
	if err != nil {
		return nil, m.Errorf("%q: not an object", name)
	}
	return inner, nil
}

func (f fields) clock() (trace.Clock, error) {
	inner, err := f.nested("clock")
	if err != nil {
		return trace.Clock{}, err
	}
	var c trace.Clock
	fault := func(err error) (trace.Clock, error) {
		return trace.Clock{}, f["clock"].Errorf(`"clock": %w`, cause(err))
	}
	if c.Host, err = inner.text("host"); err != nil {
		return fault(err)
	}
	if c.BootID, err = inner.optText("boot_id"); err != nil {
		return fault(err)
	}
	for name, v := range map[string]*int64{
		"boot_nanos": &c.Anchor.BootNanos, "monotonic_nanos": &c.Anchor.MonotonicNanos, "unix_nanos": &c.Anchor.UnixNanos,
	} {
		text, err := inner.optText(name)
		if err != nil {
			return fault(err)
		}
		if text == "" {
			continue
		}
		if *v, err = strconv.ParseInt(text, 10, 64); err != nil {
			return fault(fmt.Errorf("%q is not a decimal integer", name))
		}
	}
	return c, nil
}

func (f fields) devices() ([]sample.Device, error) {
	m, err := f.get("devices")
	if err != nil {
		return nil, err
	}
	if m.Value.Kind() != '[' {
		return nil, m.Errorf(`"devices" is not an array`)
	}
	var devices []sample.Device
	d := jsontext.NewDecoder(strings.NewReader(string(m.Value)), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	d.ReadToken()
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil { // the whole line has been found valid
			return nil, m.Errorf(`"devices": %w`, trace.ErrNotJSON)
		}
		device, err := readDevice(value)
		if err != nil {
			return nil, m.Errorf(`"devices": number %d: %w`, len(devices)+1, cause(err))
		}
		devices = append(devices, device)
	}
	return devices, nil
}

func readDevice(value []byte) (sample.Device, error) {
	f, err := parse(value)
	if err != nil {
		return sample.Device{}, errors.New("not an object")
	}
	d := sample.Device{Simulated: true}
	if d.ID, err = f.text("device"); err != nil {
		return d, err
	}
	index, err := f.integer("device_index")
	if err != nil {
		return d, err
	}
	if d.Index = int(index); index > math.MaxInt32 {
		return d, errors.New(`"device_index" is above 2^31-1`)
	}
	d.Name, err = f.optText("name")
	return d, err
}

// cause takes the column off an error of an inner object, where it would count
// from that object's start.
func cause(err error) error {
	var at *trace.ColumnError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
