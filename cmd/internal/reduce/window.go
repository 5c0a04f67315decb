package reduce

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/reduce"
	"wattrace/trace"
)

// window is a --window, in Unix nanoseconds.
type window struct {
	name       string
	start, end int64
}

// parseWindow reads NAME=START..END; the instants are RFC 3339 or Unix seconds.
func parseWindow(s string) (window, error) {
	fail := func(why string) (window, error) {
		return window{}, cli.Usagef("--window %q: %s; want NAME=START..END, in RFC 3339 or Unix seconds", s, why)
	}
	name, span, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return fail("it has no name")
	}
	from, to, ok := strings.Cut(span, "..")
	if !ok {
		return fail("it has no end")
	}
	start, err := parseInstant(from)
	if err != nil {
		return fail(err.Error())
	}
	end, err := parseInstant(to)
	if err != nil {
		return fail(err.Error())
	}
	if end <= start {
		return fail("it ends before it starts")
	}
	return window{name, start, end}, nil
}

// parseInstant returns Unix nanoseconds, from 1970 to 2262. Decimal seconds are read exactly: a
// double would round the nanoseconds.
func parseInstant(s string) (int64, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		if t.Before(time.Unix(0, 0)) || t.After(time.Unix(0, math.MaxInt64)) {
			return 0, fmt.Errorf("%q is out of range", s)
		}
		return t.UnixNano(), nil
	}
	seconds, ok := new(big.Rat).SetString(s)
	if !ok || strings.ContainsAny(s, "/eEpPxX_") {
		return 0, fmt.Errorf("%q is no instant", s)
	}
	nanos := new(big.Int)
	nanos.Quo(seconds.Mul(seconds, big.NewRat(1e9, 1)).Num(), seconds.Denom())
	if !nanos.IsInt64() || nanos.Sign() < 0 {
		return 0, fmt.Errorf("%q is out of range", s)
	}
	return nanos.Int64(), nil
}

// span moves a window to a clock.
func (w window) span(clock trace.Clock) reduce.Span {
	return reduce.Span{
		Name: w.name, Kind: "window", Start: trace.Time(w.start - clock.Anchor.UnixNanos),
		End: trace.Some(trace.Time(w.end - clock.Anchor.UnixNanos)),
	}
}
