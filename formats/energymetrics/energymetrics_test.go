package energymetrics

import (
	"errors"
	"strings"
	"testing"

	"wattrace/trace"
)

func TestParse(t *testing.T) {
	t.Parallel()
	list, err := Parse([]byte("{\"total_energy_j\": 10.5, \"query_time\": 3.25, \"new\": {}}\n{\"query_time\":4,\"total_energy_j\":12}"), "f")
	if err != nil || len(list) != 2 || list[0] != (Answer{10.5, 3.25}) || list[1] != (Answer{12, 4}) {
		t.Errorf("%+v, %v", list, err)
	}
	for in, want := range map[string]string{
		"": "f: the file holds no answer",
		"{\"total_energy_j\":1,\"query_time\":2}\n {\"error\":\"Energy monitoring is not available\"}": "f:2:2: the answer has no total_energy_j",
		`{"total_energy_j":1}`:                       "f:1:1: the answer has no query_time",
		`{"total_energy_j":NaN,"query_time":1}`:      "f:1:19: not JSON",
		`{"total_energy_j":"secret"}`:                "f:1:19: total_energy_j must be a number from 0 to 1e+15",
		"{\n\"total_energy_j\":-1,\"query_time\":1}": "f:2:18: total_energy_j must be a number",
		`{"total_energy_j":9e99,"query_time":1}`:     "f:1:19: total_energy_j must be a number",
		`{"total_energy_j":1,"que`:                   "f: the document breaks off: unexpected EOF",
		"[1]":                                        "f:1:1: ",
		"\xef\xbb\xbf{}":                             "f:1:1: not JSON",
	} {
		_, err := Parse([]byte(in), "f")
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// FuzzParse: what is no answer is a fault with its place.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"total_energy_j": 10.5, "query_time": 3.25}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, err := Parse(in, "f")
		var syntax *trace.SyntaxError
		if err != nil && !errors.As(err, &syntax) || err == nil && len(list) == 0 {
			t.Fatalf("%v, %T %v", list, err, err)
		}
	})
}
