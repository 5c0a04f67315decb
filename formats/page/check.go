package page

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"wattrace/reduce"
)

// mostFigure bounds what is drawn: sums, squares and percentages of such figures are still
// numbers, and no joule, token or second was ever counted up to it.
const mostFigure = 1e100

// Check returns an error that names a figure of a report that nothing can be drawn of: no
// finite number, or one so large that what follows from it may not be.
func Check(rep *reduce.Report) error {
	at, v, ok := undrawable(reflect.ValueOf(rep), "")
	if !ok {
		return nil
	}
	return fmt.Errorf("%s is %g: that is no figure of a run", at, v)
}

// undrawable finds such a figure, by its JSON pointer (RFC 6901) in the report.
func undrawable(v reflect.Value, at string) (where string, number float64, found bool) {
	switch v.Kind() {
	case reflect.Float64:
		f := v.Float()
		return at, f, !(math.Abs(f) <= mostFigure)
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return undrawable(v.Elem(), at)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if where, number, found = undrawable(v.Index(i), fmt.Sprintf("%s/%d", at, i)); found {
				return where, number, true
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, k := range keys {
			if where, number, found = undrawable(v.MapIndex(k), at+"/"+short(fmt.Sprint(k))); found {
				return where, number, true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			in := at
			if !field.Anonymous {
				in += "/" + name
			}
			if where, number, found = undrawable(v.Field(i), in); found {
				return where, number, true
			}
		}
	}
	return "", 0, false
}
