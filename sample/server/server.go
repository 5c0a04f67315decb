package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/sample/scrape"
	"wattrace/trace"
)

// Options say what is fetched.
type Options struct {
	Kind     sample.SourceName // VLLM, SGLang or TRTLLM
	URL      string            // of the server, or of its page
	Interval time.Duration     // between two fetches; 0 is scrape.DefaultInterval
	Now      func() trace.Time // stamps the rows
	Failed   func(error)       // told of the first fetch that fails, and of the first after one that did not; may be nil
}

// kind is where a kind of server has what.
type kind struct {
	path   string // of the page
	prefix string // of its metrics
	names  map[sample.MetricID][]string
}

var kinds = map[sample.SourceName]kind{
	sample.VLLM: {"/metrics", "vllm", map[sample.MetricID][]string{
		sample.RequestsRunning:    {"num_requests_running"},
		sample.RequestsWaiting:    {"num_requests_waiting"},
		sample.KVCacheUtilization: {"kv_cache_usage_perc", "gpu_cache_usage_perc"},
		sample.PromptTokens:       {"prompt_tokens_total", "prompt_tokens"},
		sample.GenerationTokens:   {"generation_tokens_total", "generation_tokens"},
	}},
	sample.SGLang: {"/metrics", "sglang", map[sample.MetricID][]string{
		sample.RequestsRunning:    {"num_running_reqs"},
		sample.RequestsWaiting:    {"num_queue_reqs"},
		sample.KVCacheUtilization: {"token_usage"},
		sample.PromptTokens:       {"prompt_tokens_total", "prompt_tokens"},
		sample.GenerationTokens:   {"generation_tokens_total", "generation_tokens"},
	}},
	sample.TRTLLM: {"/prometheus/metrics", "trtllm", map[sample.MetricID][]string{
		sample.RequestsRunning:    {"num_requests_running"},
		sample.RequestsWaiting:    {"num_requests_waiting"},
		sample.KVCacheUtilization: {"kv_cache_utilization"},
		sample.PromptTokens:       {"prompt_tokens_total", "prompt_tokens"},
		sample.GenerationTokens:   {"generation_tokens_total", "generation_tokens"},
	}},
}

// drain is the fragment of a URL that allows to read what reading takes away.
const drain = "drain"

// Feed is the pages of a server.
type Feed struct {
	opt    Options
	kind   kind
	page   *url.URL
	steps  *url.URL // the iterations of trtllm-serve; nil is not asked for
	energy *url.URL // nil: it has none
	client *scrape.Client

	device  sample.Device
	known   bool // the server has answered
	failing bool
	last    error // of the fetches so far that failed, the latest
}

var _ sample.Feed = (*Feed)(nil)

// Open returns a feed. Nothing is fetched before it runs.
func Open(o Options) (*Feed, error) {
	k, ok := kinds[o.Kind]
	if !ok {
		return nil, fmt.Errorf("%s is no kind of server", o.Kind)
	}
	u, err := scrape.ParseURL(o.URL, k.path)
	if err != nil {
		return nil, err
	}
	if o.Interval == 0 {
		o.Interval = scrape.DefaultInterval
	}
	host := scrape.Host(u)
	f := &Feed{opt: o, kind: k, page: u, client: scrape.NewClient(o.Interval), device: sample.Device{
		ID: fmt.Sprintf("%s:%s:%s", o.Kind, host, scrape.Port(u)), Host: host, Source: o.Kind, Scope: sample.ScopeServer,
	}}
	switch {
	case u.Fragment != "" && (u.Fragment != drain || o.Kind != sample.TRTLLM):
		return nil, fmt.Errorf("#%s: only #%s of trtllm means something", u.Fragment, drain)
	case o.Kind == sample.TRTLLM:
		f.energy = u.JoinPath()
		f.energy.Path, f.energy.Fragment = strings.TrimSuffix(u.Path, k.path)+"/energy_metrics", ""
		if u.Fragment == drain {
			f.steps = u.JoinPath()
			f.steps.Path, f.steps.Fragment = strings.TrimSuffix(u.Path, k.path)+"/metrics", ""
		}
	}
	return f, nil
}

