package reduce

import (
	"path/filepath"
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	const (
		average = "average over 1.1s every 100ms"
		second  = "average over 1s every 100ms"
		full    = "instant over 100ms every 100ms"
		quarter = "instant over 25ms every 100ms"
		half    = "instant over 10ms every 20ms"
		filter  = "filter over 0s every 100ms"
	)
	for _, test := range []struct {
		field   PowerField
		d       sample.Device
		driver  string
		want    string
		assumed bool
	}{
		{FieldDraw, sample.Device{Name: "NVIDIA GeForce RTX 3090"}, "525.60.13", average, false},
		{FieldDraw, sample.Device{Name: "NVIDIA GeForce RTX 3090"}, "530.30.02", full, false},
		{FieldDraw, sample.Device{Name: "NVIDIA GeForce RTX 3090"}, "535.54.03", average, false},
		{FieldDraw, sample.Device{Name: "NVIDIA GeForce RTX 4090"}, "530.41", full, false},
		{FieldDraw, sample.Device{Name: "NVIDIA GeForce RTX 4090"}, "", average, true},
		{FieldDraw, sample.Device{Name: "NVIDIA GeForce RTX 4090"}, "unknown", average, true},
		{FieldDraw, sample.Device{Name: "NVIDIA A100-SXM4-80GB"}, "", quarter, false},
		{FieldDraw, sample.Device{Architecture: "ampere", Name: "NVIDIA A100-SXM4-80GB"}, "580.1", quarter, false},
		{FieldDraw, sample.Device{Architecture: "ampere", Name: "NVIDIA A40"}, "580.1", average, true},
		{FieldDraw, sample.Device{Architecture: "ampere", Name: "NVIDIA A40"}, "575.1", average, false},
		{FieldDraw, sample.Device{Architecture: "ampere", Name: "of another name"}, "580.1", second, true},
		{FieldDraw, sample.Device{Name: "NVIDIA H100 80GB HBM3"}, "525.85.12", average, false},
		{FieldDraw, sample.Device{Name: "NVIDIA B200"}, "580.1", second, true},
		{FieldDraw, sample.Device{Name: "NVIDIA B200"}, "570.1", average, true},
		{FieldDraw, sample.Device{Name: "Tesla T4"}, "418.1", full, false},
		{FieldDraw, sample.Device{Name: "Tesla V100-SXM2-16GB"}, "515.1", half, false},
		{FieldDraw, sample.Device{Name: "Tesla K80"}, "470.1", filter, false},
		{FieldDraw, sample.Device{}, "", second, true},
		{FieldDraw, sample.Device{Name: "NVIDIA H200"}, "580.159.04", second, false},
		{FieldAverage, sample.Device{Architecture: "hopper"}, "580.1", second, false},
		{FieldAverage, sample.Device{Architecture: "hopper"}, "525.1", average, false},
		{FieldAverage, sample.Device{Architecture: "hopper"}, "", second, true},
		{FieldAverage, sample.Device{Architecture: "rubin"}, "", second, true},
		{FieldInstant, sample.Device{Architecture: "hopper"}, "", quarter, false},
		{FieldInstant, sample.Device{Architecture: "ada"}, "", full, false},
		{FieldInstant, sample.Device{Architecture: "ampere", Name: "wattrace simulated A100"}, "", quarter, false},
		{FieldInstant, sample.Device{Architecture: "volta"}, "", half, false},
		{FieldInstant, sample.Device{Architecture: "blackwell"}, "", quarter, true},
		{FieldInstant, sample.Device{}, "", quarter, true},
	} {
		s, ok := Sensors().Lookup(test.field, test.d, test.driver)
		got := string(s.Kind) + " over " + s.Window.String() + " every " + s.Period.String()
		if !ok || got != test.want || s.Assumed != test.assumed {
			t.Errorf("%s of %q %q, driver %q: %s (assumed %v), want %s (%v)",
				test.field, test.d.Architecture, test.d.Name, test.driver, got, s.Assumed, test.want, test.assumed)
		}
	}
	// Rows put before the others come first; a table without a row says so.
	own := append(SensorTable{{Field: FieldInstant, Sensor: instantSensor(time.Second, time.Second, false)}}, Sensors()...)
	if s, _ := own.Lookup(FieldInstant, sample.Device{Architecture: "ada"}, ""); s.Window != time.Second {
		t.Errorf("%+v", s)
	}
	if s, ok := own[:1].Lookup(FieldDraw, sample.Device{}, ""); ok {
		t.Errorf("%+v", s)
	}
}

func TestSensorsAreWhole(t *testing.T) {
	t.Parallel()
	for i, r := range Sensors() {
		duty := 1.0
		if r.Kind == SensorInstant {
			duty = min(1, r.Window.Seconds()/r.Period.Seconds())
		}
		law := r.Span > r.Period && r.Window > r.Span && r.Rest >= r.Period
		if r.Period <= 0 || r.Duty != duty || law != (r.Kind == SensorAverage) {
			t.Errorf("row %d: %+v", i, r)
		}
	}
}

