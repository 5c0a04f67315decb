//go:build unix

package cli

import (
	"os"
	"syscall"
)

// umask reads the process's umask, which can only be read by setting it.
func umask() os.FileMode {
	m := syscall.Umask(0)
	syscall.Umask(m)
	return os.FileMode(m)
}
