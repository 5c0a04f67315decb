package truth

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/sample"
	"wattrace/trace"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const example = "testdata/example.jsonl"

func exampleHeader() *Header {
	return &Header{
		Producer: "wattrace 0.1.0", Seed: 1,
		Clock: trace.Clock{
			Host: "node1", BootID: "b7c1f0de-0d6a-4d0c-9a53-2f8c1f4c1d11",
			Anchor: trace.ClockSnapshot{BootNanos: 812345678901, MonotonicNanos: 812345678901, UnixNanos: 1780000000000000000},
		},
		Devices: []sample.Device{
			{ID: "GPU-5f1c8a3e-41d2-4b7c-9c36-0a1b2c3d4e5f", Index: 0, Name: "wattrace simulated H100", Simulated: true},
			{ID: "GPU-0b8d77f2-9e13-4c55-8a0f-5e4d3c2b1a09", Index: 1, Name: "wattrace simulated H100", Simulated: true},
		},
	}
}

var exampleSteps = []Step{
	{0, 0, 71_500_000, 0},
	{1, 0, 74_250_000, 0},
	{0, 2_000_120_034, 512_250_000, 143_008_582},
	{1, 2_000_120_034, 508_000_001, 148_508_912},
	{0, 30_000_000_000, 71_500_000, 14_485_947_095},
}

var exampleEnd = End{At: 30_000_200_000, Clean: true}

func write(t interface{ Fatal(...any) }, h *Header, steps []Step, end *End) []byte {
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if err := w.Step(s); err != nil {
			t.Fatal(err)
		}
	}
	if end == nil {
		err = w.Flush()
	} else {
		err = w.Close(*end)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll returns what is in a file up to its end or the first fault.
func readAll(data []byte) (h *Header, steps []Step, end trace.Opt[End], err error) {
	r, err := NewReader(bytes.NewReader(data), "t.jsonl")
	if err != nil {
		return nil, nil, end, err
	}
	for {
		var s Step
		if err := r.Read(&s); err == io.EOF {
			return r.Header(), steps, r.End(), nil
		} else if err != nil {
			return r.Header(), steps, r.End(), err
		}
		steps = append(steps, s)
	}
}

func TestExampleIsWhatTheWriterWrites(t *testing.T) {
	t.Parallel()
	got := write(t, exampleHeader(), exampleSteps, &exampleEnd)
	if *update {
		if err := os.WriteFile(example, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	h, steps, end, err := readAll(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleHeader(), h); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(exampleSteps, steps); diff != "" {
		t.Error(diff)
	}
	if end != trace.Some(exampleEnd) {
		t.Errorf("end %+v", end)
	}
}

// history is a run of one to three devices with true energies, computed in
// unbounded integers.
type history struct {
	header Header
	steps  []Step
	end    End
	energy func(device int, at trace.Time) uint64
}

func drawHistory(t *rapid.T) history {
	var h history
	n := rapid.IntRange(1, 3).Draw(t, "devices")
	for i := range n {
		h.header.Devices = append(h.header.Devices, sample.Device{ID: "GPU-" + string(rune('a'+i)), Index: 7 * i, Name: rapid.String().Draw(t, "name"), Simulated: true})
	}
	h.header.Producer = rapid.String().Draw(t, "producer")
	h.header.Seed = rapid.Uint64().Draw(t, "seed")
	h.header.Clock.Host = rapid.String().Draw(t, "host")
	h.energy = func(device int, at trace.Time) uint64 {
		sum := new(big.Int)
		var last *Step
		add := func(to trace.Time) {
			if last != nil && to > last.At {
				sum.Add(sum, new(big.Int).Mul(new(big.Int).SetUint64(last.Microwatts), big.NewInt(int64(to-last.At))))
			}
		}
		for _, s := range h.steps {
			if s.Device == device && s.At <= at {
				add(s.At)
				last = &s
			}
		}
		add(at)
		return sum.Div(sum, big.NewInt(femtoPerMicro)).Uint64()
	}
	now := trace.Time(0)
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		now += trace.Time(rapid.Int64Range(0, 1<<50).Draw(t, "wait"))
		s := Step{Device: 7 * rapid.IntRange(0, n-1).Draw(t, "device"), At: now, Microwatts: rapid.Uint64Range(0, MaxMicrowatts/1e4).Draw(t, "power")}
		s.Microjoules = h.energy(s.Device, now)
		h.steps = append(h.steps, s)
	}
	h.end = End{now + trace.Time(rapid.Int64Range(0, 1<<40).Draw(t, "rest")), rapid.Bool().Draw(t, "clean")}
	return h
}

func TestRoundTripAndEnergyAtAnyInstant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		data := write(t, &h.header, h.steps, &h.end)
		header, steps, end, err := readAll(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&h.header, header); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(h.steps, steps); diff != "" {
			t.Fatal(diff)
		}
		if end != trace.Some(h.end) {
			t.Fatalf("end %+v, want %+v", end, h.end)
		}

		truth, err := Load(bytes.NewReader(data), "t.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range h.header.Devices {
			at := trace.Time(rapid.Int64Range(0, int64(h.end.At)).Draw(t, "at"))
			got, ok := truth.Energy(d.ID, at)
			if known := started(h.steps, d.Index, at); ok != known {
				t.Fatalf("%s at %d: known %v, want %v", d.ID, at, ok, known)
			}
			if want := h.energy(d.Index, at); ok && got != want {
				t.Fatalf("%s at %d: %d uJ, want %d", d.ID, at, got, want)
			}
			if _, ok := truth.Energy(d.ID, h.end.At+1); ok {
				t.Fatal("energy after the end")
			}
		}
	})
}

