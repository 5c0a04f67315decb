package sample

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// bubble returns hooks for a synctest bubble.
func bubble() *hooks {
	start := time.Now()
	return &hooks{
		now: func() trace.Time { return trace.Time(time.Since(start)) },
		wait: func(ctx context.Context) (func(trace.Time), func()) {
			return func(until trace.Time) {
				select {
				case <-time.After(time.Duration(until) - time.Since(start)):
				case <-ctx.Done():
				}
			}, func() {}
		},
	}
}

// feedFunc is a feed that a test writes as a function.
type feedFunc func(ctx context.Context, in *Inbox) error

func (f feedFunc) Info() Info                               { return Info{} }
func (f feedFunc) Run(ctx context.Context, in *Inbox) error { return f(ctx, in) }
func (f feedFunc) Close() error                             { return nil }

// TestSlowUnitDelaysNoOther has a device whose calls take 250 ms, beside one
// whose take 1 ms.
func TestSlowUnitDelaysNoOther(t *testing.T) {
	src := &fakeSource{n: 2, delay: func(device int, _ bool) time.Duration { return []time.Duration{250 * ms, ms}[device] }}
	s := &Sampler{Sources: []Source{src}, Interval: 100 * ms}
	stats, rows, err := runFor(t, s, 1050*ms, nil)
	if err != nil {
		t.Fatal(err)
	}
	var at [2][]time.Duration
	for _, r := range rows {
		at[r.Device] = append(at[r.Device], r.At)
	}
	want := [2][]time.Duration{
		{0, 300 * ms, 600 * ms, 900 * ms, 1150 * ms},
		{0, 100 * ms, 200 * ms, 300 * ms, 400 * ms, 500 * ms, 600 * ms, 700 * ms, 800 * ms, 900 * ms, 1000 * ms, 1050 * ms},
	}
	if diff := gocmp.Diff(want, at); diff != "" {
		t.Error(diff)
	}
	if a, b := stats.Units[0], stats.Units[1]; a.Ticks != 4 || a.Missed != 8 || b.Ticks != 11 || b.Missed != 0 || b.LatenessMax != 0 || a.ReadMax != 250*ms {
		t.Errorf("%+v", stats.Units)
	}
}

// TestStuckUnitEndsWithTheRun has a device whose call never returns: the rows of
// the other are all there, and the run ends.
func TestStuckUnitEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{n: 2, delay: func(device int, _ bool) time.Duration {
			if device == 0 {
				time.Sleep(time.Hour)
			}
			return 0
		}}
		s := &Sampler{Sources: []Source{src}, Interval: 100 * ms, hooks: bubble()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second+50*ms)
		defer cancel()
		rows := 0
		stats, err := s.Run(ctx, func(b *Batch) error { rows += b.Len(); return nil })
		if err != nil || rows != 12 || !stats.Units[0].Stuck || stats.Units[1].Stuck || time.Duration(s.hooks.now()) != time.Second+50*ms+endPatience {
			t.Errorf("%d rows, %+v, %v at %v", rows, stats, err, s.hooks.now())
		}
		time.Sleep(3 * time.Hour) // a bubble must not leave it behind
	})
}

// TestUnitsAreReadTogether has one call for three devices.
func TestUnitsAreReadTogether(t *testing.T) {
	src := &fakeSource{n: 3, together: true, delay: func(int, bool) time.Duration { return ms }}
	stats, rows, err := runFor(t, &Sampler{Sources: []Source{&fakeSource{n: 1}, src}, Interval: 50 * ms}, 10*ms, nil)
	want := []reading{{0, 0, true}, {0, 1, true}, {0, 2, true}, {0, 3, true}, {10 * ms, 0, true}, {10 * ms, 1, true}, {10 * ms, 2, true}, {10 * ms, 3, true}}
	if diff := gocmp.Diff(want, rows); diff != "" || err != nil || len(stats.Units) != 2 || len(stats.Units[1].Devices) != 3 {
		t.Error(diff, err, stats.Units)
	}
}

type badUnits struct{ fakeSource }

func (badUnits) Units() [][]int { return [][]int{{0}, {0}} }

func TestUnitsAreChecked(t *testing.T) {
	s := &Sampler{Sources: []Source{&badUnits{fakeSource{n: 2}}}, hooks: &hooks{now: func() trace.Time { return 0 }}}
	if _, err := s.Run(t.Context(), nil); err == nil {
		t.Error("a device in two units, and one in none, were taken")
	}
}

