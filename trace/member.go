package trace

import "errors"

// Integer returns the member's value, an integer from least to most written
// without point or exponent; a null is unknown.
func (m *Member) Integer(least, most int64) (Opt[int64], error) { return integer(m, least, most) }

// Text returns the member's value, a string that is not empty; of a null, "".
func (m *Member) Text() (string, error) { return text(m) }

// Seconds returns the member's value, a number that is finite and not negative;
// a null is unknown.
func (m *Member) Seconds() (Opt[float64], error) { return seconds(m) }

// Inside moves a fault of the member's value, whose column counts from the
// value's start, to its column in the line.
func (m *Member) Inside(err error) error {
	var at *ColumnError
	if !errors.As(err, &at) {
		return err
	}
	return &ColumnError{Col: m.Col + at.Col - 1, Err: at.Err}
}
