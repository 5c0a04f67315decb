package record

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// monitorSlack is how late the runtime's monitor may wake.
const monitorSlack = 2 * time.Millisecond

// quietMonitor lets the thread of Go's runtime that watches over the others
// (sysmon) wake late. While a call of a driver blocks, it would look every 20 us
// whether the call's processor is wanted; here each unit has a processor to spare, and
// those wakes were half of the recorder's CPU time. The monitor is the first
// thread that the runtime makes. Where the kernel does not allow it, nothing is
// lost.
func quietMonitor() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	var ids []int
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil && id != os.Getpid() {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/timerslack_ns", slices.Min(ids)), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	fmt.Fprint(f, monitorSlack.Nanoseconds())
	f.Close()
}