// Info describes the feed.
func (f *Feed) Info() sample.Info {
	list := slices.Sorted(maps.Keys(f.kind.names))
	if f.energy != nil {
		list = append(list, sample.EnergyJoules)
	}
	return sample.Info{Source: f.opt.Kind, Metrics: list, Interval: f.opt.Interval, SlowInterval: f.opt.Interval}
}

// Close implements sample.Feed.
func (f *Feed) Close() error {
	f.client.Close()
	return nil
}

// Run implements sample.Feed. It fails if there is a page, and it is of no such
// server, or if all fetches failed.
func (f *Feed) Run(ctx context.Context, in *sample.Inbox) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sample.Every(ctx, f.opt.Now, f.opt.Interval, func(trace.Time) {
		if err = f.fetch(ctx, in); err != nil {
			cancel()
		}
	})
	if err == nil && !f.known && f.last != nil {
		err = fmt.Errorf("%s:%s: there was no page: %w", f.opt.Kind, f.page.Redacted(), f.last)
	}
	return err
}

// fetch asks for the energy last: the other page names the model, and a device's
// name must be known by its first row.
func (f *Feed) fetch(ctx context.Context, in *sample.Inbox) error {
	err := f.fetchPage(ctx, in)
	if err == nil && f.energy != nil {
		f.fetchEnergy(ctx, in)
	}
	return err
}

func (f *Feed) fetchPage(ctx context.Context, in *sample.Inbox) error {
	at := f.opt.Now()
	values, name, err := f.fetchValues(ctx)
	took := f.opt.Now().Sub(at)
	var fatal *fatalError
	switch {
	case ctx.Err() != nil: // the end of the run is no failure
		return nil
	case errors.As(err, &fatal) && !f.known:
		return fmt.Errorf("%s:%s: %w", f.opt.Kind, f.page.Redacted(), fatal.error)
	case err != nil:
		if !f.failing && f.opt.Failed != nil {
			f.opt.Failed(fmt.Errorf("%s:%s: %w", f.opt.Kind, f.page.Redacted(), err))
		}
		f.failing, f.last = true, err
		if f.known {
			in.Add(f.device, at, took, func(row sample.Row) { row.Fail(sample.GenerationTokens, scrape.Status(err)) })
		}
		return nil
	}
	f.failing = false
	f.meet(name)
	if len(values) == 0 {
		return nil
	}
	in.Add(f.device, at, took, func(row sample.Row) {
		for _, id := range slices.Sorted(maps.Keys(values)) {
			if sample.Metrics[id].Type == sample.Uint64 {
				row.SetUint(id, uint64(values[id]))
			} else {
				row.Set(id, values[id])
			}
		}
	})
	return nil
}

// meet notes that the server has answered, and what its model is called if that
// is known by then: a device must not change.
func (f *Feed) meet(model string) {
	if !f.known {
		f.device.Name = model
	}
	f.known = true
}

// fatalError is of a page that will never be the right one.
type fatalError struct{ error }

func (*fatalError) Is(target error) bool { return target == scrape.ErrBadPage }

