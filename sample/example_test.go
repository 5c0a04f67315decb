package sample_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// constant is a source of one device that always draws 300 W.
type constant struct{}

func (constant) Info() sample.Info        { return sample.Info{API: "none"} }
func (constant) Devices() []sample.Device { return []sample.Device{{ID: "example:0"}} }
func (constant) Close() error             { return nil }
func (constant) Units() [][]int           { return sample.Each(1) }
func (constant) Read(_ int, slow bool, rows []sample.Row) {
	rows[0].Set(sample.PowerWatts, 300)
	rows[0].Fail(sample.EnergyJoules, "NOT_SUPPORTED")
}

func ExampleSampler() {
	s := sample.Sampler{Sources: []sample.Source{constant{}}, Clock: trace.NewSteadyClock(), Interval: 10 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Run(ctx, func(b *sample.Batch) error {
		if ctx.Err() != nil {
			return nil // what was read before the end was known
		}
		watts, _ := b.Float(sample.PowerWatts, 0)
		_, ok := b.Float(sample.EnergyJoules, 0)
		fmt.Println(s.Devices()[b.Device[0]].ID, watts, "W, energy known:", ok, b.Status[0])
		cancel()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: example:0 300 W, energy known: false energy_joules=NOT_SUPPORTED
}
