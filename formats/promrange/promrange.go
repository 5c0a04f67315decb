package promrange

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/stamped"
	"wattrace/sample"
	"wattrace/sample/dcgm/fields"
	"wattrace/trace"
)

const (
	maxSamples = 1 << 25
	maxSeries  = 1 << 20
	maxRead    = 4096            // rows that one Read returns at most, but for those of one time
	lookback   = 5 * time.Minute // of Prometheus, by default
)

// Reader gives the rows of answers. It is not safe for concurrent use.
type Reader struct {
	head   stamped.Head
	tracks []*track // of device and field
	groups []*group
	times  []int64
	next   int // in times
}

// track is one field of one device.
type track struct {
	device int
	metric sample.MetricID
	order  int // of fields with one metric the later one counts
	times  []int64
	values []float64
	at     int // next of times
}

// group is what an exporter reads together: the GPUs of a host, or its CPUs.
type group struct {
	tracks []*track
	seen   bool
	since  int64 // the evaluation before
	last   []float64
	now    []float64
	power  bool // it has power or energy
}

type key struct {
	device int
	order  int
}

// NewReader reads all answers. name is for errors, host is that of series that name none.
func NewReader(r io.Reader, name, host string) (*Reader, error) {
	p := &parse{lines: &lines{r: r}, host: host, tracks: map[key]*track{}, ids: map[string]int{}}
	p.d = jsontext.NewDecoder(p.lines, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	rd := &Reader{head: stamped.Head{Info: sample.Info{API: "prometheus query_range"}, Clock: trace.Clock{}}}
	if err := p.answers(); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		var syntactic *jsontext.SyntacticError
		if errors.As(err, &syntactic) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("not JSON, or cut off")
		} else if p.lines.failed != nil {
			return nil, p.lines.failed
		}
		line, col := p.lines.place(p.d.InputOffset())
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name, Line: line, Col: col}, Err: err}
	}
	rd.head.Devices = p.devices
	rd.sort(p)
	if len(rd.tracks) == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("no series of a metric of GPUs that is known")}
	}
	// The first row's time is the anchor, and Head must know it.
	var first sample.Batch
	if rd.step(&first, math.MaxInt); first.Len() == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("no power or energy differs from one time to the next: there is no reading that can be placed in time")}
	}
	rd.head.Clock.Anchor.UnixNanos = int64(first.Time[0])
	rd.rewind()
	return rd, nil
}

// Head returns what the answers say of themselves.
func (r *Reader) Head() stamped.Head { return r.head }

// Read replaces the content of b by the next rows.
func (r *Reader) Read(b *sample.Batch) error {
	b.Reset()
	b.Devices = r.head.Devices
	r.step(b, maxRead)
	if b.Len() == 0 {
		return io.EOF
	}
	for i := range b.Time {
		b.Time[i] -= trace.Time(r.head.Clock.Anchor.UnixNanos)
	}
	return nil
}

// sort puts the samples into the order of time.
func (r *Reader) sort(p *parse) {
	groups := map[string]*group{}
	for _, t := range p.order {
		t.sort()
		r.times = append(r.times, t.times...)
		d := p.devices[t.device]
		name := "cpu " + d.Host
		if d.Scope == sample.ScopeGPU {
			name = "gpu " + d.Host
		}
		g := groups[name]
		if g == nil {
			g = &group{}
			groups[name] = g
			r.groups = append(r.groups, g)
		}
		g.tracks = append(g.tracks, t)
		g.power = g.power || moves(t.metric)
		r.tracks = append(r.tracks, t)
		// Of all tracks together, so that it takes no more than they do.
		slices.Sort(r.times)
		r.times = slices.Compact(r.times)
	}
	for _, g := range r.groups {
		slices.SortStableFunc(g.tracks, func(a, b *track) int { return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.order, b.order)) })
	}
}

// moves reports whether a metric tells one reading from the next.
func moves(id sample.MetricID) bool {
	return id == sample.PowerWatts || id == sample.PowerInstantWatts || id == sample.EnergyJoules
}

