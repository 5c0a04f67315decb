package peers_test

import (
	"fmt"
	"time"

	"wattrace/reduce/peers"
	"wattrace/trace"
)

// What aiperf would have said of a phase of 10 s, and why it is not what wattrace
// says: the example of the package comment.
func Example() {
	second := trace.Time(time.Second)
	phase := peers.Window{Name: "profiling", Start: trace.Some(10 * second), End: trace.Some(20 * second), Concurrency: 4, Profiling: true}
	p, err := peers.New("aiperf", []peers.Window{phase}, peers.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	gpu := p.Device(peers.DeviceInfo{ID: "GPU-1", Source: "nvml"})
	for _, r := range []struct {
		at     trace.Time // ms
		joules float64
	}{{9500, 2850}, {19500, 7750}, {20500, 8150}} {
		gpu.Read(peers.Sample{At: r.at * second / 1000, Joules: trace.Some(r.joules)})
	}
	for _, f := range p.Figures(0, nil).Figures {
		fmt.Println(f.Name, f.Value, f.Unit)
	}
	x := p.Explain(0, []peers.Ours{{Device: "GPU-1", Source: "nvml", Microjoules: 5000e6}})
	fmt.Println("ours:", x.Ours/1e6)
	for _, s := range x.Steps {
		fmt.Printf("%+.0f %s\n", s.Joules(), s.What)
	}
	fmt.Println("theirs:", x.Theirs/1e6)
	// Output:
	// nvidia_average_gpu_power 530 W
	// nvidia_total_gpu_energy 5300 J
	// nvidia_energy_per_user 1325 joules/user
	// ours: 5000
	// -100 both ends moved to the last readings until then
	// +400 readings until the grace after the end
	// theirs: 5300
}
