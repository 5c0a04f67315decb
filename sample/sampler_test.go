package sample

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// fakeSource has devices whose reads take as long as the test says.
type fakeSource struct {
	n     int
	delay func(device int, slow bool) time.Duration
	took  time.Duration // set by the source itself, if not 0

	together bool // all devices are one unit
}

func (f *fakeSource) Info() Info   { return Info{} }
func (f *fakeSource) Close() error { return nil }
func (f *fakeSource) Devices() []Device {
	d := make([]Device, f.n)
	for i := range d {
		d[i].Index = i
	}
	return d
}

func (f *fakeSource) Units() [][]int {
	if f.together {
		return Together(f.n)
	}
	return Each(f.n)
}

func (f *fakeSource) Read(unit int, slow bool, rows []Row) {
	for i, row := range rows {
		f.read(unit+i, slow, row)
	}
}

func (f *fakeSource) read(device int, slow bool, row Row) {
	if f.delay != nil {
		time.Sleep(f.delay(device, slow))
	}
	row.Set(PowerWatts, float64(device))
	if slow {
		row.Set(TemperatureCelsius, 50)
	}
	if f.took != 0 {
		row.SetTook(f.took)
	}
}

// reading is a row as these tests look at it.
type reading struct {
	At     time.Duration
	Device int32
	Slow   bool
}

// runFor runs s in a synctest bubble for a time, and returns what came out.
func runFor(t *testing.T, s *Sampler, d time.Duration, sink func(*Batch) error) (stats Stats, rows []reading, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s.hooks = &hooks{
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
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		stats, err = s.Run(ctx, func(b *Batch) error {
			for i := range b.Len() {
				rows = append(rows, reading{time.Duration(b.Time[i]), b.Device[i], valid(b, TemperatureCelsius, i)})
			}
			if sink != nil {
				return sink(b)
			}
			return nil
		})
	})
	return stats, rows, err
}

const ms = time.Millisecond

func valid(b *Batch, id MetricID, i int) bool {
	_, ok := b.Float(id, i)
	return ok
}

func TestSamplerTicks(t *testing.T) {
	s := &Sampler{Sources: []Source{&fakeSource{n: 1}, &fakeSource{n: 1}}, Interval: 20 * ms, SlowInterval: 40 * ms}
	if d := s.Devices(); len(d) != 2 {
		t.Fatal(d)
	}
	stats, rows, err := runFor(t, s, 95*ms, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []reading{
		{0, 0, true}, {0, 1, true}, // all slow metrics at first, then in turns
		{20 * ms, 0, true}, {20 * ms, 1, false},
		{40 * ms, 0, false}, {40 * ms, 1, true},
		{60 * ms, 0, true}, {60 * ms, 1, false},
		{80 * ms, 0, false}, {80 * ms, 1, true},
		{95 * ms, 0, true}, {95 * ms, 1, true}, // the last, in full
	}
	byTime := func(a, b reading) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device)) }
	slices.SortFunc(rows, byTime)
	if diff := gocmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
	unit := func(i int) UnitStats { return UnitStats{Devices: []Device{{Index: 0}}, Ticks: 5} }
	if diff := gocmp.Diff(Stats{Rows: 12, Ticks: 10, Units: []UnitStats{unit(0), unit(1)}}, stats); diff != "" {
		t.Error(diff)
	}
}

// TestSamplerMissesTicks has one read that takes 2.5 intervals: two ticks pass,
// and the scans after it are on the grid again, one each.
func TestSamplerMissesTicks(t *testing.T) {
	scan := 0
	src := &fakeSource{n: 1, delay: func(int, bool) time.Duration {
		scan++
		if scan == 3 {
			return 50 * ms
		}
		return 5 * ms
	}}
	stats, rows, err := runFor(t, &Sampler{Sources: []Source{src}, Interval: 20 * ms}, 190*ms, nil)
	if err != nil {
		t.Fatal(err)
	}
	var at []time.Duration
	for _, r := range rows {
		at = append(at, r.At)
	}
	want := []time.Duration{0, 20 * ms, 40 * ms, 100 * ms, 120 * ms, 140 * ms, 160 * ms, 180 * ms, 190 * ms}
	if !slices.Equal(want, at) {
		t.Errorf("scans at %v, want %v", at, want)
	}
	if stats.Ticks != 8 || stats.Missed != 2 || stats.Read != 90*ms || stats.Units[0].ReadMax != 50*ms {
		t.Errorf("%+v", stats)
	}
}

