package report

import (
	"encoding/json"
	"io"

	"wattrace/reduce"
)

// WriteJSON writes the report document, indented, keys in the order of the Go
// types and metrics by name: the same report gives the same bytes.
func WriteJSON(w io.Writer, r *reduce.Report) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
