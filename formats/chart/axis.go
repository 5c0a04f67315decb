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

// Round moves the ends of an axis outwards to ticks, and gives one without length some.
func (a *Axis) Round() {
	switch {
	case a.Log && a.Max <= 0:
		a.Min, a.Max = 0.1, 1
	case a.Log:
		a.Min, a.Max = logFloor(a.Min), logCeil(a.Max)
		if a.Max <= a.Min {
			a.Max = logCeil(a.Min * 1.5)
		}
	default:
		if a.Max <= a.Min {
			a.Max = a.Min + max(1, math.Abs(a.Min)/10)
		}
		step := tickStep(a.Max-a.Min, 7)
		a.Min, a.Max = math.Floor(a.Min/step)*step, math.Ceil(a.Max/step)*step
	}
}

// place returns where a value is, from 0 to 1.
func (a *Axis) place(v float64) float64 {
	if a.Log {
		return math.Log(v/a.Min) / math.Log(a.Max/a.Min)
	}
	return (v - a.Min) / (a.Max - a.Min)
}

// tickStep returns 1, 2 or 5 times a power of ten, so many of which at most fit a length.
func tickStep(length float64, most int) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(length/float64(most))))
	for _, n := range []float64{1, 2, 5, 10} {
		if length/(n*scale) <= float64(most) {
			return n * scale
		}
	}
	return 10 * scale
}

func logFloor(v float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{5, 2} {
		if v >= n*scale*(1-1e-9) {
			return n * scale
		}
	}
	return scale
}

func logCeil(v float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if v <= n*scale*(1+1e-9) {
			return n * scale
		}
	}
	return 10 * scale
}

// ticks returns the values that are marked, about so many at most.
func (a *Axis) ticks(most int) (list []float64) {
	if a.Log {
		for v := a.Min; v <= a.Max*(1+1e-9) && len(list) < 40; v = logCeil(v * 1.01) {
			list = append(list, v)
		}
		if len(list) > most { // decades alone
			var decades []float64
			for _, v := range list {
				if p := math.Log10(v); math.Abs(p-math.Round(p)) < 1e-6 {
					decades = append(decades, v)
				}
			}
			return decades
		}
		return list
	}
	step := tickStep(a.Max-a.Min, most)
	for i := math.Ceil(a.Min/step - 1e-9); i*step <= a.Max+step*1e-9 && len(list) < 40; i++ {
		list = append(list, i*step)
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