// TestFeeds has a source and two feeds, one of which fails: rows come in the
// order of time, devices as they become known, and the failure ends nothing.
func TestFeeds(t *testing.T) {
	type row struct {
		At     time.Duration
		Device string
		Watts  float64
	}
	var rows []row
	var known []int
	var failed error
	synctest.Test(t, func(t *testing.T) {
		hooks := bubble()
		broken := errors.New("broken")
		add := func(in *Inbox, id string, at trace.Time, watts float64) {
			in.Add(Device{ID: id}, at, ms, func(r Row) { r.Set(PowerWatts, watts) })
		}
		feed := feedFunc(func(ctx context.Context, in *Inbox) error {
			in.Announce(Device{ID: "b"})
			time.Sleep(150 * ms)
			add(in, "a", hooks.now(), 1)
			add(in, "b", trace.Time(50*ms), 2) // of before
			<-ctx.Done()
			return nil
		})
		s := &Sampler{
			Sources: []Source{&fakeSource{n: 1}}, Interval: 100 * ms, FlushInterval: 190 * ms, hooks: hooks,
			Feeds:  []Feed{feed, feedFunc(func(context.Context, *Inbox) error { return broken })},
			Failed: func(_ Feed, err error) { failed = err },
		}
		ctx, cancel := context.WithTimeout(t.Context(), 230*ms)
		defer cancel()
		_, err := s.Run(ctx, func(b *Batch) error {
			known = append(known, len(b.Devices))
			for i := range b.Len() {
				watts, _ := b.Float(PowerWatts, i)
				rows = append(rows, row{time.Duration(b.Time[i]), b.Devices[b.Device[i]].ID, watts})
			}
			return nil
		})
		if err != nil || failed != broken {
			t.Error(err, failed)
		}
	})
	want := []row{{0, "", 0}, {50 * ms, "b", 2}, {100 * ms, "", 0}, {150 * ms, "a", 1}, {200 * ms, "", 0}, {230 * ms, "", 0}}
	if diff := gocmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
	if len(known) != 3 || known[1] != 3 || known[2] != 3 {
		t.Error("devices known:", known)
	}
}

// TestFeedsAloneEndTheRun has a pipe that ends.
func TestFeedsAloneEndTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Sampler{hooks: bubble(), Feeds: []Feed{feedFunc(func(_ context.Context, in *Inbox) error {
			for i := range 5 {
				time.Sleep(700 * ms)
				in.Add(Device{ID: "a"}, trace.Time(i), 0, func(r Row) { r.SetUint(MemoryUsedBytes, uint64(i)) })
			}
			return nil
		})}}
		var got []uint64
		stats, err := s.Run(t.Context(), func(b *Batch) error {
			for i := range b.Len() {
				v, _ := b.Uint(MemoryUsedBytes, i)
				got = append(got, v)
			}
			return nil
		})
		if diff := gocmp.Diff([]uint64{0, 1, 2, 3, 4}, got); diff != "" || err != nil || stats.Rows != 5 {
			t.Error(diff, err, stats)
		}
	})
}

