//go:build !linux

package record

func quietMonitor() {}
