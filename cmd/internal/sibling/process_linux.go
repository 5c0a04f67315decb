package sibling

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// starter starts programs on a thread that lives as long as the process: the kernel
// sends the signal of Pdeathsig when the thread ends that started a program.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// startOwned starts a program in a process group of its own, which gets SIGTERM when
// the tool is killed.
func startOwned(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}

// Family returns the processes that are left of p and of what it started: its process
// group, all whose environment has its mark, and the children of any of these. Launchers
// such as MPI's put what they start into sessions of their own; some programs write over
// their environment. The dead that nobody has waited for do not count.
func (p *Process) Family() (pids []int) {
	type info struct {
		pid, parent, group int
		marked             bool
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return p.group()
	}
	var all []info
	mark := []byte("\x00" + MarkVariable + "=" + p.Mark + "\x00")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state parent group ...; the name may have anything in it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 3 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
			continue
		}
		i := info{pid: pid}
		i.parent, _ = strconv.Atoi(string(fields[1]))
		i.group, _ = strconv.Atoi(string(fields[2]))
		if p.Mark != "" {
			env, _ := os.ReadFile("/proc/" + e.Name() + "/environ") // of others' processes it cannot be read
			i.marked = bytes.Contains(append(append([]byte{0}, env...), 0), mark)
		}
		all = append(all, i)
	}
	ours := map[int]bool{}
	for grown := true; grown; {
		grown = false
		for _, i := range all {
			if !ours[i.pid] && (i.marked || i.group == p.Cmd.Process.Pid || ours[i.parent]) {
				ours[i.pid], grown = true, true
				pids = append(pids, i.pid)
			}
		}
	}
	return pids
}
