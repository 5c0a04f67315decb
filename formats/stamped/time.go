package stamped

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"time"
)

// ErrTime is the fault of a text that is no time.
var ErrTime = errors.New("not a time")

// Seconds reads a Unix time in seconds, a decimal with or without a fraction, as
// nanoseconds: exactly, which a double could not.
func Seconds(text []byte) (unix int64, err error) {
	whole, fraction, _ := bytes.Cut(text, []byte("."))
	if len(whole) == 0 || len(whole) > 10 {
		return 0, ErrTime
	}
	for _, c := range whole {
		if c < '0' || c > '9' {
			return 0, ErrTime
		}
		unix = 10*unix + int64(c-'0')
	}
	if unix > math.MaxInt64/int64(time.Second)-1 {
		return 0, ErrTime
	}
	nanos := int64(0)
	for i := range 9 {
		nanos *= 10
		if i < len(fraction) {
			nanos += int64(fraction[i] - '0')
		}
	}
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, ErrTime
		}
	}
	return unix*int64(time.Second) + nanos, nil
}

// RFC3339 reads a time with its zone, as Unix nanoseconds.
func RFC3339(text []byte) (unix int64, err error) {
	if unix, ok := utc(text); ok {
		return unix, nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return 0, ErrTime
	}
	return t.UnixNano(), nil
}

// utc reads 2026-01-02T03:04:05.123456789Z, as convert writes it.
func utc(text []byte) (unix int64, ok bool) {
	const layout = "0000-00-00T00:00:00.000000000Z"
	if len(text) != len(layout) {
		return 0, false
	}
	for i := range len(layout) {
		if digit := text[i]-'0' <= 9; digit != (layout[i] == '0') || !digit && text[i] != layout[i] {
			return 0, false
		}
	}
	number := func(from, to int) (n int) {
		for _, c := range text[from:to] {
			n = 10*n + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	if year < 1970 || year > 2261 || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, number(20, 29), time.UTC)
	return t.UnixNano(), t.Day() == day
}

// Float reads a finite number.
func Float(text []byte) (float64, bool) {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) || bytes.ContainsAny(text, "xX_") {
		return 0, false
	}
	return v, true
}
