package page

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// document is a JSON document that is written by hand: a course is mostly numbers.
type document struct {
	b     []byte
	first bool // nothing was written since the last bracket
}

func (d *document) open(bracket byte) {
	d.b = append(d.b, bracket)
	d.first = true
}

func (d *document) close(bracket byte) {
	d.b = append(d.b, bracket)
	d.first = false
}

func (d *document) next() {
	if !d.first {
		d.b = append(d.b, ',')
	}
	d.first = false
}

func (d *document) key(name string) {
	d.next()
	d.b = append(strconv.AppendQuote(d.b, name), ':') // of ours: plain ASCII
	d.first = true
}

// text writes any string, escaped so that it may stand in a script element, too: without
// <, >, & and the line separators of Unicode.
func (d *document) text(s string) {
	d.next()
	quoted, err := json.Marshal(s)
	if err != nil {
		quoted = []byte(`""`) // strings do not fail
	}
	d.b = append(d.b, quoted...)
}

func (d *document) int(v int64) {
	d.next()
	d.b = strconv.AppendInt(d.b, v, 10)
}

func (d *document) float(v float64) {
	d.next()
	if math.IsNaN(v) || math.IsInf(v, 0) {
		d.b = append(d.b, "null"...)
		return
	}
	d.b = strconv.AppendFloat(d.b, v, 'g', -1, 64)
}

// differences writes by how much each value exceeds the one before.
func (d *document) differences(name string, sums []int64) {
	d.key(name)
	d.open('[')
	for i := 1; i < len(sums); i++ {
		d.int(sums[i] - sums[i-1])
	}
	d.close(']')
}

func (d *document) ints(name string, n int, value func(i int) int64) {
	d.key(name)
	d.open('[')
	for i := range n {
		d.int(value(i))
	}
	d.close(']')
}

// runs writes the first and the last index of each run of true.
func (d *document) runs(name string, list []bool) {
	d.key(name)
	d.open('[')
	for i := 0; i < len(list); i++ {
		if !list[i] {
			continue
		}
		d.int(int64(i))
		for i+1 < len(list) && list[i+1] {
			i++
		}
		d.int(int64(i))
	}
	d.close(']')
}

// watts writes readings in tenths.
func (d *document) watts(name string, list []float64) {
	d.key(name)
	d.open('[')
	for _, v := range list {
		d.float(math.Round(v * 10))
	}
	d.close(']')
}

// courseData returns the data of a course, as the package comment says.
func courseData(c *reduce.Course, perToken bool) []byte {
	d := &document{b: make([]byte, 0, 1<<20)}
	d.open('{')
	d.key("unix")
	if c.Unix != 0 {
		d.text(strconv.FormatInt(c.Unix, 10))
	} else {
		d.text("")
	}
	d.key("step")
	d.int(int64(c.Step))
	d.key("n")
	d.int(int64(c.Steps))
	d.key("perToken")
	d.next()
	d.b = strconv.AppendBool(d.b, perToken)
	d.key("phases")
	d.open('[')
	for _, ph := range c.Phases {
		d.next()
		d.open('{')
		d.key("n")
		d.text(short(ph.Name))
		d.key("k")
		d.text(ph.Kind)
		d.key("a")
		d.float(ph.Start.Sub(c.Origin).Seconds())
		d.key("b")
		d.float(ph.End.Or(c.Origin.Add(time.Duration(c.Steps) * c.Step)).Sub(c.Origin).Seconds())
		d.close('}')
	}
	d.close(']')
	d.key("devices")
	d.open('[')
	for i := range c.Devices {
		d.device(c, &c.Devices[i])
	}
	d.close(']')
	if c.HasLog {
		d.differences("out", c.Output)
		d.runs("unk", c.Unknown)
		d.ints("busy", c.Steps, func(i int) int64 { return (c.Busy[i]*1000 + int64(c.Step)/2) / int64(c.Step) })
		d.ints("sent", c.Steps, func(i int) int64 { return c.Sent[i] })
		d.requests(c)
	}
	d.close('}')
	return d.b
}

