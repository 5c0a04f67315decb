// Package exposition keeps the latest readings of devices and shows them as a page of
// metrics in the text format of Prometheus: what record --listen and monitor --listen
// have at /metrics.
package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"wattrace/cmd/internal/cli"
	"wattrace/sample"
	"wattrace/trace"
)

// ContentType is that of the page.
var ContentType = string(expfmt.NewFormat(expfmt.TypeTextPlain))

// Count is a counter that stands on the page beside those of the devices.
type Count struct {
	Name, Help string
	N          int64
}

// Latest is the latest readings. The zero Latest is ready; it may be used by several
// goroutines at once.
type Latest struct {
	mu      sync.Mutex // never held while anybody is written to
	rows    int64
	devices []device
	places  map[string]int // in devices, by label
}

// device is what is known of one device.
type device struct {
	labels []*dto.LabelPair
	at     trace.Time // of the latest row with a value
	values [sample.NumMetrics]float64
	has    [sample.NumMetrics]bool
}

// Address reads what --listen says. Without a host it is this host alone.
func Address(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n > 65535 {
		return "", cli.Usagef("--listen %q: want HOST:PORT, or :PORT of this host alone", text)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Listen takes the port of an address that Address gave.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, cli.Hint(fmt.Errorf("%s: the port is in use", address), "another --listen HOST:PORT; with port 0 the system chooses one")
	}
	return l, err
}

// Take notes the rows of a batch.
func (l *Latest) Take(b *sample.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows += int64(b.Len())
	for i := range b.Len() {
		device := &b.Devices[b.Device[i]]
		if device.Scope != sample.ScopeRun {
			l.device(device).read(b, i)
		}
	}
}

// device finds a device by its labels, since what has the same must not stand
// twice on a page.
func (l *Latest) device(d *sample.Device) *device {
	key := strings.Join([]string{d.ID, d.Host, string(d.Source), string(d.Scope), strconv.Itoa(d.Index)}, "\x00")
	i, ok := l.places[key]
	if !ok {
		if l.places == nil {
			l.places = map[string]int{}
		}
		i = len(l.devices)
		l.places[key] = i
		l.devices = append(l.devices, device{labels: []*dto.LabelPair{
			label("device", d.ID), label("host", d.Host), label("index", strconv.Itoa(d.Index)), label("scope", string(d.Scope)), label("source", string(d.Source)),
		}})
	}
	return &l.devices[i]
}

// read takes row i. A value stays until there is another, or it could not be read.
func (d *device) read(b *sample.Batch, i int) {
	for failed := range strings.SplitSeq(b.Status[i], ",") {
		name, _, _ := strings.Cut(failed, "=")
		if id, ok := sample.MetricByName(name); ok {
			d.has[id] = false
		}
	}
	for id := range sample.NumMetrics {
		value, ok := b.Float(id, i)
		if n, whole := b.Uint(id, i); whole {
			value, ok = float64(n), true
		}
		if ok {
			d.values[id], d.has[id] = value, true
			d.at = max(d.at, b.Time[i].Add(b.Took[i]))
		}
	}
}

func label(name, value string) *dto.LabelPair {
	value = strings.ToValidUTF8(value, "?")
	return &dto.LabelPair{Name: &name, Value: &value}
}

// Page returns the page: a metric of each column that has values, and some of the
// recording. clock is that of the readings.
func (l *Latest) Page(clock trace.Clock, counts ...Count) ([]byte, error) {
	l.mu.Lock()
	rows, devices := l.rows, slices.Clone(l.devices)
	l.mu.Unlock()
	var page bytes.Buffer
	encoder := expfmt.NewEncoder(&page, expfmt.Format(ContentType))
	counts = append([]Count{{"wattrace_rows_total", "rows of the recording", rows}}, counts...)
	for _, f := range families(clock, devices, counts) {
		if err := encoder.Encode(f); err != nil {
			return nil, err
		}
	}
	return page.Bytes(), nil
}

func families(clock trace.Clock, devices []device, counts []Count) (all []*dto.MetricFamily) {
	read := family("wattrace_last_reading_timestamp_seconds", "when the device was last read, by the wall clock", sample.Gauge)
	for id := range sample.NumMetrics {
		f := family(promName(id), sample.Metrics[id].Doc, sample.Metrics[id].Kind)
		for i := range devices {
			if d := &devices[i]; d.has[id] {
				add(f, d.labels, d.values[id])
			}
		}
		if len(f.Metric) > 0 {
			all = append(all, f)
		}
	}
	for i := range devices {
		if devices[i].at > 0 {
			add(read, devices[i].labels, float64(clock.Wall(devices[i].at).UnixMicro())/1e6)
		}
	}
	if len(read.Metric) > 0 {
		all = append(all, read)
	}
	for _, c := range counts {
		f := family(c.Name, c.Help, sample.Counter)
		add(f, nil, float64(c.N))
		all = append(all, f)
	}
	return all
}

func family(name, help string, kind sample.Kind) *dto.MetricFamily {
	t := dto.MetricType_GAUGE
	if kind == sample.Counter {
		t = dto.MetricType_COUNTER
	}
	return &dto.MetricFamily{Name: &name, Help: &help, Type: &t}
}

func add(f *dto.MetricFamily, labels []*dto.LabelPair, v float64) {
	m := &dto.Metric{Label: labels}
	if f.GetType() == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &v}
	} else {
		m.Gauge = &dto.Gauge{Value: &v}
	}
	f.Metric = append(f.Metric, m)
}

// promName returns a metric's name by Prometheus's rules: its unit last, ratio for
// a share, and total after that for a counter. A number of requests has no unit.
func promName(id sample.MetricID) string {
	m := sample.Metrics[id]
	name := "wattrace_" + m.Name
	switch {
	case m.Kind == sample.Counter:
		name += "_total"
	case m.Unit == "1" && m.Kind == sample.Gauge && id != sample.RequestsRunning && id != sample.RequestsWaiting:
		name += "_ratio"
	}
	return name
}
