//go:build !linux

package selftest

import "time"

// lockNap prepares the calling goroutine for nap.
func lockNap() {}

func nap(d time.Duration) { time.Sleep(d) }
