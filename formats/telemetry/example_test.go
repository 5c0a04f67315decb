package telemetry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// A recorder writes batches as it reads them; a reader gets them back, and is
// told if the recording was cut.
func Example() {
	head := telemetry.Head{
		Producer: "example 1.0",
		Clock:    trace.Clock{Host: "node1", Anchor: trace.ClockSnapshot{UnixNanos: 1780000000000000000}},
		Devices:  []sample.Device{{ID: "GPU-0", Host: "node1", Source: sample.NVML, Scope: sample.ScopeGPU}},
		Metrics:  []sample.MetricID{sample.EnergyJoules},
	}
	var file bytes.Buffer
	w, err := telemetry.NewWriter(&file, head)
	if err != nil {
		log.Fatal(err)
	}
	b := &sample.Batch{Devices: head.Devices}
	for k := range 3 {
		row := b.Append(0, trace.Time(k)*trace.Time(50*time.Millisecond), 30*time.Microsecond)
		row.Set(sample.EnergyJoules, 100+15*float64(k))
	}
	if err := w.Write(b); err != nil {
		log.Fatal(err)
	}
	whole := file.Len()
	if err := w.Close(telemetry.End{Clean: true}); err != nil {
		log.Fatal(err)
	}

	show := func(name string, r io.Reader) {
		rd, err := telemetry.NewReader(r, name)
		if err != nil {
			log.Fatal(err)
		}
		for {
			if err = rd.Read(b); err != nil {
				break
			}
			for i := range b.Len() {
				joules, _ := b.Float(sample.EnergyJoules, i)
				fmt.Println(rd.Head().Clock.Wall(b.Time[i]).Format(time.TimeOnly+".000"), joules, "J")
			}
		}
		if err != io.EOF {
			fmt.Println(errors.Is(err, telemetry.ErrTruncated), err)
		}
	}
	show("cut.arrows", bytes.NewReader(file.Bytes()[:whole]))
	show("power.arrows", &file)
	// Output:
	// 20:26:40.000 100 J
	// 20:26:40.050 115 J
	// 20:26:40.100 130 J
	// true cut.arrows: batch 2: the recording is not complete: it ends where a message should begin (at byte 3160)
	// 20:26:40.000 100 J
	// 20:26:40.050 115 J
	// 20:26:40.100 130 J
}