// TestScanOnDemand asks for a full reading between two slow ones.
func TestScanOnDemand(t *testing.T) {
	s := &Sampler{Sources: []Source{&fakeSource{n: 1}}, Interval: 10 * ms, SlowInterval: time.Hour, FlushInterval: 35 * ms}
	_, rows, err := runFor(t, s, 75*ms, func(b *Batch) error {
		if b.Time[0] == trace.Time(10*ms) {
			s.Scan() // at 35 ms
		}
		return nil
	})
	var slow []time.Duration
	for _, r := range rows {
		if r.Slow {
			slow = append(slow, r.At)
		}
	}
	if diff := gocmp.Diff([]time.Duration{0, 40 * ms, 75 * ms}, slow); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestInboxKeepsMarks has what the columns do not hold.
func TestInboxKeepsMarks(t *testing.T) {
	var in Inbox
	run := Device{ID: "record:h", Source: Recorder, Scope: ScopeRun}
	in.Add(run, 5, 0, func(r Row) { r.Fail(EnergyJoules, "X") })
	in.Add(run, 7, 0, func(r Row) { r.Mark(Mark{MarkStart, "profiling"}) })
	var b Batch
	b.Devices = []Device{{}, run}
	got := in.Collect()
	for i := range got.Len() {
		b.AppendFrom(got, i, 1)
	}
	if in.Collect().Len() != 0 || b.MarkOf(0) != (Mark{}) || b.MarkOf(1) != (Mark{MarkStart, "profiling"}) || b.Status[0] != "energy_joules=X" || b.Device[1] != 1 {
		t.Errorf("%+v", b)
	}
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hooks := bubble()
		ctx, cancel := context.WithTimeout(t.Context(), 95*ms)
		defer cancel()
		var at []time.Duration
		Every(ctx, hooks.now, 10*ms, func(now trace.Time) {
			at = append(at, time.Duration(now))
			if now == trace.Time(20*ms) {
				time.Sleep(25 * ms) // two ticks pass
			}
		})
		want := []time.Duration{0, 10 * ms, 20 * ms, 50 * ms, 60 * ms, 70 * ms, 80 * ms, 90 * ms}
		if diff := gocmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}

func TestContains(t *testing.T) {
	for _, c := range []struct {
		whole, part Scope
		want        bool
	}{
		{ScopeModule, ScopeGPUMemory, true}, {ScopeBoard, ScopeCPURail, true}, {ScopeGPU, ScopeModule, false},
		{ScopeGPU, ScopeGPU, false}, {ScopeCPUPackage, ScopeDRAM, false}, {"", ScopeGPU, false},
	} {
		if got := c.whole.Contains(c.part); got != c.want {
			t.Errorf("%s contains %s: %v", c.whole, c.part, got)
		}
	}
}

// TestLanes has eight devices. Those with short calls share a thread after the
// first second; when a call of one turns long, or does not return for a while, it
// is alone and the others go on.
func TestLanes(t *testing.T) {
	var mu sync.Mutex
	active := 0
	overlapped := map[int]int{} // readings of a device while another was read
	rows := map[int][]time.Duration{}
	var stats Stats
	synctest.Test(t, func(t *testing.T) {
		hooks := bubble()
		src := &fakeSource{n: 8, delay: func(device int, _ bool) time.Duration {
			mu.Lock()
			if active++; active > 1 {
				overlapped[int(time.Duration(hooks.now())/time.Second)]++
			}
			mu.Unlock()
			defer func() {
				mu.Lock()
				active--
				mu.Unlock()
			}()
			now := time.Duration(hooks.now())
			d := 500 * time.Microsecond
			switch {
			case device == 3 && now > 4*time.Second && now < 6*time.Second:
				d = 30 * ms
			case device == 5 && now > 8*time.Second && now < 8*time.Second+25*ms:
				d = 3 * time.Second
			}
			time.Sleep(d)
			return 0
		}}
		s := &Sampler{Sources: []Source{src}, Interval: 20 * ms, SlowInterval: time.Hour, FlushInterval: time.Second, hooks: hooks}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second+10*ms)
		defer cancel()
		var err error
		stats, err = s.Run(ctx, func(b *Batch) error {
			for i := range b.Len() {
				rows[int(b.Device[i])] = append(rows[int(b.Device[i])], time.Duration(b.Time[i]))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	for second, want := range map[int]bool{0: true, 2: false, 3: false, 14: false} {
		if got := overlapped[second] > 0; got != want {
			t.Errorf("second %d: units read at once: %v, want %v", second, got, want)
		}
	}
	ticks := int64(751)
	for i, u := range stats.Units {
		if u.Ticks+u.Missed != ticks {
			t.Errorf("unit %d: %d ticks done and %d missed, of %d", i, u.Ticks, u.Missed, ticks)
		}
		if u.Stuck {
			t.Errorf("unit %d is stuck", i)
		}
		limit := int64(0)
		switch i {
		case 3:
			limit = 110 // it takes 30 ms for two seconds: every other tick
		case 5:
			limit = 160 // its call takes 3 s, and the lane moves twice
		default:
			limit = 60 // the second until a lane that hangs is given up, and two moves
		}
		if u.Missed > limit {
			t.Errorf("unit %d missed %d ticks", i, u.Missed)
		}
		for k, at := range rows[i][1 : len(rows[i])-1] {
			if off := at % (20 * ms); off > 5*ms && !(at > 4*time.Second && at < 6*time.Second || at > 8*time.Second && at < 12*time.Second) {
				t.Fatalf("unit %d, row %d: read %v after a tick, at %v", i, k, off, at)
			}
			if at <= rows[i][k] {
				t.Fatalf("unit %d: a row at %v after one at %v", i, at, rows[i][k])
			}
		}
	}
}

// TestFeedOfASourcesDevice has an event of a device that a source reads: it is
// the same device.
func TestFeedOfASourcesDevice(t *testing.T) {
	feed := feedFunc(func(ctx context.Context, in *Inbox) error {
		in.Announce(Device{ID: "else"})
		in.Add(Device{Index: 1}, 1, 0, func(r Row) { r.SetUint(XIDError, 79) })
		in.Add(Device{ID: "else"}, 2, 0, func(r Row) { r.SetUint(XIDError, 80) })
		<-ctx.Done()
		return nil
	})
	got := map[int32]uint64{}
	_, _, err := runFor(t, &Sampler{Sources: []Source{&fakeSource{n: 2}}, Feeds: []Feed{feed}}, 10*ms, func(b *Batch) error {
		for i := range b.Len() {
			if xid, ok := b.Uint(XIDError, i); ok {
				got[b.Device[i]] = xid
			}
		}
		if len(b.Devices) > 3 {
			t.Error("devices", b.Devices)
		}
		return nil
	})
	if diff := gocmp.Diff(map[int32]uint64{1: 79, 2: 80}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
