package peers

import (
	"math"
	"slices"
	"testing"
	"time"

	"wattrace/trace"
)

const sec = trace.Time(time.Second)

// at is an instant in seconds.
func at(seconds float64) trace.Time { return trace.Time(math.Round(seconds * 1e9)) }

// span is a profiling window from a to b seconds at a concurrency of 4.
func span(a, b float64) Window {
	return Window{Name: "profiling", Start: trace.Some(at(a)), End: trace.Some(at(b)), Concurrency: 4, Profiling: true}
}

func newPeer(t testing.TB, tool string, opt Options, windows ...Window) *Peer {
	t.Helper()
	p, err := New(tool, windows, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// point is a reading: at so many seconds, a value.
type point struct{ at, value float64 }

// counter reads a counter of joules through NVML.
func counter(p *Peer, id string, points ...point) {
	d := p.Device(DeviceInfo{ID: id, Source: "nvml"})
	for _, x := range points {
		d.Read(Sample{At: at(x.at), Joules: trace.Some(x.value)})
	}
}

// gauge reads power through NVML.
func gauge(p *Peer, id string, points ...point) {
	d := p.Device(DeviceInfo{ID: id, Source: "nvml"})
	for _, x := range points {
		d.Read(Sample{At: at(x.at), Watts: trace.Some(x.value)})
	}
}

// streamed is a request that succeeded: sent, first and last token and end in seconds.
func streamed(sent, first, last, done float64, in, out int64) *trace.Request {
	return &trace.Request{
		Sent: at(sent), FirstToken: trace.Some(at(first)), LastToken: trace.Some(at(last)), Done: at(done),
		Outcome: trace.Succeeded, InputTokens: trace.Some(in), OutputTokens: trace.Some(out), TokenSource: trace.FromUsage,
	}
}

func requests(list ...*trace.Request) *Requests {
	r := &Requests{}
	for _, q := range list {
		r.Add(q)
	}
	return r
}

// check compares figures by name with what they should be, and the names in absent
// with what is there.
func check(t *testing.T, res Result, want map[string]float64, absent ...string) {
	t.Helper()
	for name, v := range want {
		f, ok := res.Figure(name)
		if !ok {
			t.Errorf("no %s; omitted: %v", name, res.Omitted)
		} else if math.Abs(f.Value-v) > 1e-9*max(math.Abs(v), 1) {
			t.Errorf("%s is %v, want %v", name, f.Value, v)
		}
	}
	for _, name := range absent {
		if f, ok := res.Figure(name); ok {
			t.Errorf("%s is %v, want none", name, f.Value)
		}
		if !slices.ContainsFunc(res.Omitted, func(o Omission) bool { return o.Name == name && o.Why != "" }) {
			t.Errorf("nothing says why there is no %s", name)
		}
	}
}

// names are those of a result's figures.
func names(res Result) []string {
	var list []string
	for _, f := range res.Figures {
		list = append(list, f.Name)
	}
	return list
}
