package chart

import (
	"math"
	"strconv"
)

// Axis is the range of one direction. Values outside are clipped; of a logarithmic axis both
// ends are above zero.
type Axis struct {
	Label    string
	Min, Max float64
	Log      bool

	fitted bool // Min and Max are of values
}

// Fit widens the axis to hold values; those that are no finite number, or on a logarithmic
// axis not above zero, do not count.
func (a *Axis) Fit(values ...float64) {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) || a.Log && v <= 0 {
			continue
		}
		if !a.fitted {
			a.Min, a.Max, a.fitted = v, v, true
			continue
		}
		a.Min, a.Max = min(a.Min, v), max(a.Max, v)
	}
}

// Round moves the ends of an axis outwards to ticks, and gives one without length some: also
// where it is so short beside its values that they can hardly be told apart.
func (a *Axis) Round() {
	switch {
	case a.Log && a.Max <= 0:
		a.Min, a.Max = 0.1, 1
	case a.Log:
		a.Min, a.Max = logFloor(a.Min), logCeil(a.Max)
		if a.Max <= a.Min {
			a.Min, a.Max = logFloor(a.Min/1.5), logCeil(a.Min*1.5)
		}
	default:
		if half := a.half(); half <= shortest || half < 1e-12*max(math.Abs(a.Min), math.Abs(a.Max)) {
			by := max(1, math.Abs(a.Min)/10)
			a.Max = a.Min + by
			if math.IsInf(a.Max, 1) {
				a.Min, a.Max = a.Min-by, math.MaxFloat64
			}
		}
		step := tickStep(a.half(), 3.5)
		a.Min, a.Max = finite(math.Floor(a.Min/step)*step), finite(math.Ceil(a.Max/step)*step)
	}
}

// shortest is half of the shortest axis that is not taken for a point, and the least end of
// a logarithmic one: below are numbers whose quotients are not finite.
const shortest = 1e-300

// finite brings what a rounding took out of the numbers back to the last one.
func finite(v float64) float64 { return min(max(v, -math.MaxFloat64), math.MaxFloat64) }

// half is half the length: all of it may exceed what a number can be.
func (a *Axis) half() float64 { return a.Max/2 - a.Min/2 }

// place returns where a value is, from 0 to 1.
func (a *Axis) place(v float64) float64 {
	if a.Log {
		return (math.Log(v) - math.Log(a.Min)) / (math.Log(a.Max) - math.Log(a.Min))
	}
	return (v/2 - a.Min/2) / a.half()
}

// tickStep returns 1, 2 or 5 times a power of ten, so many of which at most fit a length.
func tickStep(length, most float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(length/most)))
	for _, n := range []float64{1, 2, 5, 10} {
		if length/(n*scale) <= most {
			return n * scale
		}
	}
	return 10 * scale
}

func logFloor(v float64) float64 {
	v = max(v, shortest)
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{5, 2} {
		if v >= n*scale*(1-1e-9) {
			return n * scale
		}
	}
	return scale
}

func logCeil(v float64) float64 {
	v = min(max(v, shortest), math.MaxFloat64)
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if v <= n*scale*(1+1e-9) {
			return finite(n * scale)
		}
	}
	return finite(10 * scale)
}

// ticks returns the values that are marked, about so many at most.
func (a *Axis) ticks(most int) (list []float64) {
	if a.Log {
		for v := a.Min; v <= a.Max*(1-1e-9) && len(list) <= most; v = logCeil(v * 1.01) {
			list = append(list, v)
		}
		if len(list) < most {
			return append(list, a.Max)
		}
		// Decades alone, of many only some.
		from, to := math.Ceil(math.Log10(a.Min)-1e-6), math.Floor(math.Log10(a.Max)+1e-6)
		list = list[:0]
		for p, by := from, max(1, math.Ceil((to-from)/float64(most))); p <= to; p += by {
			list = append(list, math.Pow(10, p))
		}
		return list
	}
	step := tickStep(a.half(), float64(most)/2)
	for i := math.Ceil(a.Min/step - 1e-9); i*step/2 <= a.Max/2+step*1e-9 && len(list) < 40; i++ {
		if v := i * step; !math.IsInf(v, 0) {
			list = append(list, v)
		}
	}
	return list
}

// tickText writes a tick without the noise of its binary form.
func tickText(v float64) string {
	if v == 0 {
		return "0"
	}
	f, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 10, 64), 64)
	if err != nil {
		return ""
	}
	if abs := math.Abs(f); abs >= 1e6 || abs < 1e-4 {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
