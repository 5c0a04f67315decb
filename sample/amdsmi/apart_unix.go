//go:build unix

package amdsmi

import (
	"os/exec"
	"syscall"
)

// apart keeps Ctrl-C from the program: its end would come before the
// recording's and look like a failure.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
