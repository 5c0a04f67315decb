package cli

import (
	"fmt"
	"strings"
	"time"
)

// Progress shows what status returns until stop is called: on a terminal one
// line, redrawn each second; elsewhere a plain line every 10 s; nothing with -q
// or --progress none.
func (env *Env) Progress(status func() string) (stop func()) {
	terminal := env.progress == "auto" && IsTerminal(env.Stderr)
	if env.Quiet || env.progress == "none" {
		return func() {}
	}
	interval := 10 * time.Second
	if terminal {
		interval = time.Second
	}
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				env.show(status(), terminal)
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-gone
		env.mu.Lock()
		defer env.mu.Unlock()
		env.clearStatus()
	}
}

func (env *Env) show(line string, terminal bool) {
	if !terminal {
		env.Printf("%s", line)
		return
	}
	env.mu.Lock()
	defer env.mu.Unlock()
	line = env.Tool + ": " + line
	pad := max(0, env.status-len(line))
	fmt.Fprintf(env.Stderr, "\r%s%s", line, strings.Repeat(" ", pad))
	env.status = len(line)
}

// clearStatus removes the progress line. env.mu is held.
func (env *Env) clearStatus() {
	if env.status > 0 {
		fmt.Fprintf(env.Stderr, "\r%s\r", strings.Repeat(" ", env.status))
		env.status = 0
	}
}

// ShowsTo says how what is shown all the time goes to a stream: redrawn in place on a
// terminal, as plain lines elsewhere and with --progress plain, and not at all with -q or
// --progress none.
func (env *Env) ShowsTo(stream any) (redrawn, plain bool) {
	if env.Quiet || env.progress == "none" {
		return false, false
	}
	redrawn = env.progress == "auto" && IsTerminal(stream)
	return redrawn, !redrawn
}
