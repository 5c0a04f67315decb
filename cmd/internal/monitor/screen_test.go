package monitor

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"wattrace/cmd/internal/cli"
)

// TestMain makes the test binary stand for the tool, in a terminal of tmux.
func TestMain(m *testing.M) {
	if where := os.Getenv("WATTRACE_TEST_MONITOR"); where != "" {
		now = func() time.Time {
			if strings.Contains(string(debug.Stack()), where) {
				panic("as a test wants it")
			}
			return time.Now()
		}
		cli.Exec(Main)
	}
	os.Exit(m.Run())
}

// TestTerminal is the table in a real terminal, of two sizes, and the ways to leave it: each
// gives the terminal back as it was.
func TestTerminal(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux")
	}
	dir := t.TempDir()
	first, _ := recording(t, false)
	path := filepath.Join(dir, "power.arrows")
	if err := os.WriteFile(path, first, 0o666); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "tmux")
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tmux", append([]string{"-u", "-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	script := filepath.Join(dir, "run.sh")
	content := "trap : INT # the whole pipeline gets it, as from a terminal\necho before\nstty -a > stty.before\nWATTRACE_TEST_MONITOR=${1:-nowhere} " + os.Args[0] + " power.arrows --every 100ms\necho \"status $?\"\nstty -a > stty.after\ncmp stty.before stty.after && echo same\nsleep 1000\n"
	if err := os.WriteFile(script, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	first80 := true
	for name, c := range map[string]struct{ width, height, keys string }{
		"q":      {"80", "24", "q"},
		"ctrl-c": {"200", "50", "C-c"},
		"term":   {"80", "24", "TERM"},
		"quit":   {"80", "24", "QUIT"},
		// A panic gives the terminal back too, whose goroutine ever it is in.
		"draw": {"80", "24", "(*session).poll"},
		"read": {"200", "50", "(*feeder).read"},
	} {
		if first80 {
			t.Cleanup(func() { exec.Command("tmux", "-S", socket, "kill-server").Run() })
			first80 = false
		}
		where := ""
		if strings.HasPrefix(c.keys, "(") {
			where = "'" + c.keys + "'"
		}
		tmux("new-session", "-d", "-s", name, "-x", c.width, "-y", c.height, "-c", dir, "sh "+script+" "+where)
		wait := func(want string) string {
			t.Helper()
			for start := time.Now(); time.Since(start) < 20*time.Second; {
				if shown := tmux("capture-pane", "-p", "-t", name); strings.Contains(shown, want) {
					return shown
				}
			}
			t.Errorf("%s: no %q:\n%s", name, want, tmux("capture-pane", "-p", "-t", name))
			return ""
		}
		if where != "" {
			if shown := wait("same"); !strings.Contains(shown, "status 2") {
				t.Errorf("%s:\n%s", name, shown)
			}
			if shown := tmux("capture-pane", "-p", "-S", "-200", "-t", name); !strings.Contains(shown, "before") || !strings.Contains(shown, "panic: as a test wants it") {
				t.Errorf("%s:\n%s", name, shown)
			}
			continue
		}
		shown := wait("q leaves")
		if !strings.Contains(shown, "1 GPU  100.0 W") || strings.Contains(shown, "before") || !strings.Contains(shown, "DEVICE") {
			t.Errorf("%s:\n%s", name, shown)
		}
		switch c.keys {
		case "TERM", "QUIT":
			pane := strings.TrimSpace(tmux("display-message", "-p", "-t", name, "#{pane_pid}"))
			out, err := exec.Command("pkill", "-"+c.keys, "-P", pane).CombinedOutput()
			if err != nil {
				t.Fatal(err, string(out))
			}
		default:
			tmux("send-keys", "-t", name, c.keys)
		}
		shown = wait("same")
		if c.keys == "QUIT" { // what its goroutines did is above
			continue
		}
		if !strings.Contains(shown, "before") || !strings.Contains(shown, "status ") || c.keys != "C-c" && !strings.Contains(shown, "status 0") {
			t.Errorf("%s:\n%s", name, shown)
		}
	}
}
