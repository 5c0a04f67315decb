package trace

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// systemClocks reads the boot and monotonic clocks (clock_gettime(2)).
func systemClocks() (boot, monotonic int64) {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
		boot = ts.Nano()
	}
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) == nil {
		monotonic = ts.Nano()
	}
	return boot, monotonic
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
