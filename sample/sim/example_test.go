package sim_test

import (
	"fmt"
	"time"

	"wattrace/sample/sim"
	"wattrace/trace"
)

// A board draws 500 W for one second and rests for another. The truth is exact;
// its sensors know it late, and each in its own way.
func Example() {
	devices, err := sim.New(sim.Options{Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := devices[0]
	second := trace.Time(time.Second)
	before := d.Read(0)
	d.SetPower(0, 500)
	d.SetPower(second, 0)
	after := d.Read(2 * second)

	fmt.Println(d.Info().Name)
	fmt.Println("true energy:", d.Energy(2*second), "uJ")
	fmt.Println("counter:", after.EnergyMillijoules-before.EnergyMillijoules, "mJ")
	fmt.Println("instant:", after.PowerInstantMilliwatts, "mW, average:", after.PowerAverageMilliwatts, "mW")
	// Output:
	// wattrace simulated H100
	// true energy: 500000000 uJ
	// counter: 500000 mJ
	// instant: 0 mW, average: 7627 mW
}
