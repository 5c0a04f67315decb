package sensors

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/reduce"
	"wattrace/sample"
)

func TestExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(bytes.NewReader(text), "example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const ms = time.Millisecond
	want := reduce.SensorTable{
		{Field: reduce.FieldAverage, Architecture: "blackwell", From: 570, Below: 580, Sensor: reduce.Sensor{
			Kind: reduce.SensorAverage, Window: 1100 * ms, Period: 100 * ms, Duty: 1, Span: 1050 * ms, Rest: time.Second}},
		{Field: reduce.FieldInstant, Sensor: reduce.Sensor{Kind: reduce.SensorInstant, Window: 25 * ms, Period: 100 * ms, Duty: 0.25, Assumed: true}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if s, ok := got.Lookup(reduce.FieldAverage, sample.Device{Architecture: "blackwell"}, "575.1"); !ok || s.Assumed {
		t.Errorf("the row is not found: %+v", s)
	}
	rows, err := ReadRows(bytes.NewReader(text), "example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	measured := &Measured{Date: "2026-11-27", Device: "NVIDIA B200", Driver: "575.57.08", Devices: 8,
		Period: Precision{3 * time.Microsecond, 5990}, Window: Precision{4 * ms, 55}}
	if d := cmp.Diff([]Row{{want[0], measured}, {want[1], nil}}, rows); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "//\t"+strings.TrimSpace(strings.ReplaceAll(string(text), "\n", "\n//\t"))) {
		t.Error("the package comment shows another example")
	}
}

// The built-in table is a file, too.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Write(&b, reduce.Sensors()); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b, "-")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(reduce.Sensors(), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Each input has the marker where its fault must be reported.
func TestErrors(t *testing.T) {
	t.Parallel()
	const row = "schema: wattrace.sensors/1\nsensors:\n  - "
	const good = "field: draw, kind: instant, window: 1s, period: 1s"
	for marked, want := range map[string]string{
		"schema: ∑wattrace.sensors/2\n":                                                  `schema "wattrace.sensors/2" is not known here (this program knows wattrace.sensors/1)`,
		"schema: ∑wattrace.plan/1\n":                                                     `schema "wattrace.plan/1" is not a sensor table (wattrace.sensors/1)`,
		"∑sensors: []\n":                                                                 "the sensor table has no key schema (schema: wattrace.sensors/1)",
		"∑schema: wattrace.sensors/1\n":                                                  "the table has no sensors",
		"schema: wattrace.sensors/1\nsensors: ∑{}\n":                                     "sensors must be a list, not a mapping",
		"schema: wattrace.sensors/1\n∑sensor: []\n":                                      `unknown key "sensor" in the sensor table`,
		row + "{" + good + ", ∑colour: red}\n":                                           `unknown key "colour" in a sensor`,
		row + "{" + good + ", ∑field: average}\n":                                        `mapping key "field" already defined at [3:6]`,
		row + "{field: ∑power, kind: instant}\n":                                         `field is "power", and must be one of average, instant, draw`,
		row + "{field: draw, kind: ∑boxcar}\n":                                           `kind is "boxcar", and must be one of average, instant, filter`,
		row + "{field: draw, kind: instant, window: ∑25}\n":                              "window must be a duration such as 90s or 1h30m, not a number",
		row + "{field: draw, kind: instant, window: ∑-1s}\n":                             "window must be a duration above zero such as 90s or 1h30m",
		row + "{" + good + ", driver: ∑535}\n":                                           "driver must be a mapping, not a number",
		row + "{" + good + ", driver: {from: ∑0}}\n":                                     "from must be a whole number from 1 to 1048576",
		row + "{" + good + ", driver: ∑{from: 535, below: 530}}\n":                       "driver: below 530 is not above from 535",
		row + "{" + good + ", driver: {∑to: 535}}\n":                                     `unknown key "to" in driver`,
		row + "{" + good + ", assumed: ∑maybe}\n":                                        "assumed must be true or false, not text",
		row + "{" + good + ", measured: ∑yes}\n":                                         "measured must be a mapping, not text",
		row + "{" + good + ", measured: {∑when: now}}\n":                                 `unknown key "when" in measured`,
		row + "{" + good + ", measured: {date: ∑yesterday}}\n":                           "date must be one such as 2026-11-27",
		row + "{" + good + ", measured: {devices: ∑0}}\n":                                "devices must be a whole number from 1 to 1099511627776",
		row + "{" + good + ", measured: {window: {∑sigma: 1ms}}}\n":                      `unknown key "sigma" in window`,
		row + "{" + good + ", measured: {period: {uncertainty: ∑1}}}\n":                  "uncertainty must be a duration such as 90s or 1h30m, not a number",
		row + "∑{kind: instant, window: 1s, period: 1s}\n":                               "the sensor has no field",
		row + "∑{field: draw, window: 1s, period: 1s}\n":                                 "the sensor has no kind",
		row + "∑{field: draw, kind: instant, window: 1s}\n":                              "the sensor has no period",
		row + "∑{field: draw, kind: instant, period: 1s}\n":                              "the sensor has no window",
		row + "∑{field: draw, kind: filter, window: 1s, period: 1s}\n":                   "a filter has no window",
		row + "∑{" + good + ", span: 1s}\n":                                              "span and rest are of the kind average alone",
		row + "∑{field: draw, kind: average, window: 50ms, period: 100ms}\n":             "an average covers at least its period: the window is 50ms, the period 100ms",
		row + "∑{field: draw, kind: average, window: 1s, period: 100ms, span: 1100ms}\n": "the span 1.1s is longer than the window 1s",
		row + "∑{field: draw, kind: average, window: 1s, period: 100ms, rest: 50ms}\n":   "the period at rest, 50ms, is shorter than the period, 100ms",
	} {
		before, _, _ := strings.Cut(marked, "∑")
		line := strings.Count(before, "\n")
		col := len(before) - strings.LastIndexByte(before, '\n')
		_, err := Read(strings.NewReader(strings.Replace(marked, "∑", "", 1)), "s.yaml")
		if full := "s.yaml:" + strconv.Itoa(line+1) + ":" + strconv.Itoa(col) + ": " + want; err == nil || err.Error() != full {
			t.Errorf("%q:\n got %v\nwant %s", marked, err, full)
		}
	}
}