// TestSamplerLateWake has waits that end late: the scan is late, and is not
// made up for.
func TestSamplerLateWake(t *testing.T) {
	var rows []trace.Time
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		wakes := 0
		s := &Sampler{Sources: []Source{&fakeSource{n: 1}}, Interval: 10 * ms, hooks: &hooks{
			now: func() trace.Time { return trace.Time(time.Since(start)) },
			wait: func(context.Context) (func(trace.Time), func()) {
				return func(until trace.Time) {
					wakes++
					late := time.Duration(0)
					switch wakes {
					case 2:
						late = 35 * ms // the process was stopped
					case 4:
						late = 4 * ms
					}
					time.Sleep(time.Duration(until) - time.Since(start) + late)
				}, func() {}
			},
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 85*ms)
		defer cancel()
		stats, err := s.Run(ctx, func(b *Batch) error { rows = append(rows, b.Time...); return nil })
		if err != nil {
			t.Error(err)
		}
		if stats.LatenessMax != 35*ms || stats.LatenessP50 != 0 || stats.Missed != 3 || stats.Ticks != 6 {
			t.Errorf("%+v", stats)
		}
	})
	want := []trace.Time{0, trace.Time(10 * ms), trace.Time(55 * ms), trace.Time(60 * ms), trace.Time(74 * ms), trace.Time(80 * ms), trace.Time(90 * ms)}
	if diff := gocmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}

func TestSamplerFlushes(t *testing.T) {
	var sizes []int
	s := &Sampler{Sources: []Source{&fakeSource{n: 2}}, Interval: 100 * ms, FlushInterval: 1050 * ms}
	_, _, err := runFor(t, s, 2075*ms, func(b *Batch) error {
		sizes = append(sizes, b.Len())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]int{2, 20, 22}, sizes); diff != "" {
		t.Error(diff)
	}
}

// TestSlowSinkDelaysNothing has a sink that takes 3 s for the first batch.
func TestSlowSinkDelaysNothing(t *testing.T) {
	s := &Sampler{Sources: []Source{&fakeSource{n: 1}}, Interval: 100 * ms, FlushInterval: 500 * ms}
	calls := 0
	stats, rows, err := runFor(t, s, 5050*ms, func(*Batch) error {
		if calls++; calls == 1 {
			time.Sleep(3 * time.Second)
		}
		return nil
	})
	if err != nil || stats.Missed != 0 || stats.LatenessMax != 0 || len(rows) != 52 {
		t.Errorf("%d rows, %+v, %v", len(rows), stats, err)
	}
	for i, r := range rows {
		if r.At != min(time.Duration(i)*100*ms, 5050*ms) {
			t.Fatalf("row %d at %v", i, r.At)
		}
	}
}

// TestPendingIsBounded has a sink that hangs with the first reading: four more
// have room beside it, and the last of all is made in any case; the ticks
// between them are missed.
func TestPendingIsBounded(t *testing.T) {
	s := &Sampler{Sources: []Source{&fakeSource{n: 1}}, Interval: 100 * ms, FlushInterval: 400 * ms, MaxPending: 5}
	stats, rows, err := runFor(t, s, 10050*ms, func(*Batch) error {
		time.Sleep(20 * time.Second)
		return nil
	})
	if err != nil || len(rows) != 6 || stats.Rows != 6 || stats.Ticks != 5 || stats.Missed != 101-5 {
		t.Errorf("%d rows, %+v, %v", len(rows), stats, err)
	}
}

