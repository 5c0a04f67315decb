package plan_test

import (
	"fmt"
	"strings"

	"wattrace/formats/plan"
)

// A mistake in a plan stands where it was made.
func ExampleRead() {
	_, err := plan.Read(strings.NewReader("schema: wattrace.plan/1\nphases:\n  - name: profiling\n    concurency: 64\n"), "plan.yaml")
	fmt.Println(err)
	// Output:
	// plan.yaml:4:5: unknown key "concurency" in a phase
}