func (d *document) device(c *reduce.Course, v *reduce.CourseDevice) {
	d.next()
	d.open('{')
	for _, kv := range [][2]string{{"name", deviceName(v.Host, string(v.Scope), v.Index)}, {"model", short(v.Name)}, {"scope", string(v.Scope)}, {"role", short(v.Role)}} {
		d.key(kv[0])
		d.text(kv[1])
	}
	if v.Sensor != nil {
		d.key("doubt")
		d.next()
		doubt, _ := json.Marshal(v.Sensor)
		d.b = append(d.b, doubt...)
	}
	if v.Energy != nil {
		d.differences("e", v.Energy)
		d.runs("in", v.Inside)
		d.key("cov")
		d.open('{')
		for i := range c.Steps {
			if n := v.Covered[i+1] - v.Covered[i]; n != int64(c.Step) && (v.Inside[i] || v.Inside[i+1] || n != 0) {
				d.key(strconv.Itoa(i))
				d.int(n)
			}
		}
		d.close('}')
	}
	if v.Low != nil {
		d.watts("lo", v.Low)
		d.watts("hi", v.High)
		falling := make([]byte, len(v.Falling))
		for i, f := range v.Falling {
			falling[i] = '0'
			if f {
				falling[i] = '1'
			}
		}
		d.key("f")
		d.text(string(falling))
	}
	if v.Limit != nil {
		d.key("lim")
		d.open('[')
		last := math.Inf(1)
		for i, w := range v.Limit {
			if w = math.Round(w*10) / 10; w != last && !(math.IsNaN(w) && math.IsNaN(last)) {
				d.int(int64(i))
				d.float(w)
			}
			last = w
		}
		d.close(']')
	}
	if v.Throttled != nil {
		d.key("thr")
		d.open('{')
		for i, share := range v.Throttled {
			if share > 0 {
				d.key(strconv.Itoa(i))
				d.int(int64(math.Ceil(share * 100)))
			}
		}
		d.close('}')
	}
	d.close('}')
}

// tick is the unit of instants of requests.
const tick = 100 * time.Microsecond

func (d *document) requests(c *reduce.Course) {
	n := len(c.Requests)
	since := func(t trace.Time) int64 { return int64(math.Round(float64(t.Sub(c.Origin)) / float64(tick))) }
	d.key("req")
	d.open('{')
	d.ints("s", n, func(i int) int64 {
		at := since(c.Requests[i].Sent)
		if i > 0 {
			at -= since(c.Requests[i-1].Sent)
		}
		return at
	})
	d.ints("p", n, func(i int) int64 {
		q := &c.Requests[i]
		if first, ok := q.FirstToken.Get(); ok {
			return since(first) - since(q.Sent)
		}
		return -1
	})
	d.ints("d", n, func(i int) int64 { return since(c.Requests[i].Done) - since(c.Requests[i].Sent) })
	d.ints("l", n, func(i int) int64 { return int64(c.Requests[i].Lane) })
	outcomes := make([]byte, n)
	for i := range c.Requests {
		switch c.Requests[i].Outcome {
		case trace.Failed:
			outcomes[i] = 'f'
		case trace.Cancelled:
			outcomes[i] = 'c'
		default:
			outcomes[i] = 's'
		}
	}
	d.key("o")
	d.text(string(outcomes))
	d.key("lanes")
	d.int(int64(c.Lanes))
	d.key("thinned")
	d.int(int64(c.Thinned))
	d.close('}')
}

// deviceName says which device, as reports do.
func deviceName(host, scope string, index int) string {
	what := scope
	if scope == string(sample.ScopeGPU) || scope == "" {
		what = "GPU"
	}
	if host != "" {
		what = short(host) + " " + what
	}
	return what + " " + strconv.Itoa(index)
}

// mostText is how long names may be on a page, in characters.
const mostText = 80

// short cuts a name that is very long.
func short(s string) string {
	r := []rune(s)
	if len(r) <= mostText {
		return s
	}
	return string(r[:mostText-1]) + "…"
}
