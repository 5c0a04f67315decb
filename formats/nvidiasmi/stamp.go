package nvidiasmi

import (
	"errors"
	"fmt"
	"time"
)

var errStamp = errors.New("not a time as in 2023/07/20 08:50:40.403")

// wall is a time as a clock on the wall shows it.
type wall struct {
	year, month, day, hour, minute, second, nanos int
}

// parseStamp reads YYYY/MM/DD HH:MM:SS.mmm; the fraction may have one to nine
// digits, or none with its point.
func parseStamp(text []byte) (w wall, err error) {
	const layout = "0000/00/00 00:00:00"
	if len(text) < len(layout) {
		return w, errStamp
	}
	parts := [...]*int{&w.year, &w.month, &w.day, &w.hour, &w.minute, &w.second}
	part := 0
	for i, c := range []byte(layout) {
		if c != '0' {
			part++
			if text[i] != c {
				return w, errStamp
			}
			continue
		}
		if text[i] < '0' || text[i] > '9' {
			return w, errStamp
		}
		*parts[part] = 10**parts[part] + int(text[i]-'0')
	}
	var ok bool
	if w.nanos, ok = fraction(text[len(layout):]); !ok {
		return w, errStamp
	}
	// Other years have no instants in nanoseconds.
	if w.year < 1970 || w.year > 2261 || w.month < 1 || w.month > 12 || w.day < 1 || w.hour > 23 || w.minute > 59 || w.second > 60 || w.day > daysIn(w.year, w.month) {
		return w, errStamp
	}
	return w, nil
}

// fraction reads what follows the seconds, nothing or a point with one to nine digits,
// as nanoseconds.
func fraction(rest []byte) (nanos int, ok bool) {
	if len(rest) == 0 {
		return 0, true
	}
	if rest[0] != '.' || len(rest) < 2 || len(rest) > 10 {
		return 0, false
	}
	for _, c := range rest[1:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		nanos = 10*nanos + int(c-'0')
	}
	for range 10 - len(rest) {
		nanos *= 10
	}
	return nanos, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// in returns the instant at which clocks in a place show w. Of the two in the
// hour that comes twice it is the first that is not before last. plain is that no clock
// is changed within an hour of it. What clocks pass over when they are set forward is an
// error.
func (w wall) in(loc *time.Location, last time.Time) (t time.Time, plain bool, err error) {
	t = time.Date(w.year, time.Month(w.month), w.day, w.hour, w.minute, w.second, w.nanos, loc)
	const most = time.Hour // by which clocks are set back
	if start, end := t.ZoneBounds(); (start.IsZero() || t.Sub(start) > most) && (end.IsZero() || end.Sub(t) > most) {
		return t, true, nil
	}
	if u := time.Date(w.year, time.Month(w.month), w.day, w.hour, w.minute, w.second, w.nanos, time.UTC); !sameWall(t, u) {
		return t, false, fmt.Errorf("clocks in %s never show this time: they were set forward over it", loc)
	}
	for _, shift := range []time.Duration{-most, -most / 2, 0, most / 2, most} {
		if u := t.Add(shift); sameWall(t, u) && !u.Before(last) {
			return u, false, nil
		}
	}
	return t, false, nil
}

// sameWall reports whether clocks in t's place show the same at both.
func sameWall(t, u time.Time) bool {
	_, a := t.Zone()
	_, b := u.Zone()
	return t.Unix()+int64(a) == u.Unix()+int64(b)
}
