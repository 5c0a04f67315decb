package replay_test

import (
	"fmt"

	"wattrace/replay"
)

// An overlay changes one key and no other byte.
func ExampleOverlay() {
	o, err := replay.ParseOverlay("stream=true")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := o.Apply(nil, []byte(`{ "stream" : false, "temperature": 1.0e0 }`))
	fmt.Println(string(body), err)
	// Output:
	// { "stream" : true, "temperature": 1.0e0 } <nil>
}
