package sibling

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
)

func TestTail(t *testing.T) {
	t.Parallel()
	var lines []string
	l := &Tail{line: func(s string) { lines = append(lines, s) }}
	for range 20 {
		l.Write([]byte("a\n"))
	}
	l.Write([]byte("b\r\n\nreplay: c\nreplay: hint: d\nand \xff" + strings.Repeat("e", 3*longestLine)))
	l.end()
	if len(lines) != 24 || lines[20] != "b" || len(lines[23]) > longestLine || !strings.HasPrefix(lines[23], "and ?e") {
		t.Errorf("%d lines, %q", len(lines), lines[20:])
	}
	if n := strings.Count(l.Last(), "\n") + 1; n != tailLines || len(l.Lines()) != n {
		t.Errorf("the tail has %d lines", n)
	}
}

// TestLastLines: what a server prints cannot write over the terminal.
func TestLastLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.log")
	if err := os.WriteFile(path, []byte("a\x1b[31mb\u009b2Jc\x7f\x00\u0085\n\té\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := LastLines(path); strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }) || !strings.Contains(got, "a[31mb2Jc") || !strings.Contains(got, "é") {
		t.Errorf("%q", got)
	}
}

// TestStop ends a process that ignores SIGTERM, and its children, one of which has
// left its process group.
func TestStop(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid")
	}
	cmd := exec.Command("sh", "-c", `trap "" TERM; (setsid sh -c 'echo $$; sleep 1000 & wait' &); sleep 1000 & wait; sleep 1000`)
	mark := "0123456789abcdef"
	cmd.Env = append(os.Environ(), MarkVariable+"="+mark)
	ready, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	p, err := Begin("sh", cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Mark = mark
	var far int // that has left the group
	if _, err := fmt.Fscan(ready, &far); err != nil {
		t.Fatal(err)
	}
	if !p.Stop(100*time.Millisecond, nil) {
		t.Error("SIGTERM was enough")
	}
	if left := p.Family(); len(left) > 0 || !p.Ended() || p.Status() != 137 {
		t.Errorf("left: %v, ended %v", left, p.Ended())
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", far)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("process %d is left: %s", far, stat)
		syscall.Kill(-far, syscall.SIGKILL)
	}
}
