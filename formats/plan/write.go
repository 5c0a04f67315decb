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
	b := []byte("schema: " + Schema + "\n")
	if p.Seed != 0 {
		b = append(b, "seed: "+strconv.FormatUint(p.Seed, 10)+"\n"...)
	}
	b = append(b, "phases:\n"...)
	for i := range p.Phases {
		lead := "  - "
		fields(&p.Phases[i], func(key, value string) {
			b = append(b, lead...)
			if key != "name" { // words and durations are plain in YAML
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
	dst = append(dst, `{"schema":"`+Schema+`"`...)
	if p.Seed != 0 {
		dst = strconv.AppendUint(append(dst, `,"seed":`...), p.Seed, 10)
	}
	dst = append(dst, `,"phases":[`...)
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
	for _, k := range keys {
		if f := k.field(ph); !f.isZero() {
			one(k.name, f.json())
		}
	}
}

func (w whole[T]) json() string { return strconv.FormatInt(int64(*w.v), 10) }
func (p positive) json() string { return strconv.FormatFloat(*p.v, 'f', -1, 64) }

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
