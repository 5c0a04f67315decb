package nvidiasmi

import (
	"errors"
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
	if rest := text[len(layout):]; len(rest) > 0 {
		if rest[0] != '.' || len(rest) < 2 || len(rest) > 10 {
			return w, errStamp
		}
		for i := 1; i <= 9; i++ {
			w.nanos *= 10
			if i >= len(rest) {
				continue
			}
			if rest[i] < '0' || rest[i] > '9' {
				return w, errStamp
			}
			w.nanos += int(rest[i] - '0')
		}
	}
	// Other years have no instants in nanoseconds.
	if w.year < 1970 || w.year > 2261 || w.month < 1 || w.month > 12 || w.day < 1 || w.hour > 23 || w.minute > 59 || w.second > 60 || w.day > daysIn(w.year, w.month) {
		return w, errStamp
	}
	return w, nil
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// in returns the instant at which clocks in a place show w. Of the two in the
// hour that comes twice it is the first that is not before last.
func (w wall) in(loc *time.Location, last time.Time) time.Time {
	t := time.Date(w.year, time.Month(w.month), w.day, w.hour, w.minute, w.second, w.nanos, loc)
	const most = time.Hour // by which clocks are set back
	if start, end := t.ZoneBounds(); (start.IsZero() || t.Sub(start) > most) && (end.IsZero() || end.Sub(t) > most) {
		return t
	}
	for _, shift := range []time.Duration{-most, -most / 2, 0, most / 2, most} {
		if u := t.Add(shift); sameWall(t, u) && !u.Before(last) {
			return u
		}
	}
	return t
}

// sameWall reports whether clocks in t's place show the same at both.
func sameWall(t, u time.Time) bool {
	_, a := t.Zone()
	_, b := u.Zone()
	return t.Unix()+int64(a) == u.Unix()+int64(b)
}