// fetchValues returns what the server's pages say, and the name of its model.
func (f *Feed) fetchValues(ctx context.Context) (values map[sample.MetricID]float64, model string, err error) {
	if f.steps != nil {
		body, err := f.client.Fetch(ctx, f.steps, "application/json")
		if err != nil {
			return nil, "", err
		}
		if values, err = iterations(body); err != nil {
			return nil, "", &fatalError{fmt.Errorf("%s is no list of iterations: %w", f.steps.Redacted(), err)}
		}
	}
	body, err := f.client.Fetch(ctx, f.page, scrape.Text)
	var status scrape.StatusError
	if errors.As(err, &status) && status == http.StatusNotFound && f.opt.Kind == sample.TRTLLM && (f.steps != nil || f.known) {
		return values, "", nil // what there is will do
	}
	if err != nil {
		return nil, "", err
	}
	if !bytes.Contains(body, []byte(f.kind.prefix)) {
		return nil, "", &fatalError{fmt.Errorf("the page has no metric of %s", f.opt.Kind)}
	}
	page, err := scrape.Parse(body)
	if err != nil {
		return nil, "", err
	}
	if values == nil {
		values = map[sample.MetricID]float64{}
	}
	for id, names := range f.kind.names {
		for _, name := range names {
			series := slices.Concat(page[f.kind.prefix+":"+name], page[f.kind.prefix+"_"+name])
			if v, ok := combine(id, series); ok {
				values[id] = v
				break
			}
		}
	}
	return values, modelOf(page), nil
}

// combine makes one value of the series of a metric.
func combine(id sample.MetricID, series []scrape.Sample) (v float64, ok bool) {
	whole := slices.ContainsFunc(series, func(s scrape.Sample) bool { return s.Labels["priority"] == "" })
	n := 0
	for _, s := range series {
		follower := func(label string) bool { rank := s.Labels[label]; return rank != "" && rank != "0" }
		if s.Value < 0 || follower("tp_rank") || follower("pp_rank") || whole && s.Labels["priority"] != "" {
			continue
		}
		v += s.Value
		n++
	}
	if id == sample.KVCacheUtilization && n > 0 {
		v /= float64(n)
	}
	return v, n > 0
}

// modelOf returns the model's name that comes first, since a server may have
// adapters beside it; "undefined" is none.
func modelOf(page scrape.Page) (model string) {
	for _, list := range page {
		for _, s := range list {
			if m := s.Labels["model_name"]; m != "" && m != "undefined" && (model == "" || m < model) {
				model = m
			}
		}
	}
	return model
}

// iterations returns the latest of trtllm-serve's iterations; of none it is empty.
func iterations(body []byte) (map[sample.MetricID]float64, error) {
	var list []struct {
		Active *float64 `json:"numActiveRequests"`
		Queued *float64 `json:"numQueuedRequests"`
		KV     struct {
			Used float64 `json:"usedNumBlocks"`
			Max  float64 `json:"maxNumBlocks"`
		} `json:"kvCacheStats"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	values := map[sample.MetricID]float64{}
	if len(list) == 0 {
		return values, nil
	}
	last := list[len(list)-1]
	if last.Active != nil {
		values[sample.RequestsRunning] = *last.Active
	}
	if last.Queued != nil {
		values[sample.RequestsWaiting] = *last.Queued
	}
	if last.KV.Max > 0 {
		values[sample.KVCacheUtilization] = last.KV.Used / last.KV.Max
	}
	return values, nil
}

// fetchEnergy asks for the energy; a server that has no such page is not asked
// again.
func (f *Feed) fetchEnergy(ctx context.Context, in *sample.Inbox) {
	at := f.opt.Now()
	body, err := f.client.Fetch(ctx, f.energy, "application/json")
	took := f.opt.Now().Sub(at)
	var status scrape.StatusError
	var answer struct {
		Joules *float64 `json:"total_energy_j"`
	}
	reason := ""
	switch {
	case ctx.Err() != nil:
		return
	case errors.As(err, &status) && status == http.StatusNotFound:
		f.energy = nil
		return
	case err != nil:
		reason = scrape.Status(err)
	case json.Unmarshal(body, &answer) != nil || answer.Joules == nil || *answer.Joules < 0:
		reason = "BAD_PAGE"
	}
	if reason == "" {
		f.meet("")
	}
	if !f.known {
		return // the other page says why
	}
	in.Add(f.device, at, took, func(row sample.Row) {
		if reason != "" {
			row.Fail(sample.EnergyJoules, reason)
		} else {
			row.Set(sample.EnergyJoules, *answer.Joules)
		}
	})
}
