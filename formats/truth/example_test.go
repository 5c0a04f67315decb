package truth_test

import (
	"fmt"
	"os"
	"time"

	"wattrace/formats/truth"
	"wattrace/trace"
)

// What did a device really use in a window?
func Example() {
	const name = "testdata/example.jsonl"
	f, err := os.Open(name)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	t, err := truth.Load(f, name)
	if err != nil {
		fmt.Println(err)
		return
	}
	second := trace.Time(time.Second)
	device := t.Header.Devices[0].ID
	from, _ := t.Energy(device, 1*second)
	to, ok := t.Energy(device, 3*second)
	fmt.Println(to-from, "uJ", ok)
	_, ok = t.Energy(device, 31*second)
	fmt.Println("after the end:", ok)
	// Output:
	// 583697095 uJ true
	// after the end: false
}