func TestGPUArchitecture(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"NVIDIA H100 PCIe": "hopper", "NVIDIA H200": "hopper", "NVIDIA GH200 480GB": "hopper", "NVIDIA H20": "hopper", "NVIDIA H800": "hopper",
		"NVIDIA B200": "blackwell", "NVIDIA GB200": "blackwell", "NVIDIA B300 SXM6 AC": "blackwell", "NVIDIA GeForce RTX 5090": "blackwell",
		"NVIDIA RTX PRO 6000 Blackwell Server Edition": "blackwell",
		"NVIDIA L40S": "ada", "NVIDIA L4": "ada", "NVIDIA RTX 6000 Ada Generation": "ada", "NVIDIA GeForce RTX 4060 Laptop GPU": "ada",
		"NVIDIA A100 80GB PCIe": "ampere-ga100", "A100-PCIE-40GB": "ampere-ga100", "NVIDIA A30": "ampere-ga100", "NVIDIA A800-SXM4-80GB": "ampere-ga100",
		"NVIDIA A10": "ampere-ga10x", "NVIDIA A10G": "ampere-ga10x", "NVIDIA A16": "ampere-ga10x", "NVIDIA A2": "ampere-ga10x", "NVIDIA A40": "ampere-ga10x",
		"NVIDIA RTX A5000": "ampere-ga10x", "NVIDIA RTX A1000": "ampere-ga10x", "NVIDIA RTX A4500": "ampere-ga10x", "NVIDIA GeForce RTX 3070 Ti": "ampere-ga10x",
		"Tesla T4": "turing", "NVIDIA T1000": "turing", "Quadro RTX 6000": "turing", "NVIDIA GeForce RTX 2080 Ti": "turing", "NVIDIA TITAN RTX": "turing", "GeForce GTX 1660": "turing",
		"Tesla V100-PCIE-32GB": "volta", "NVIDIA TITAN V": "volta", "Quadro GV100": "volta",
		"Tesla P100-PCIE-16GB": "pascal", "NVIDIA GeForce GTX 1080 Ti": "pascal", "NVIDIA TITAN X (Pascal)": "pascal", "Tesla P40": "pascal",
		"Tesla M60": "maxwell", "GeForce GTX 980": "maxwell", "Tesla K80": "kepler",
		"": "", "AMD Instinct MI300X": "", "NVIDIA RTX 5000": "",
	} {
		if got := GPUArchitecture(sample.Device{Name: name}); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	for _, test := range []struct{ architecture, name, want string }{
		{"hopper", "NVIDIA A100", "hopper"}, {"Ada", "", "ada"},
		{"ampere", "NVIDIA A100", "ampere-ga100"}, {"ampere", "NVIDIA H100", "ampere"}, {"ampere", "", "ampere"},
		{"ampere-ga10x", "wattrace", "ampere-ga10x"},
	} {
		if got := GPUArchitecture(sample.Device{Architecture: test.architecture, Name: test.name}); got != test.want {
			t.Errorf("%q %q: got %q, want %q", test.architecture, test.name, got, test.want)
		}
	}
}

// Real averages are not refuted, however slowly they are read; real instant
// fields are, where the polls are not much slower than the field.
func TestRefuter(t *testing.T) {
	t.Parallel()
	for _, name := range recordings {
		base := filepath.Join("testdata", "meter", name)
		r := readRecording(t, name, base+".nvidia-smi.csv.gz", base+".meter.csv.gz")
		for _, poll := range []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, time.Second} {
			average, instant := newRefuter(averageSensor(false)), newRefuter(averageSensor(false))
			for _, m := range r.thin(poll, 0) {
				average.read(m.at, m.average)
				instant.read(m.at, m.instant)
			}
			if average.refutes(0) {
				t.Errorf("%s read every %v: its average is refuted", name, poll)
			}
			if poll <= 50*time.Millisecond && !instant.refutes(0) {
				t.Errorf("%s read every %v: its instant field passes for an average", name, poll)
			}
		}
	}
	// An average that begins to rise has shown nothing yet of what it will.
	rises := newRefuter(averageSensor(false))
	for i := range 40 {
		rises.read(trace.Time(i)*100*ms, 60+float64(590*max(0, min(11, i-20)))/11)
	}
	if rises.refutes(0) {
		t.Error("a rise from rest refutes an average")
	}
	// Nor does one that pulses alone have moved, as far as the board may go.
	pulses := newRefuter(averageSensor(false))
	for i := range 400 {
		watts := 60.0
		if i%40 < 11 { // a pulse of an update's length is in eleven averages
			watts = 60 + 600./11
		}
		pulses.read(trace.Time(i)*100*ms, watts+float64(i%2)/100)
	}
	if pulses.refutes(700) || !pulses.refutes(0) {
		t.Error("short pulses: the limit does not decide")
	}
	// A jump that the time since the last reading explains refutes nothing.
	r := newRefuter(averageSensor(false))
	for i := range 100 {
		r.read(trace.Time(i)*5*sec, float64(100+300*(i%2)))
	}
	if r.refutes(0) {
		t.Error("slow readings refute")
	}
}

// Real recordings under real squares are no beats.
func TestRealRecordingsAreNoBeats(t *testing.T) {
	t.Parallel()
	for _, name := range recordings {
		base := filepath.Join("testdata", "meter", name)
		r := readRecording(t, name, base+".nvidia-smi.csv.gz", base+".meter.csv.gz")
		for _, poll := range []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond} {
			looks := &aliasDetector{period: 100 * time.Millisecond}
			for _, m := range r.thin(poll, 0) {
				looks.read(m.at, m.instant)
			}
			if looks.aliased() {
				t.Errorf("%s read every %v: it passes for a beat", name, poll)
			}
		}
	}
}
