package energies

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/reduce/attribute"
	"wattrace/trace"
)

func example() (list []*Request, total attribute.Totals) {
	list = []*Request{
		{Seq: 17, Line: 18, Conversation: `a "b"`, Turn: 2, Phase: "profiling", Outcome: trace.Succeeded, Energy: attribute.Share{
			Energy: 41_207_113, Low: 35_100_000, High: 48_900_001, Time: 44_100_000, Tokens: 40_300_000, Fitted: trace.Some[int64](41_207_113), Known: 1,
			Prefill: attribute.Stage{Energy: 3_200_000, Low: 1, High: 6_400_000, Modelled: true}, Decode: attribute.Stage{Energy: 38_007_113, Low: 31e6, High: 45_200_000},
		}},
		{Run: 1, Seq: 0, Line: 1, Phase: "profiling", Outcome: trace.Failed, Energy: attribute.Share{Known: 0.75, UnknownCached: true, UnknownInput: true, UnknownStages: true}},
	}
	return list, attribute.Totals{Total: 50_000_000, Idle: 8_000_000, Requests: 41_207_113, Unattributed: 792_887}
}

func encode(t *testing.T) string {
	t.Helper()
	list, total := example()
	var b bytes.Buffer
	w := NewWriter(&b, "wattrace test")
	for _, q := range list {
		w.Request(q)
	}
	if err := w.Close(&total, "fitted"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	list, total := example()
	var got []*Request
	last, err := Read(strings.NewReader(encode(t)), "f", func(q *Request) error { got = append(got, q); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Total{"fitted", 2, total}, last); diff != "" {
		t.Error(diff)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	want := `{"type":"request","run":0,"seq":17,"line":18,"conversation":"a \"b\"","turn":2,"phase":"profiling","outcome":"succeeded","energy_joules":41.207113,"low_joules":35.1,"high_joules":48.900001,` +
		`"prefill":{"energy_joules":3.2,"low_joules":0.000001,"high_joules":6.4,"modelled":true},"decode":{"energy_joules":38.007113,"low_joules":31,"high_joules":45.2},"by":{"time":44.1,"tokens":40.3,"fitted":41.207113}}`
	if got := strings.Split(encode(t), "\n")[1]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	text := encode(t)
	check := func(text, want string) {
		t.Helper()
		_, err := Read(strings.NewReader(text), "f", func(*Request) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check(text[:strings.LastIndex(text, `{"type":"total"`)], "f:4: the file was cut")
	check(strings.Replace(text, "energies/1", "energies/2", 1), "f:1: want a file of schema wattrace.energies/1")
	check(strings.Replace(text, "41.207113", "41.2071131", 1), `f:2: "41.2071131" is no energy`)
	check("", "f:1: the file was cut")
	if _, err := Read(strings.NewReader(text), "f", func(*Request) error { return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
