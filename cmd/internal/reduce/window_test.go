package reduce

import "testing"

func TestParseWindow(t *testing.T) {
	t.Parallel()
	check := func(in string, want window) {
		t.Helper()
		got, err := parseWindow(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	check("load=1795454856.123456789..1795454866", window{"load", 1795454856123456789, 1795454866000000000})
	check("a=2026-11-23T18:00:00.5+01:00..2026-11-23T17:00:01Z", window{"a", 1795453200500000000, 1795453201000000000})
	for _, bad := range []string{"", "x", "=1..2", "a=1", "a=1..x", "a=x..1", "a=2..1", "a=1..1", "a=1/3..1", "a=1e3..2e3", "a=0x1..0x9", "a=1..99999999999999", "a=-1..1",
		"a=0001-01-01T00:00:00Z..2026-01-01T00:00:00Z", "a=2026-01-01T00:00:00Z..9999-01-01T00:00:00Z"} {
		if got, err := parseWindow(bad); err == nil {
			t.Errorf("%q gives %+v", bad, got)
		}
	}
}
