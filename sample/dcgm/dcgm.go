package dcgm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"wattrace/sample"
	"wattrace/sample/dcgm/fields"
	"wattrace/sample/scrape"
	"wattrace/trace"
)

// Options say what is fetched.
type Options struct {
	URL      string            // of the page; http:// and /metrics go without saying
	Interval time.Duration     // between two fetches; 0 is scrape.DefaultInterval
	Now      func() trace.Time // stamps the rows
	Failed   func(error)       // told of the first fetch that fails, and of the first after one that did not; may be nil
}

// Feed is an exporter's page.
type Feed struct {
	opt    Options
	url    *url.URL
	host   string
	client *scrape.Client

	known   []*known // in order of appearance
	byID    map[identity]*known
	groups  map[string]*group
	pages   int // that were read
	failing bool
	last    error // of the fetches so far that failed, the latest

	mu      sync.Mutex // guards what follows
	between []time.Duration
}

var _ sample.Feed = (*Feed)(nil)

// known is a device that was seen.
type known struct {
	device sample.Device // as it was first, since rows must agree
	group  string
	xids   map[string]uint64
	seen   bool // on the page at hand
}

// group is what the exporter reads together.
type group struct {
	values  []reading  // of the last page
	fetched trace.Time // when the fetch of that began
	changed trace.Time // end of the fetch that last showed other values
	moved   bool       // that was not the first page
}

// reading is a value that tells one state of the page from another.
type reading struct {
	identity
	metric sample.MetricID
	value  float64
}

// Open returns a feed. Nothing is fetched before it runs.
func Open(o Options) (*Feed, error) {
	u, err := scrape.ParseURL(o.URL, "/metrics")
	if err != nil {
		return nil, err
	}
	if o.Interval == 0 {
		o.Interval = scrape.DefaultInterval
	}
	return &Feed{opt: o, url: u, host: scrape.Host(u), client: scrape.NewClient(o.Interval), byID: map[identity]*known{}, groups: map[string]*group{}}, nil
}

// Info describes the feed. The intervals are those of the fetches; see Refresh.
func (f *Feed) Info() sample.Info {
	return sample.Info{Source: sample.DCGM, API: "dcgm-exporter", Metrics: fields.Metrics(), Interval: f.opt.Interval, SlowInterval: f.opt.Interval}
}

// Close implements sample.Feed.
func (f *Feed) Close() error {
	f.client.Close()
	return nil
}

// Refresh returns the median time between pages that differ; false before there
// were three. It may be called while the feed runs.
func (f *Feed) Refresh() (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.between) < 2 {
		return 0, false
	}
	sorted := slices.Clone(f.between)
	slices.Sort(sorted)
	return sorted[len(sorted)/2], true
}

// Run implements sample.Feed. It fails if there is a page and it is none of DCGM's, or
// if all fetches failed.
func (f *Feed) Run(ctx context.Context, in *sample.Inbox) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sample.Every(ctx, f.opt.Now, f.opt.Interval, func(at trace.Time) {
		if err = f.fetch(ctx, in, at); err != nil {
			cancel()
		}
	})
	if err == nil && f.pages == 0 && f.last != nil {
		err = fmt.Errorf("dcgm:%s: there was no page: %w", f.url.Redacted(), f.last)
	}
	return err
}

func (f *Feed) fetch(ctx context.Context, in *sample.Inbox, at trace.Time) error {
	body, err := f.client.Fetch(ctx, f.url, scrape.Text)
	done := f.opt.Now()
	if ctx.Err() != nil {
		return nil // the end of the run is no failure
	}
	var page scrape.Page
	if err == nil {
		if f.pages == 0 && !bytes.Contains(body, []byte("DCGM_")) {
			return fmt.Errorf("dcgm:%s: %w", f.url.Redacted(), errNotDCGM)
		}
		page, err = scrape.Parse(body)
	}
	if err != nil {
		f.fail(in, at, done.Sub(at), err)
		return nil
	}
	f.pages++
	f.failing = false
	f.take(in, page, at, done)
	return nil
}

