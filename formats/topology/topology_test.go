package topology

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
	var want []reduce.Member
	for i := range 8 {
		want = append(want, reduce.Member{Host: "node1", Index: i, Role: "prefill", Worker: "p0"})
	}
	for i := range 8 {
		want = append(want, reduce.Member{Host: "node2", Index: i, Role: "decode", Worker: "d" + strconv.Itoa(i/4)})
	}
	want = append(want, reduce.Member{Device: "GPU-9927a129-abed-4903-878c-9997bcc14af2", Role: "agg"}, reduce.Member{Host: "node3"})
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

	var b bytes.Buffer
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	again, err := Read(&b, "-")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, again); d != "" {
		t.Errorf("written and read again (-want +got):\n%s", d)
	}
}

func TestUUIDs(t *testing.T) {
	t.Parallel()
	got, err := Read(strings.NewReader(`{"schema": "wattrace.topology/1", "hosts": [{"host": "a", "gpus": ["GPU-1", 3]}]}`), "-")
	want := []reduce.Member{{Host: "a", Device: "GPU-1"}, {Host: "a", Index: 3}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// Each input has the marker where its fault must be reported.
func TestErrors(t *testing.T) {
	t.Parallel()
	const hosts = "schema: wattrace.topology/1\nhosts:\n  - "
	const devices = "schema: wattrace.topology/1\ndevices:\n  - "
	for marked, want := range map[string]string{
		"schema: ∑wattrace.topology/2\n":                          `schema "wattrace.topology/2" is not known here (this program knows wattrace.topology/1)`,
		"∑schema: wattrace.topology/1\n":                          "the topology has no devices",
		"schema: wattrace.topology/1\n∑nodes: []\n":               `unknown key "nodes" in the topology`,
		hosts + "∑{gpus: 8}\n":                                    "the host has no host: its name",
		hosts + "∑{host: a}\n":                                    "the host has no gpus: how many, or a list",
		hosts + "{host: a, gpus: ∑0}\n":                           "gpus must be a whole number from 1 to 4096",
		hosts + "{host: a, gpus: ∑[]}\n":                          "gpus is empty",
		hosts + "{host: a, gpus: ∑all}\n":                         "gpus must be a list, not text",
		hosts + "{host: a, gpus: [0, ∑-1]}\n":                     "an index must be a whole number from 0 to 4095",
		hosts + "{host: a, gpus: [0, 1, ∑0]}\n":                   "GPU 0 of a is listed twice",
		hosts + "{host: a, gpus: [0, ∑{}]}\n":                     "a GPU must be text, not a mapping",
		hosts + "{host: a, gpus: 4}\n  - {host: a, gpus: ∑2}\n":   "GPU 0 of a is listed twice",
		hosts + "{host: a, gpus: [x]}\n  - {host: b, gpus: [∑x]}": "x is listed twice",
		hosts + "{host: a, ∑rack: 7, gpus: 1}\n":                  `unknown key "rack" in a host`,
		devices + "∑{host: a}\n":                                  "the device has neither device nor index",
		devices + "∑{device: x, index: 0}\n":                      "the device has both device and index",
		devices + "∑{index: 0}\n":                                 "an index needs a host",
		devices + "{device: x}\n  - ∑{device: x, host: b}\n":      "x is listed twice",
		devices + "{host: a, index: 0, ∑gpus: 2}\n":               `unknown key "gpus" in a device`,
	} {
		before, _, _ := strings.Cut(marked, "∑")
		line, col := strings.Count(before, "\n")+1, len(before)-strings.LastIndexByte(before, '\n')
		_, err := Read(strings.NewReader(strings.Replace(marked, "∑", "", 1)), "t.yaml")
		if full := "t.yaml:" + strconv.Itoa(line) + ":" + strconv.Itoa(col) + ": " + want; err == nil || err.Error() != full {
			t.Errorf("%q:\n got %v\nwant %s", marked, err, full)
		}
	}
}
