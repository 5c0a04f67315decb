package record

import (
	"context"
	"encoding/csv"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wattrace/formats/telemetry"
)

// timeSync asks chrony how well the wall clock is kept, and the kernel if there
// is none.
func timeSync() telemetry.TimeSync {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "chronyc", "-c", "-n", "tracking").Output(); err == nil {
		if s, ok := parseTracking(string(out)); ok {
			return s
		}
	}
	return kernelSync()
}

// parseTracking reads the one line of chronyc -c tracking: reference id, its
// name, stratum, reference time, offset of the system clock in seconds, last
// offset, RMS offset, frequency, residual frequency, skew, root delay, root
// dispersion, update interval, leap status. chronyc's own sign of the offset is
// positive where the clock is slow.
func parseTracking(line string) (telemetry.TimeSync, bool) {
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil || len(fields) < 14 {
		return telemetry.TimeSync{}, false
	}
	seconds := func(i int) float64 {
		v, e := strconv.ParseFloat(fields[i], 64)
		if e != nil || math.Abs(v) > 1e6 || v != v {
			err = strconv.ErrSyntax
			return 0
		}
		return v
	}
	duration := func(s float64) time.Duration { return time.Duration(s * 1e9) }
	stratum, e := strconv.Atoi(fields[2])
	s := telemetry.TimeSync{
		Source: "chrony", Synchronised: fields[13] != "Not synchronised", Stratum: stratum,
		Offset:   duration(-seconds(4)),
		MaxError: duration(seconds(10)/2 + seconds(11)),
	}
	return s, err == nil && e == nil
}

// Bits of timex.status (linux/timex.h).
const (
	staUnsync = 0x0040
	staNano   = 0x2000
)

// kernelSync reads the kernel's own view (adjtimex(2)).
func kernelSync() telemetry.TimeSync {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return telemetry.TimeSync{}
	}
	offset := time.Duration(t.Offset) * time.Microsecond
	if t.Status&staNano != 0 {
		offset = time.Duration(t.Offset)
	}
	return telemetry.TimeSync{
		Source: "kernel", Synchronised: t.Status&staUnsync == 0,
		Offset: -offset, MaxError: time.Duration(t.Maxerror) * time.Microsecond,
	}
}
