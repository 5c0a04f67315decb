//go:build unix

package record

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a command that is not started yet the first of a process group.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup signals all that a command has started, as far as it is left.
func signalGroup(cmd *exec.Cmd, s syscall.Signal) { syscall.Kill(-cmd.Process.Pid, s) }