// sort sorts a track that was put together from several series.
func (t *track) sort() {
	if slices.IsSorted(t.times) && len(slices.Compact(slices.Clone(t.times))) == len(t.times) {
		return
	}
	order := make([]int, len(t.times))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(t.times[a], t.times[b]) })
	times, values := make([]int64, 0, len(order)), make([]float64, 0, len(order))
	for _, i := range order {
		if n := len(times); n > 0 && times[n-1] == t.times[i] {
			continue
		}
		times, values = append(times, t.times[i]), append(values, t.values[i])
	}
	t.times, t.values = times, values
}

func (r *Reader) rewind() {
	r.next = 0
	for _, t := range r.tracks {
		t.at = 0
	}
	for _, g := range r.groups {
		g.seen, g.last = false, g.last[:0]
	}
}

// step adds the rows of the next evaluations, up to the first that makes at least one, or
// until there are most. Their times are Unix times.
func (r *Reader) step(b *sample.Batch, most int) {
	for r.next < len(r.times) && b.Len() < most {
		at := r.times[r.next]
		r.next++
		for _, g := range r.groups {
			g.step(b, at)
		}
		if most == math.MaxInt && b.Len() > 0 {
			return
		}
	}
}

// step takes the values of an evaluation.
func (g *group) step(b *sample.Batch, at int64) {
	g.now = g.now[:0]
	any := false
	for _, t := range g.tracks {
		v := math.NaN()
		if t.at < len(t.times) && t.times[t.at] == at {
			v, any = t.values[t.at], true
			t.at++
		}
		g.now = append(g.now, v)
	}
	if !any {
		return
	}
	anew := false
	for i, t := range g.tracks {
		if !g.power || moves(t.metric) {
			anew = anew || g.seen && g.now[i] == g.now[i] && g.now[i] != g.last[i]
		}
	}
	if anew {
		took := min(time.Duration(at-g.since), lookback)
		g.rows(b, at-int64(took), took)
	}
	g.seen, g.since = true, at
	for len(g.last) < len(g.now) {
		g.last = append(g.last, math.NaN())
	}
	for i, v := range g.now {
		if v == v {
			g.last[i] = v
		}
	}
}

// rows adds a row of each device that has a value.
func (g *group) rows(b *sample.Batch, from int64, took time.Duration) {
	var row sample.Row
	device := -1
	for i, t := range g.tracks {
		v := g.now[i]
		if v != v {
			continue
		}
		if t.metric == sample.XIDError {
			if v != 0 && i < len(g.last) && g.last[i] == g.last[i] && v != g.last[i] {
				b.Append(t.device, trace.Time(from), took).SetUint(t.metric, uint64(v))
			}
			continue
		}
		if t.device != device {
			device = t.device
			row = b.Append(device, trace.Time(from), took)
		}
		if sample.Metrics[t.metric].Type == sample.Uint64 {
			row.SetUint(t.metric, uint64(math.Round(v)))
		} else {
			row.Set(t.metric, v)
		}
	}
}

// amd are the series of AMD's device metrics exporter.
var amd = map[string]struct {
	metric sample.MetricID
	value  func(float64) float64
}{
	"gpu_power_usage":          {sample.PowerWatts, func(v float64) float64 { return v }},
	"gpu_package_power":        {sample.PowerWatts, func(v float64) float64 { return v }},
	"gpu_energy_consumed":      {sample.EnergyJoules, func(v float64) float64 { return v / 1e6 }},
	"gpu_gfx_activity":         {sample.GPUUtilization, func(v float64) float64 { return v / 100 }},
	"gpu_umc_activity":         {sample.MemoryUtilization, func(v float64) float64 { return v / 100 }},
	"gpu_used_vram":            {sample.MemoryUsedBytes, func(v float64) float64 { return v * (1 << 20) }},
	"gpu_junction_temperature": {sample.TemperatureCelsius, func(v float64) float64 { return v }},
	"gpu_memory_temperature":   {sample.MemoryTemperatureCelsius, func(v float64) float64 { return v }},
}

