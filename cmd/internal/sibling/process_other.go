//go:build !linux

package sibling

import (
	"os/exec"
	"syscall"
)

// startOwned starts a program in a process group of its own.
func startOwned(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

// Family returns p's process group, as one: without Linux's /proc what has left it is
// not seen.
func (p *Process) Family() []int { return p.group() }