func started(steps []Step, device int, at trace.Time) bool {
	for _, s := range steps {
		if s.Device == device && s.At <= at {
			return true
		}
	}
	return false
}

func TestCutFileHoldsUpToItsLastWholeLine(t *testing.T) {
	t.Parallel()
	whole := write(t, exampleHeader(), exampleSteps, &exampleEnd)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	header := len(lines[0])
	for n := range len(whole) {
		h, steps, end, err := readAll(whole[:n])
		if n < header-1 {
			if err == nil {
				t.Fatalf("cut at byte %d: a part of the first line is taken", n)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at byte %d: %v", n, err)
		}
		complete := bytes.Count(whole[:n], []byte("\n"))
		if n == len(whole)-1 || n < len(whole) && whole[n] == '\n' {
			complete++ // only the ending is missing
		}
		want := min(complete-1, len(exampleSteps))
		if len(steps) != want || end.OK != (n == len(whole)-1) || len(h.Devices) != 2 {
			t.Fatalf("cut at byte %d: %d steps (want %d), end %v", n, len(steps), want, end)
		}
	}
}

func TestIncompleteFileIsKnownToTheLastStepOfEachDevice(t *testing.T) {
	t.Parallel()
	data := write(t, exampleHeader(), exampleSteps, nil)
	truth, err := Load(bytes.NewReader(data), "t.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	a, b := truth.Header.Devices[0].ID, truth.Header.Devices[1].ID
	if truth.End.OK {
		t.Error("the file passes for whole")
	}
	if _, ok := truth.Energy(a, 30_000_000_000); !ok {
		t.Error("the last step is not known")
	}
	if _, ok := truth.Energy(a, 30_000_000_001); ok {
		t.Error("known after the last step of the first device")
	}
	if _, ok := truth.Energy(b, 2_000_120_035); ok {
		t.Error("known after the last step of the second device")
	}
	if _, ok := truth.Energy("GPU-none", 0); ok {
		t.Error("a device that is not there is known")
	}
	if w, ok := truth.Power(a, 2_000_120_034); !ok || w != 512.25 {
		t.Errorf("power %v, %v", w, ok)
	}
	if w, ok := truth.Power(a, 2_000_120_033); !ok || w != 71.5 {
		t.Errorf("power just before the step %v, %v", w, ok)
	}
	if truth.Steps(a) != 3 || truth.Steps(b) != 2 || truth.Steps("GPU-none") != 0 {
		t.Errorf("steps %d and %d", truth.Steps(a), truth.Steps(b))
	}
}

const head = `{"type":"truth","schema":"wattrace.truth/1","seed":1,"clock":{"host":"n"},"devices":[{"device":"GPU-a","device_index":0}]}` + "\n"

func TestFaultsNameTheirPosition(t *testing.T) {
	t.Parallel()
	step := func(s string) string { return head + `{"type":"step","device_index":0,` + s + "}\n" }
	for in, want := range map[string]string{
		"":                         `t.jsonl: the file is empty`,
		"x\n":                      `t.jsonl:1:1: not JSON: unexpected character`,
		`{"type":"run"}`:           `t.jsonl:1:1: not a truth file: no truth line`,
		`{"type":"truth"}`:         `t.jsonl:1:1: "schema" is missing`,
		head + `{"x":1}` + "\n":    `t.jsonl:2:1: "type" is missing`,
		head + `{"type":1}` + "\n": `t.jsonl:2:9: "type" is not a string`,
		head + "{\n" + head:        `t.jsonl:2:2: not JSON: the line ends inside a value`,
		head + "{\n":               `t.jsonl:2:2: not JSON: the line ends inside a value`,
		head + head:                `t.jsonl:2: a second truth line`,
		strings.Replace(head, "truth/1", "truth/2", 1):                                                       `t.jsonl:1:26: "schema" is wattrace.truth/2, which needs a newer version; wattrace.truth/1 is known`,
		strings.Replace(head, "truth/1", "truth/x", 1):                                                       `t.jsonl:1:26: "schema" is not wattrace.truth/1`,
		strings.Replace(head, `"seed":1`, `"seed":-1`, 1):                                                    `t.jsonl:1:52: "seed" is not an integer from 0 to 2^64-1`,
		strings.Replace(head, `{"host":"n"}`, `{}`, 1):                                                       `t.jsonl:1:62: "clock": "host" is missing`,
		strings.Replace(head, `{"host":"n"}`, `[]`, 1):                                                       `t.jsonl:1:62: "clock": not an object`,
		strings.Replace(head, `"n"}`, `"n","boot_nanos":7}`, 1):                                              `t.jsonl:1:62: "clock": "boot_nanos" is not a string`,
		strings.Replace(head, `"n"}`, `"n","unix_nanos":"x"}`, 1):                                            `t.jsonl:1:62: "clock": "unix_nanos" is not a decimal integer`,
		strings.Replace(head, `[{`, `[1,{`, 1):                                                               `t.jsonl:1:85: "devices": number 1: not an object`,
		strings.Replace(head, `[{"device":"GPU-a","device_index":0}]`, `[]`, 1):                              `t.jsonl:1:85: "devices": there is no device`,
		strings.Replace(head, `0}]`, `0},{"device":"GPU-a","device_index":1}]`, 1):                           `t.jsonl:1:85: "devices": device 1 is there twice`,
		strings.Replace(head, `0}]`, `0},{"device":"GPU-b","device_index":0}]`, 1):                           `t.jsonl:1:85: "devices": device 0 is there twice`,
		strings.Replace(head, `"GPU-a"`, `""`, 1):                                                            `t.jsonl:1:85: "devices": device 0 has no identity`,
		head + `{"type":"step","device_index":1,"at_nanos":0,"power_watts":1,"energy_microjoules":0}` + "\n": `t.jsonl:2:31: "device_index" 1 is not in the first line`,
		step(`"at_nanos":0.5`):                                                                               `t.jsonl:2:44: "at_nanos" is not an integer from 0 to 2^63-1`,
		step(`"at_nanos":0,"power_watts":-1`):                                                                `t.jsonl:2:60: "power_watts" is not a number from 0 to 100000000`,
		step(`"at_nanos":0,"power_watts":"1"`):                                                               `t.jsonl:2:60: "power_watts" is not a number from 0 to 100000000`,
		step(`"at_nanos":0,"power_watts":1.0000005`):                                                         `t.jsonl:2:60: "power_watts" has more than six decimals`,
		step(`"at_nanos":0,"power_watts":1`):                                                                 `t.jsonl:2:1: "energy_microjoules" is missing`,
		step(`"at_nanos":0,"power_watts":1,"energy_microjoules":1`):                                          `t.jsonl:2:83: "energy_microjoules": device 0 has used 0 by then`,
		head + `{"type":"close","at_nanos":1}` + "\n":                                                        `t.jsonl:2:1: "clean" is missing`,
		head + `{"type":"close","at_nanos":1,"clean":1}` + "\n":                                              `t.jsonl:2:38: "clean" is not true or false`,
		head + `{"type":"close","at_nanos":1,"clean":true}` + "\n{}\n":                                       `t.jsonl:3:1: "type" is missing`,
		head + `{"type":"close","at_nanos":1,"clean":true}` + "\n" + `{"type":"new"}`:                        `t.jsonl:3: a line after the close line`,
	} {
		_, _, _, err := readAll([]byte(in))
		var syntax *trace.SyntaxError
		if err == nil || err.Error() != want || !errors.As(err, &syntax) {
			t.Errorf("%s\n got %v\nwant %s", in, err, want)
		}
	}
}

func TestLaterFaults(t *testing.T) {
	t.Parallel()
	first := head + `{"type":"step","device_index":0,"at_nanos":5,"power_watts":100000000,"energy_microjoules":0}` + "\n"
	for next, want := range map[string]string{
		`{"type":"step","device_index":0,"at_nanos":4,"power_watts":1,"energy_microjoules":0}`:                   `t.jsonl:3:44: "at_nanos": device 0 goes back in time`,
		`{"type":"step","device_index":0,"at_nanos":15,"power_watts":1,"energy_microjoules":0}`:                  `t.jsonl:3:84: "energy_microjoules": device 0 has used 1000000 by then`,
		`{"type":"step","device_index":0,"at_nanos":9223372036854775807,"power_watts":1,"energy_microjoules":0}`: `t.jsonl:3:101: "energy_microjoules": the energy is beyond 2^63 microjoules`,
		`{"type":"close","at_nanos":100000000000000,"clean":true}`:                                               `t.jsonl:3:28: "at_nanos": the energy is beyond 2^63 microjoules`,
		`{"type":"close","at_nanos":4,"clean":true}`:                                                             `t.jsonl:3:28: "at_nanos" is before the last step`,
		`{"type":"close","at_nanos":9223372036854775807,"clean":true}`:                                           `t.jsonl:3:28: "at_nanos": the energy is beyond 2^63 microjoules`,
	} {
		if _, _, _, err := readAll([]byte(first + next + "\n")); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", next, err, want)
		}
	}
}

func TestUnknownTypesAndKeysAreSkipped(t *testing.T) {
	t.Parallel()
	in := strings.Replace(head, `"seed"`, `"new":[1],"seed"`, 1) +
		`{"type":"weather","at_nanos":1}` + "\n\n" +
		`{"power_watts":1.25,"type":"step","new":{},"device_index":0,"at_nanos":0,"energy_microjoules":0}` + "\r\n" +
		`{"type":"close","at_nanos":9,"clean":false}`
	_, steps, end, err := readAll([]byte(in))
	if err != nil || len(steps) != 1 || steps[0].Microwatts != 1_250_000 || end != trace.Some(End{9, false}) {
		t.Errorf("steps %+v, end %+v, error %v", steps, end, err)
	}
}

func TestWriterRefusesWhatNoReaderWouldTake(t *testing.T) {
	t.Parallel()
	h := exampleHeader()
	h.Devices = nil
	if _, err := NewWriter(io.Discard, h); err == nil {
		t.Error("a header without devices is written")
	}
	w, err := NewWriter(io.Discard, exampleHeader())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Step(Step{Device: 0, At: 10}); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Step{
		"unknown device": {Device: 2, At: 10},
		"back in time":   {Device: 0, At: 9},
		"before time":    {Device: 1, At: -1},
		"power":          {Device: 0, At: 11, Microwatts: MaxMicrowatts + 1},
	} {
		if err := w.Step(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := w.Close(End{At: 9}); err == nil {
		t.Error("an end before the last step is written")
	}
}

type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestFullDiskIsReported(t *testing.T) {
	t.Parallel()
	w, err := NewWriter(&full{room: 100}, exampleHeader())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err == nil {
		t.Error("Flush: no error")
	}
	if err := w.Step(exampleSteps[0]); err == nil {
		t.Error("Step after a failed Flush: no error")
	}
	if err := w.Close(exampleEnd); err == nil {
		t.Error("Close: no error")
	}
}

func FuzzReadWriteRoundTrip(f *testing.F) {
	f.Add(write(f, exampleHeader(), exampleSteps, &exampleEnd))
	f.Add([]byte(head + `{"type":"close","at_nanos":1,"clean":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, steps, end, err := readAll(data)
		if _, loadErr := Load(bytes.NewReader(data), "t.jsonl"); (loadErr == nil) != (err == nil) {
			t.Fatalf("Read says %v, Load %v", err, loadErr)
		}
		if err != nil {
			return
		}
		var e *End
		if end.OK {
			e = &end.V
		}
		again := write(t, h, steps, e)
		h2, steps2, end2, err := readAll(again)
		if err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(h, h2) || !cmp.Equal(steps, steps2) || end != end2 {
			t.Fatal("what was read, written and read again differs")
		}
	})
}
