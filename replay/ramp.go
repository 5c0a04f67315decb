package replay

import (
	"math"
	"time"

	"wattrace/trace"
)

// levels is a rate (or a number of slots) over the time of a phase: a ramp, then
// a constant for ever. It answers when its integral reaches a value, exactly, by
// inverting the integral of each piece.
type levels struct {
	pieces []piece
	after  float64 // the level once the pieces are over
	at     int     // the piece in which the last answer lay
	area   float64 // under the pieces before it
	start  float64 // where it begins, seconds
}

// piece is a part of a ramp.
type piece struct {
	seconds     float64
	from, to    float64
	exponential bool
}

func newLevels(l *trace.Load, after float64) levels {
	v := levels{after: after}
	for i := 1; i < len(l.Ramp); i++ {
		a, b := l.Ramp[i-1], l.Ramp[i]
		v.pieces = append(v.pieces, piece{
			seconds: (b.At - a.At).Seconds(), from: a.Value, to: b.Value,
			exponential: l.RampShape == trace.Exponential && a.Value != b.Value,
		})
	}
	return v
}

// total returns the integral over the piece.
func (p *piece) total() float64 {
	if p.exponential {
		return p.seconds * (p.to - p.from) / math.Log(p.to/p.from)
	}
	return p.seconds * (p.from + p.to) / 2
}

// when returns after how many seconds of the piece its integral is area, which is
// no more than total.
func (p *piece) when(area float64) float64 {
	if p.exponential {
		// area = from/k (exp(k t) - 1) with k = ln(to/from)/seconds
		k := math.Log(p.to/p.from) / p.seconds
		return min(p.seconds, math.Log1p(area*k/p.from)/k)
	}
	// area = from t + a t^2/2 with a = (to-from)/seconds; the form of the root
	// that does not cancel.
	a := (p.to - p.from) / p.seconds
	root := math.Sqrt(max(0, float64(p.from*p.from)+float64(2*a*area)))
	if p.from+root == 0 {
		return 0
	}
	return min(p.seconds, 2*area/(p.from+root))
}

// when returns when the integral reaches area, since the start of the phase; false
// if it never does. The areas asked for do not fall.
func (v *levels) when(area float64) (time.Duration, bool) {
	for ; v.at < len(v.pieces); v.at++ {
		p := &v.pieces[v.at]
		if total := p.total(); area-v.area > total {
			v.area += total
			v.start += p.seconds
			continue
		}
		return duration(v.start + p.when(area-v.area)), true
	}
	if v.after <= 0 {
		return 0, false
	}
	return duration(v.start + (area-v.area)/v.after), true
}

// reaches returns when the level itself first is as high as value, since the start
// of the phase; false if it never is.
func (v *levels) reaches(value float64) (time.Duration, bool) {
	start := 0.0
	for i := range v.pieces {
		p := &v.pieces[i]
		switch {
		case p.from >= value:
			return duration(start), true
		case p.to < value:
		case p.exponential:
			return duration(start + float64(p.seconds*math.Log(value/p.from)/math.Log(p.to/p.from))), true
		default:
			return duration(start + float64(p.seconds*(value-p.from)/(p.to-p.from))), true
		}
		start += p.seconds
	}
	return duration(start), v.after >= value
}

// farAway is a time that no phase reaches: 146 years.
const farAway = 1 << 62

// duration rounds seconds to nanoseconds.
func duration(seconds float64) time.Duration {
	if ns := math.Round(seconds * 1e9); ns < farAway {
		return time.Duration(ns)
	}
	return farAway
}