func TestSinkErrorEndsSampling(t *testing.T) {
	full := errors.New("no space left on device")
	calls := 0
	s := &Sampler{Sources: []Source{&fakeSource{n: 1}}, Interval: 100 * ms}
	stats, _, err := runFor(t, s, time.Hour, func(*Batch) error {
		calls++
		return full
	})
	if !errors.Is(err, full) || calls != 1 || stats.Ticks > 2 {
		t.Errorf("%v after %d calls, %+v", err, calls, stats)
	}
}

func TestSamplerTook(t *testing.T) {
	check := func(src *fakeSource, wantTook time.Duration) {
		t.Helper()
		var took []time.Duration
		_, _, err := runFor(t, &Sampler{Sources: []Source{src}, Interval: 50 * ms}, 10*ms, func(b *Batch) error {
			took = append(took, b.Took...)
			return nil
		})
		if err != nil || len(took) != 2 || took[0] != wantTook || took[1] != wantTook {
			t.Errorf("took %v, %v; want %v", took, err, wantTook)
		}
	}
	slow := func(int, bool) time.Duration { return 7 * ms }
	check(&fakeSource{n: 1, delay: slow}, 7*ms)
	check(&fakeSource{n: 1, delay: slow, took: ms}, ms)
}

func TestSamplerRefusesNegativeOptions(t *testing.T) {
	if _, err := (&Sampler{Interval: -1, Clock: trace.NewSteadyClock()}).Run(t.Context(), nil); err == nil {
		t.Error("a negative interval was taken")
	}
}

// TestSamplerOnThisHost runs the production hooks. It asserts only what a busy
// machine cannot change.
func TestSamplerOnThisHost(t *testing.T) {
	t.Parallel()
	clock := trace.NewSteadyClock()
	s := &Sampler{Sources: []Source{&fakeSource{n: 2}}, Clock: clock, Interval: 5 * ms}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last trace.Time
	rows := 0
	s.FlushInterval = 20 * ms
	before := clock.Now()
	stats, err := s.Run(ctx, func(b *Batch) error {
		for i, at := range b.Time {
			if at < last || at < before || at > clock.Now() {
				t.Errorf("row %d at %v, the one before at %v", rows+i, at, last)
			}
			last = at
		}
		if rows += b.Len(); rows > 20 {
			cancel()
		}
		return nil
	})
	if err != nil || stats.Rows != int64(rows) || stats.Ticks != int64(rows-2) {
		t.Errorf("%d rows, %+v, %v", rows, stats, err)
	}
	// Every tick was either done or counted as missed.
	if passed := int64(last.Sub(before) / (5 * ms)); stats.Ticks+stats.Missed < passed {
		t.Errorf("%d ticks passed, %+v", passed, stats)
	}
}

// TestLongWaitEndsWithContext makes sure that --interval 1h does not hold up
// the end.
func TestLongWaitEndsWithContext(t *testing.T) {
	t.Parallel()
	s := &Sampler{Sources: []Source{&fakeSource{n: 1}}, Clock: trace.NewSteadyClock(), Interval: time.Hour}
	ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
	defer cancel()
	if stats, err := s.Run(ctx, func(*Batch) error { return nil }); err != nil || stats.Ticks != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestLateness(t *testing.T) {
	t.Parallel()
	var l lateness
	if l.quantile(0.5) != 0 {
		t.Error("an empty histogram has a quantile")
	}
	for i := range 1000 {
		l.add(time.Duration(i+1) * time.Microsecond)
	}
	check := func(q float64, want time.Duration) {
		t.Helper()
		if got := l.quantile(q); got < want*98/100 || got > want*102/100 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	check(0.5, 500*time.Microsecond)
	check(0.99, 990*time.Microsecond)
	check(1, 1000*time.Microsecond)
	for d := time.Duration(1); d > 0 && d < 1<<61; d = d*9/8 + 1 { // every bucket holds what is put into it
		middle := bucketMiddle(latenessBucket(d))
		if diff := max(middle-d, d-middle); diff*50 > d {
			t.Fatalf("%v is counted as %v", int64(d), int64(middle))
		}
	}
	l.add(-5)
	if l.counts[0] != 1 {
		t.Error("an early wake is not no delay")
	}
}
