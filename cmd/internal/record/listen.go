package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"wattrace/cmd/internal/cli"
	"wattrace/sample"
	"wattrace/trace"
)

// live shows the latest readings to whoever asks (--listen).
type live struct {
	sampler *sample.Sampler
	server  *http.Server
	url     string

	mu      sync.Mutex // guards what follows; never held while anybody is written to
	rows    int64
	devices []liveDevice
	places  map[string]int // in devices, by label
}

// liveDevice is what is known of one device.
type liveDevice struct {
	labels []*dto.LabelPair
	at     trace.Time // of the latest row with a value
	values [sample.NumMetrics]float64
	has    [sample.NumMetrics]bool
}

// listenAddress reads --listen. Without a host it is this host alone.
func listenAddress(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n > 65535 {
		return "", cli.Usagef("--listen %q: want HOST:PORT, or :PORT of this host alone", text)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// listen takes the port and answers on it from then on.
func listen(address string, s *sample.Sampler) (*live, error) {
	address, err := listenAddress(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, cli.Hint(fmt.Errorf("%s: the port is in use", address), "another --listen HOST:PORT; with port 0 the system chooses one")
	}
	if err != nil {
		return nil, err
	}
	v := &live{sampler: s, places: map[string]int{}, url: "http://" + l.Addr().String() + "/metrics"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", v.page)
	v.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	go v.server.Serve(l)
	return v, nil
}

func (v *live) close() { v.server.Close() }

// take notes the rows of a batch.
func (v *live) take(b *sample.Batch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rows += int64(b.Len())
	for i := range b.Len() {
		device := &b.Devices[b.Device[i]]
		if device.Scope != sample.ScopeRun {
			v.device(device).read(b, i)
		}
	}
}

// device finds a device by its labels, since what has the same must not stand
// twice on a page.
func (v *live) device(d *sample.Device) *liveDevice {
	key := strings.Join([]string{d.ID, d.Host, string(d.Source), string(d.Scope), strconv.Itoa(d.Index)}, "\x00")
	i, ok := v.places[key]
	if !ok {
		i = len(v.devices)
		v.places[key] = i
		v.devices = append(v.devices, liveDevice{labels: []*dto.LabelPair{
			label("device", d.ID), label("host", d.Host), label("index", strconv.Itoa(d.Index)), label("scope", string(d.Scope)), label("source", string(d.Source)),
		}})
	}
	return &v.devices[i]
}

// read takes row i. A value stays until there is another, or it could not be read.
func (d *liveDevice) read(b *sample.Batch, i int) {
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

// page writes the page. What is written is made first, so that a reader that is slow
// holds up nobody.
func (v *live) page(w http.ResponseWriter, _ *http.Request) {
	v.mu.Lock()
	rows, devices := v.rows, slices.Clone(v.devices)
	v.mu.Unlock()
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	var page bytes.Buffer
	encoder := expfmt.NewEncoder(&page, format)
	for _, f := range v.families(rows, devices) {
		if err := encoder.Encode(f); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", string(format))
	w.Write(page.Bytes())
}

// families returns what the page has: a metric of each column that has values, and
// some of the recording.
func (v *live) families(rows int64, devices []liveDevice) (all []*dto.MetricFamily) {
	clock := v.sampler.Clock.Clock()
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
	count := func(name, help string, n int64) {
		f := family(name, help, sample.Counter)
		add(f, nil, float64(n))
		all = append(all, f)
	}
	count("wattrace_rows_total", "rows of the recording", rows)
	count("wattrace_missed_ticks_total", "readings that were due and left out", v.sampler.Stats().Missed)
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