// parse reads answers.
type parse struct {
	lines   *lines
	d       *jsontext.Decoder
	host    string
	devices []sample.Device
	ids     map[string]int
	tracks  map[key]*track
	order   []*track
	samples int
	series  int
}

func (p *parse) answers() error {
	for n := 0; ; n++ {
		if n > 0 && p.d.PeekKind() == 0 {
			if _, err := p.d.ReadToken(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
		status, matrix := "", false
		err := p.object(func(name string) error {
			switch name {
			case "status":
				return p.text(&status)
			case "data":
				return p.object(func(name string) error {
					switch name {
					case "resultType":
						kind := ""
						if err := p.text(&kind); err != nil {
							return err
						}
						if matrix = kind == "matrix"; !matrix {
							return fmt.Errorf("the result is a %.20q: the answer to a range query (query_range) is a matrix", kind)
						}
						return nil
					case "result":
						return p.array(p.oneSeries)
					}
					return p.d.SkipValue()
				})
			}
			return p.d.SkipValue()
		})
		switch {
		case err != nil:
			return err
		case status != "success":
			return fmt.Errorf("the query failed: its status is %.20q", status)
		case !matrix:
			return errors.New("the answer has no resultType: that of a range query (query_range) is wanted")
		}
	}
}

func (p *parse) object(member func(name string) error) error {
	if err := p.open('{', "an object"); err != nil {
		return err
	}
	for p.d.PeekKind() != '}' {
		name, err := p.d.ReadToken()
		if err != nil {
			return err
		}
		if err := member(name.String()); err != nil {
			return err
		}
	}
	_, err := p.d.ReadToken()
	return err
}

func (p *parse) array(element func() error) error {
	if err := p.open('[', "an array"); err != nil {
		return err
	}
	for p.d.PeekKind() != ']' {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := p.d.ReadToken()
	return err
}

func (p *parse) open(kind jsontext.Kind, what string) error {
	token, err := p.d.ReadToken()
	if err == nil && token.Kind() != kind {
		err = fmt.Errorf("%s is wanted", what)
	}
	return err
}

func (p *parse) text(s *string) error {
	token, err := p.d.ReadToken()
	if err == nil && token.Kind() != '"' {
		err = errors.New("a string is wanted")
	}
	if err == nil {
		*s = token.String()
	}
	return err
}

// oneSeries reads a series. Its labels may stand behind its values only in theory.
func (p *parse) oneSeries() error {
	if p.series++; p.series > maxSeries {
		return fmt.Errorf("more than %d series", maxSeries)
	}
	var labels map[string]string
	return p.object(func(name string) error {
		switch name {
		case "metric":
			labels = map[string]string{}
			return p.object(func(name string) error {
				v := ""
				err := p.text(&v)
				labels[name] = v
				return err
			})
		case "values":
			if labels == nil {
				return errors.New("the labels of the series (metric) are wanted before its values")
			}
			t, value := p.track(labels)
			if t == nil {
				return p.d.SkipValue()
			}
			return p.array(func() error { return p.sample(t, value) })
		case "value":
			return errors.New("the answer to an instant query: that of a range query (query_range) is wanted")
		}
		return p.d.SkipValue()
	})
}

// track finds what a series is of, and what becomes of its values; nil is a series that is
// not read.
func (p *parse) track(labels map[string]string) (t *track, value func(float64) (float64, bool)) {
	title := labels["__name__"]
	if a, ok := amd[title]; ok {
		index, err := strconv.Atoi(labels["gpu_id"])
		if err != nil {
			return nil, nil
		}
		d := sample.Device{
			Source: sample.AMDSMI, Scope: sample.ScopeGPU, Host: cmp.Or(labels["hostname"], p.host), Index: index, Name: labels["card_model"], UUID: labels["serial_number"],
		}
		d.ID = cmp.Or(d.UUID, fmt.Sprintf("%s:%s:%d", d.Source, d.Host, index))
		return p.of(d, a.metric, int(a.metric)), func(v float64) (float64, bool) { return a.value(v), v >= 0 }
	}
	short, ok := strings.CutPrefix(strings.TrimSuffix(title, "_total"), fields.Prefix)
	if !ok {
		return nil, nil
	}
	for i := range fields.All {
		f := &fields.All[i]
		if !slices.Contains(f.Names, short) && !slices.Contains(f.Names, strings.TrimPrefix(title, fields.Prefix)) {
			continue
		}
		d, ok := f.Device(labels, p.host)
		if !ok || f.Instance && d.MIG {
			return nil, nil
		}
		return p.of(d, f.Metric, i), func(v float64) (float64, bool) { return f.Value(v), v >= 0 && !fields.Blank(v) }
	}
	return nil, nil
}

// of returns the track of a field of a device.
func (p *parse) of(d sample.Device, metric sample.MetricID, order int) *track {
	id := string(d.Source) + "\x00" + d.ID + "\x00" + string(d.Scope)
	i, ok := p.ids[id]
	if !ok {
		i = len(p.devices)
		p.ids[id] = i
		p.devices = append(p.devices, d)
	}
	known := &p.devices[i]
	known.MIG, known.Name, known.Driver = known.MIG || d.MIG, cmp.Or(known.Name, d.Name), cmp.Or(known.Driver, d.Driver)
	k := key{i, order}
	t := p.tracks[k]
	if t == nil {
		t = &track{device: i, metric: metric, order: order}
		p.tracks[k] = t
		p.order = append(p.order, t)
	}
	return t
}

// sample reads [time, "value"].
func (p *parse) sample(t *track, value func(float64) (float64, bool)) error {
	if err := p.open('[', "[time, \"value\"]"); err != nil {
		return err
	}
	stamp, err := p.d.ReadValue()
	if err != nil {
		return err
	}
	unix, err := stamped.Seconds(stamp)
	if err != nil {
		return errors.New("the time of a sample is not one of seconds since 1970")
	}
	text := ""
	if err := p.text(&text); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(v, 0) {
		return errors.New("the value of a sample is not a number")
	}
	if token, err := p.d.ReadToken(); err != nil {
		return err
	} else if token.Kind() != ']' {
		return errors.New("a sample is a time and a value")
	}
	if n := len(t.times); n > 0 && unix == t.times[n-1] {
		return nil
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	v, ok := value(v)
	if !ok || v > 1e18 {
		return nil
	}
	if p.samples++; p.samples > maxSamples {
		return fmt.Errorf("more than %d samples: ask for a longer step or a shorter range", maxSamples)
	}
	t.times, t.values = append(t.times, unix), append(t.values, v)
	return nil
}

// lines counts the lines of what is read, so that an offset can be given its place.
type lines struct {
	r      io.Reader
	read   int64
	before int     // line feeds that are forgotten
	feeds  []int64 // offsets of the others
	last   int64   // of the latest that is forgotten
	failed error
}

func (l *lines) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	for from := 0; ; {
		i := bytes.IndexByte(b[from:n], '\n')
		if i < 0 {
			break
		}
		from += i + 1
		l.feeds = append(l.feeds, l.read+int64(from))
	}
	const most = 1 << 20
	if len(l.feeds) > most {
		half := len(l.feeds) / 2
		l.before, l.last = l.before+half, l.feeds[half-1]
		l.feeds = append(l.feeds[:0], l.feeds[half:]...)
	}
	l.read += int64(n)
	if err != nil && err != io.EOF {
		l.failed = err
	}
	return n, err
}

// place returns the line and column of an offset.
func (l *lines) place(offset int64) (line, col int) {
	i, exact := slices.BinarySearch(l.feeds, offset)
	if exact {
		i++
	}
	start := l.last
	if i > 0 {
		start = l.feeds[i-1]
	}
	return l.before + i + 1, int(offset-start) + 1
}