var errNotDCGM = errors.New("the page has no metric of DCGM: it is no dcgm-exporter")

// fail notes a fetch that failed.
func (f *Feed) fail(in *sample.Inbox, at trace.Time, took time.Duration, err error) {
	if !f.failing && f.opt.Failed != nil {
		f.opt.Failed(fmt.Errorf("dcgm:%s: %w", f.url.Redacted(), err))
	}
	f.failing, f.last = true, err
	for _, k := range f.known {
		in.Add(k.device, at, took, func(row sample.Row) { row.Fail(sample.PowerWatts, scrape.Status(err)) })
	}
}

// take makes rows of a page that was fetched from at to done.
func (f *Feed) take(in *sample.Inbox, page scrape.Page, at, done trace.Time) {
	for _, k := range f.known {
		k.seen = false
	}
	groups := map[string][]*entity{}
	for _, e := range read(page, f.host) {
		name := e.group()
		groups[name] = append(groups[name], e)
		if k := f.byID[identity{e.device.ID, e.device.Scope}]; k != nil {
			k.seen = true
			continue
		}
		k := &known{device: e.device, group: name, xids: e.xids, seen: true}
		f.known = append(f.known, k)
		f.byID[identity{e.device.ID, e.device.Scope}] = k
		in.Announce(k.device)
	}
	for _, k := range f.known {
		if !k.seen {
			in.Add(k.device, at, done.Sub(at), func(row sample.Row) { row.Fail(sample.PowerWatts, "ABSENT") })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		f.takeGroup(in, name, groups[name], at, done)
	}
}

// takeGroup makes rows of what the exporter read together, if it has read anew.
func (f *Feed) takeGroup(in *sample.Inbox, name string, list []*entity, at, done trace.Time) {
	values := readings(list)
	g := f.groups[name]
	if g == nil {
		f.groups[name] = &group{values: values, fetched: at}
		return
	}
	since, anew := g.fetched, !slices.Equal(g.values, values)
	g.values, g.fetched = values, at
	for _, e := range list {
		f.takeXIDs(in, e, since, done)
	}
	if !anew {
		return
	}
	if g.moved {
		f.mu.Lock()
		const kept = 1 << 12 // an hour of seconds
		f.between = append(f.between[max(0, len(f.between)-kept+1):], done.Sub(g.changed))
		f.mu.Unlock()
	}
	g.changed, g.moved = done, true
	for _, e := range list {
		in.Add(f.byID[identity{e.device.ID, e.device.Scope}].device, since, done.Sub(since), func(row sample.Row) {
			for id := range sample.NumMetrics {
				if e.has[id] {
					set(row, id, e.values[id])
				}
			}
		})
	}
}

// readings returns the power and energy of devices, or all where they have
// neither.
func readings(list []*entity) (values []reading) {
	add := func(wanted func(sample.MetricID) bool) {
		for _, e := range list {
			for id := range sample.NumMetrics {
				if e.has[id] && wanted(id) {
					values = append(values, reading{identity{e.device.ID, e.device.Scope}, id, e.values[id]})
				}
			}
		}
	}
	add(func(id sample.MetricID) bool {
		return id == sample.PowerWatts || id == sample.PowerInstantWatts || id == sample.EnergyJoules
	})
	if len(values) == 0 {
		add(func(sample.MetricID) bool { return true })
	}
	return values
}

// takeXIDs makes a row of each XID that is another than before: the field holds
// the last one there was, for ever.
func (f *Feed) takeXIDs(in *sample.Inbox, e *entity, since, done trace.Time) {
	k := f.byID[identity{e.device.ID, e.device.Scope}]
	for _, instance := range slices.Sorted(maps.Keys(e.xids)) {
		xid := e.xids[instance]
		if xid != 0 && xid != k.xids[instance] {
			in.Add(k.device, since, done.Sub(since), func(row sample.Row) { row.SetUint(sample.XIDError, xid) })
		}
		if k.xids == nil {
			k.xids = map[string]uint64{}
		}
		k.xids[instance] = xid
	}
}
