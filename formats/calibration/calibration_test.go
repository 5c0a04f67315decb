package calibration

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/reduce"
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
	want := []reduce.Calibration{
		{Device: "GPU-9927a129-abed-4903-878c-9997bcc14af2", Gain: 0.947, GainSigma: 0.004, OffsetWatts: -1.2, OffsetSigma: 0.5},
		{Device: "NVIDIA GeForce RTX 4090", Field: "power_watts", Gain: 0.955, GainSigma: 0.014, OffsetWatts: 20, OffsetSigma: 2},
	}
	if d := cmp.Diff(want, got); d != "" {
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

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	want := []reduce.Calibration{
		{Device: "GPU: \"a\" # ü", Field: "energy_joules", Gain: 0.5000000001, GainSigma: 1e-7, OffsetWatts: -99.5},
		{Device: "12", Gain: 1, OffsetSigma: 1. / 3},
		{Device: "12", Field: "power_watts", Gain: 1},
	}
	var b bytes.Buffer
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b, "-")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Each input has the marker where its fault must be reported.
func TestErrors(t *testing.T) {
	t.Parallel()
	const head = "schema: wattrace.calibration/1\ndevices:\n  - "
	for marked, want := range map[string]string{
		"schema: ∑wattrace.calibration/9\n":                                                        `schema "wattrace.calibration/9" is not known here (this program knows wattrace.calibration/1)`,
		"∑schema: wattrace.calibration/1\n":                                                        "the calibration has no devices",
		head + "∑{gain: 1, gain_sigma: 0}\n":                                                       "the device has no device",
		head + "∑{device: a, gain_sigma: 0}\n":                                                     "the device has no gain",
		head + "∑{device: a, gain: 1}\n":                                                           "the device has no gain_sigma",
		head + "{device: a, gain: ∑95, gain_sigma: 0}\n":                                           "gain must be a number above 0.5 and below 2",
		head + "{device: a, gain: ∑0.5, gain_sigma: 0}\n":                                          "gain must be a number above 0.5 and below 2",
		head + "{device: a, gain: ∑2.0, gain_sigma: 0}\n":                                          "gain must be a number above 0.5 and below 2",
		head + "{device: a, gain: ∑one, gain_sigma: 0}\n":                                          "gain must be a number, not text",
		head + "{device: a, gain: 1, gain_sigma: ∑-0.1}\n":                                         "gain_sigma must be a number of at least 0 and below 0.5",
		head + "{device: a, gain: 1, offset_watts: ∑101}\n":                                        "offset_watts must be a number from -100 to 100",
		head + "{device: a, gain: 1, offset_sigma_watts: ∑-1}\n":                                   "offset_sigma_watts must be a number from 0 to 100",
		head + "{device: ∑7, gain: 1}\n":                                                           "device must be text, not a number",
		head + "{device: a, metric: ∑power, gain: 1}\n":                                            `metric is "power", and must be one of power_watts, power_average_watts, power_instant_watts, energy_joules`,
		head + "{device: a, ∑offset: 3}\n":                                                         `unknown key "offset" in a device`,
		head + "{device: a, gain: 1, gain_sigma: 0}\n  - ∑{device: a, gain: 1.1, gain_sigma: 0}\n": "a is calibrated twice",
	} {
		before, _, _ := strings.Cut(marked, "∑")
		line, col := strings.Count(before, "\n")+1, len(before)-strings.LastIndexByte(before, '\n')
		_, err := Read(strings.NewReader(strings.Replace(marked, "∑", "", 1)), "c.yaml")
		if full := "c.yaml:" + strconv.Itoa(line) + ":" + strconv.Itoa(col) + ": " + want; err == nil || err.Error() != full {
			t.Errorf("%q:\n got %v\nwant %s", marked, err, full)
		}
	}
}
