package nvidiasmi

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"wattrace/sample"
)

// inferencexLog is what InferenceX has nvidia-smi write, of 8 GPUs.
func inferencexLog(rows int) []byte {
	var b bytes.Buffer
	b.WriteString("timestamp, index, power.draw [W], temperature.gpu, clocks.current.sm [MHz], clocks.current.memory [MHz], utilization.gpu [%], utilization.memory [%]\n")
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for i := range rows {
		at := start.Add(time.Duration(i/8) * 20 * time.Millisecond).Format("2006/01/02 15:04:05.000")
		fmt.Fprintf(&b, "%s, %d, %d.%02d W, %d, 1980 MHz, 2619 MHz, %d %%, %d %%\n", at, i%8, 300+i%400, i%100, 40+i%40, i%101, i%77)
	}
	return b.Bytes()
}

func BenchmarkReadEight(b *testing.B) {
	const rows = 200_000
	log := inferencexLog(rows)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	var batch sample.Batch
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(log), "smi.csv", Options{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if err := r.Read(&batch); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
