package replay

import (
	"os"
	"os/signal"
	"syscall"
)

// ignoreSignals keeps signals from killing the process until it is undone.
func ignoreSignals() (undo func()) {
	c := make(chan os.Signal, 16)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return func() { signal.Stop(c) }
}
