package report

import "wattrace/reduce"

// Figures formats a number, and its 95 % interval with the sign in front, "" where none is
// known, as the text form of a report has them.
func Figures(m reduce.Metric) (value, plus string) {
	value, plus, _ = figures(m)
	return value, plus
}

// Significant formats v with so many significant digits, without an exponent.
func Significant(v float64, digits int) string { return significant(v, digits) }
