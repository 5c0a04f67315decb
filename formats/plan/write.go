package plan

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"wattrace/trace"
)

// Write writes p as a plan file, with every key that has a value.
func Write(w io.Writer, p *trace.Plan) error {
	b := []byte("schema: " + Schema + "\nphases:\n")
	for i := range p.Phases {
		lead := "  - "
		fields(&p.Phases[i], func(key, value string) {
			b = append(b, lead...)
			if key != "name" { // kinds and durations are plain in YAML
				value = strings.Trim(value, `"`)
			}
			b = append(append(append(b, key...), ": "...), value...)
			b = append(b, '\n')
			lead = "    "
		})
	}
	_, err := w.Write(b)
	return err
}

// AppendJSON appends the JSON form of p, as the request log holds it.
func AppendJSON(dst []byte, p *trace.Plan) []byte {
	dst = append(dst, `{"schema":"`+Schema+`","phases":[`...)
	for i := range p.Phases {
		if i > 0 {
			dst = append(dst, ',')
		}
		sep := byte('{')
		fields(&p.Phases[i], func(key, value string) {
			dst = append(append(append(dst, sep, '"'), key...), `":`...)
			dst = append(dst, value...)
			sep = ','
		})
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

// fields calls one for each key of ph that has a value, which is given as JSON
// and thereby as YAML. The first is always the name.
func fields(ph *trace.Phase, one func(key, value string)) {
	one("name", quote(ph.Name))
	one("kind", quote(string(ph.Kind)))
	if ph.Concurrency != 0 {
		one("concurrency", strconv.Itoa(ph.Concurrency))
	}
	if ph.Requests != 0 {
		one("requests", strconv.FormatInt(ph.Requests, 10))
	}
	if ph.Duration != 0 {
		one("duration", quote(duration(ph.Duration)))
	}
	if ph.FirstLine != 0 {
		one("first_line", strconv.FormatInt(ph.FirstLine, 10))
	}
	if ph.Grace != 0 {
		one("grace", quote(duration(ph.Grace)))
	}
	if ph.Handover {
		one("handover", "true")
	}
}

// quote returns s as a JSON string. Marshal of a string cannot fail.
func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// duration formats d as people write it: 2m, not 2m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
