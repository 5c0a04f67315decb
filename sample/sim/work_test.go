package sim

import (
	"testing"

	"wattrace/trace"
)

func watts(t *testing.T, d *Device, w Work) float64 {
	t.Helper()
	step, _ := d.SetWork(d.now, w)
	return float64(step.Microwatts) / 1e6
}

func TestPowerModelOfAnH100LikeBoard(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{})
	check := func(w Work, low, high float64) {
		t.Helper()
		if got := watts(t, d, w); got < low || got > high {
			t.Errorf("%+v draws %.1f W, want %v to %v", w, got, low, high)
		}
	}
	check(Work{}, 70, 110)
	check(Work{DecodeTokens: 1, ContextTokens: 1000}, 220, 270)
	check(Work{DecodeTokens: 32, ContextTokens: 32_000}, 370, 440)
	check(Work{DecodeTokens: 256, ContextTokens: 256_000}, 480, 600)
	check(Work{PrefillTokens: 2048}, 650, 700)
	check(Work{PrefillTokens: 2000, DecodeTokens: 48, ContextTokens: 48_000}, 650, 700)
}

func TestPowerIsConcaveInTheBatch(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{})
	for _, prefill := range []int{0, 64} {
		last, lastGain := watts(t, d, Work{PrefillTokens: prefill, DecodeTokens: 1}), 1e9
		for n := 2; n <= 256; n++ {
			p := watts(t, d, Work{PrefillTokens: prefill, DecodeTokens: n})
			gain := p - last
			if gain <= 0 || gain > lastGain+1e-5 {
				t.Fatalf("sequence %d adds %v W, the one before added %v", n, gain, lastGain)
			}
			last, lastGain = p, gain
		}
	}
}

func TestLimitCapsPowerAndSaysSo(t *testing.T) {
	t.Parallel()
	free := newOne(t, Options{LimitWatts: 1000})
	held := newOne(t, Options{LimitWatts: 350})
	w := Work{DecodeTokens: 64, ContextTokens: 64_000}
	a, b := watts(t, free, w), watts(t, held, w)
	if a <= 350 || b != 350 {
		t.Errorf("draws %v W free and %v W under a limit of 350 W", a, b)
	}
	rf, rh := free.Read(0), held.Read(0)
	if rf.ClockEventReasons != 0 || rh.ClockEventReasons != reasonSWPowerCap {
		t.Errorf("reasons %#x free, %#x held", rf.ClockEventReasons, rh.ClockEventReasons)
	}
	if rh.SMClockMegahertz >= rf.SMClockMegahertz {
		t.Errorf("the cap costs no clock: %d and %d MHz", rh.SMClockMegahertz, rf.SMClockMegahertz)
	}
	if rh.PowerLimitMilliwatts != 350_000 {
		t.Errorf("limit %d mW", rh.PowerLimitMilliwatts)
	}
	// At rest nothing is capped.
	held.SetWork(trace.Time(1), Work{})
	if r := held.Read(2); r.ClockEventReasons != reasonGPUIdle {
		t.Errorf("at rest: reasons %#x", r.ClockEventReasons)
	}
}

func TestBoardsDifferALittle(t *testing.T) {
	t.Parallel()
	devices, err := New(Options{Count: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []Work{{}, {DecodeTokens: 16}} {
		seen := map[float64]bool{}
		low, high := 1e9, 0.0
		for _, d := range devices {
			p := watts(t, d, w)
			seen[p] = true
			low, high = min(low, p), max(high, p)
		}
		if len(seen) != len(devices) || high/low > 1.1 {
			t.Errorf("%+v: %d distinct powers of 8 boards, from %.1f to %.1f W", w, len(seen), low, high)
		}
	}
}
