package nvidiasmi

import (
	"context"
	"io"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Feed reads a log while nvidia-smi writes it.
//
// A row is placed on the steady clock by its own stamp, so that it does not
// matter how long it waited in the pipe: nvidia-smi must run on this host, in
// the same time zone. It was read after that stamp, before it arrived, before
// nvidia-smi began the device's next row, and within 100 ms, which is taken for
// the most that a row takes: Took is the time until the earliest of these, at least
// the stamp's resolution of a millisecond. So a row is handed on when the next
// one has come.
//
// A line that cannot be read ends the feed.
type Feed struct {
	from  io.ReadCloser
	name  string
	clock *trace.SteadyClock
}

var _ sample.Feed = (*Feed)(nil)

// NewFeed returns a feed of a log. name is for errors; Close closes r.
func NewFeed(r io.ReadCloser, name string, clock *trace.SteadyClock) *Feed {
	return &Feed{r, name, clock}
}

// Info describes the feed.
func (f *Feed) Info() sample.Info {
	return sample.Info{Source: Source, API: "nvidia-smi --query-gpu", Metrics: metrics()}
}

// metrics lists what a log may have.
func metrics() []sample.MetricID {
	var has [sample.NumMetrics]bool
	for _, c := range known {
		if c.role == metric {
			has[c.id] = true
		}
	}
	var all []sample.MetricID
	for id := range sample.NumMetrics {
		if has[id] {
			all = append(all, id)
		}
	}
	return all
}

const (
	stampResolution = time.Millisecond // of nvidia-smi's timestamps, which are cut off
	longestRow      = 100 * time.Millisecond
)

// held is the latest row of a device.
type held struct {
	at, arrived trace.Time
	values      []value
	interval    time.Duration // since the row before; 0 is that there was none
}

// Run reads the log until it ends, ctx is done or a line cannot be read.
func (f *Feed) Run(ctx context.Context, in *sample.Inbox) error {
	r := newReader(f.name, Options{Location: time.Local, Host: f.clock.Clock().Host})
	r.begun = true // times are since 1970
	var latest []held
	add := func(device int, until trace.Time) {
		h := &latest[device]
		took := max(min(min(h.arrived, until).Sub(h.at), longestRow), stampResolution)
		in.Add(r.head.Devices[device], h.at, took, func(row sample.Row) {
			for i := range h.values {
				h.values[i].set(row)
			}
		})
	}
	err := sample.Lines(ctx, f.from, f.name, f.clock.Now, func(line []byte, arrived trace.Time) error {
		if r.columns == nil {
			return r.begin(line)
		}
		r.next.Reset()
		if err := r.row(line); err != nil || r.next.Len() == 0 {
			return err
		}
		at, err := sample.FromWall(f.clock, time.Unix(0, int64(r.next.Time[0])), arrived)
		if err != nil {
			return err
		}
		device := int(r.next.Device[0])
		if device == len(latest) {
			in.Announce(r.head.Devices[device])
			latest = append(latest, held{})
		} else {
			add(device, at)
			latest[device].interval = at.Sub(latest[device].at)
		}
		h := &latest[device]
		h.at, h.arrived, h.values = at, arrived, append(h.values[:0], r.scratch...)
		return nil
	})
	for device, h := range latest {
		until := h.arrived
		if h.interval > 0 { // the next row would have come about then
			until = h.at.Add(h.interval)
		}
		add(device, until)
	}
	return err
}

// Close closes what the feed reads.
func (f *Feed) Close() error { return f.from.Close() }
