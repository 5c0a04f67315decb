package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"strings"

	"wattrace/reduce"
)

// WriteJSON writes the report document, indented, keys in the order of the Go
// types and metrics by name: the same report gives the same bytes. A window is
// written when it is made, so that a document of gigabytes takes no memory.
func WriteJSON(w io.Writer, r *reduce.Report) error {
	j := jsonWriter{bufio.NewWriter(w)}
	doc := *r
	doc.Phases = []reduce.Phase{}
	err := j.around(doc, 0, "phases", func() error {
		return list(j, 1, pointers(r.Phases), func(ph *reduce.Phase) error {
			rest := *ph
			rest.Windows = []reduce.Phase{}
			return j.around(rest, 2, "windows", func() error {
				return list(j, 3, ph.All(), func(w *reduce.Phase) error { return j.value(w, 4) })
			})
		})
	})
	if err != nil {
		return err
	}
	j.WriteByte('\n')
	return j.Flush()
}

// jsonWriter writes values that may stand inside another: depth is how many brackets
// are open around them. The first error of the writer below comes back from whatever is
// written next.
type jsonWriter struct{ *bufio.Writer }

const jsonIndent = "  "

// value writes a whole value.
func (j jsonWriter) value(v any, depth int) error {
	text, err := jsonText(v, depth)
	if err != nil {
		return err
	}
	_, err = j.WriteString(text)
	return err
}

// around writes an object whose list under a key is empty, and the list in its place.
func (j jsonWriter) around(v any, depth int, key string, list func() error) error {
	text, err := jsonText(v, depth)
	if err != nil {
		return err
	}
	// Text holds no line feeds in its strings, and no other key is indented like this one.
	place := "\n" + strings.Repeat(jsonIndent, depth+1) + `"` + key + `": `
	before, after, _ := strings.Cut(text, place+"[]")
	j.WriteString(before + place)
	if err := list(); err != nil {
		return err
	}
	_, err = j.WriteString(after)
	return err
}

// list writes a list, element by element.
func list[T any](j jsonWriter, depth int, elements iter.Seq[T], write func(T) error) error {
	line := "\n" + strings.Repeat(jsonIndent, depth)
	n := 0
	j.WriteByte('[')
	for e := range elements {
		if n > 0 {
			j.WriteByte(',')
		}
		j.WriteString(line + jsonIndent)
		if err := write(e); err != nil {
			return err
		}
		n++
	}
	if n > 0 {
		j.WriteString(line)
	}
	return j.WriteByte(']')
}

// pointers yields pointers to the elements of a list.
func pointers[T any](list []T) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range list {
			if !yield(&list[i]) {
				return
			}
		}
	}
}

// jsonText returns a value as it stands inside others, its first line not indented.
func jsonText(v any, depth int) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(strings.Repeat(jsonIndent, depth), jsonIndent)
	err := e.Encode(v)
	return strings.TrimRight(b.String(), "\n"), err
}
