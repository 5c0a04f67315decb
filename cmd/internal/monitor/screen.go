package monitor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// screen is a terminal that is drawn over as a whole, on its other buffer, so that what was
// there before comes back. It may be used by several goroutines at once.
type screen struct {
	out  *os.File
	keys *os.File // the terminal as what is typed; nil: it cannot be read
	look look

	mu     sync.Mutex
	on     bool
	state  *term.State
	last   []string // lines that are on it
	width  int
	height int
}

// The control sequences of xterm and all that do as it does.
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[2J"
	leave = "\x1b[?25h\x1b[?1049l"
)

// openScreen takes a terminal over.
func openScreen(out *os.File) *screen {
	s := &screen{out: out, look: look{colour: os.Getenv("NO_COLOR") == "", ascii: !utf8Locale(os.Getenv)}}
	// Standard input may be a recording.
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		s.keys, s.look.keys = tty, true
	}
	s.enter()
	return s
}

// utf8Locale reports whether the terminal's texts are UTF-8, by POSIX's variables.
func utf8Locale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// enter takes the terminal over, or again after the process was stopped.
func (s *screen) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on {
		s.restoreLocked()
	}
	if s.keys != nil {
		s.state, _ = term.MakeRaw(int(s.keys.Fd()))
	}
	io.WriteString(s.out, enter)
	s.on, s.last = true, nil
}

// restore gives the terminal back as it was. It may be called more than once.
func (s *screen) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restoreLocked()
}

func (s *screen) restoreLocked() {
	if !s.on {
		return
	}
	s.on = false
	io.WriteString(s.out, leave)
	if s.state != nil {
		term.Restore(int(s.keys.Fd()), s.state)
		s.state = nil
	}
}

// guard gives the terminal back when the goroutine panics; it is deferred.
func (s *screen) guard() {
	if s == nil {
		return
	}
	if p := recover(); p != nil {
		s.restore()
		panic(p)
	}
}

// size returns the terminal's size, that of a VT100 where it has none.
func (s *screen) size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return min(width, 1000), min(height, 500)
}

// draw shows a snapshot: the lines that differ from those that are there.
func (s *screen) draw(now *snapshot, messages []string, scroll int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return
	}
	width, height := s.size()
	var b bytes.Buffer
	if width != s.width || height != s.height || s.last == nil {
		b.WriteString("\x1b[2J")
		s.last, s.width, s.height = nil, width, height
	}
	s.look.width, s.look.height, s.look.scroll = width, height, scroll
	lines := s.look.table(now, messages)
	for i, line := range lines {
		if i < len(s.last) && s.last[i] == line {
			continue
		}
		fmt.Fprintf(&b, "\x1b[%d;1H%s\x1b[K", i+1, line)
	}
	if len(lines) < len(s.last) {
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[J", len(lines)+1)
	}
	s.last = lines
	s.out.Write(b.Bytes())
}

// key is what was pressed, as far as it means something.
type key int

const (
	keyQuit key = iota
	keyInterrupt
	keyStop // Ctrl-Z
	keyMark
	keyDown
	keyUp
	keyRedraw
)

// readKeys tells of keys until the terminal is gone.
func (s *screen) readKeys(press func(key)) {
	defer s.guard()
	buf := make([]byte, 64)
	for {
		n, err := s.keys.Read(buf)
		for _, k := range parseKeys(buf[:n]) {
			press(k)
		}
		if err != nil {
			return
		}
	}
}

// parseKeys finds keys in what a terminal sends: raw, so that Ctrl-C is a character.
func parseKeys(b []byte) (keys []key) {
	for len(b) > 0 {
		switch {
		case bytes.HasPrefix(b, []byte("\x1b[A")), bytes.HasPrefix(b, []byte("\x1bOA")):
			keys, b = append(keys, keyUp), b[3:]
			continue
		case bytes.HasPrefix(b, []byte("\x1b[B")), bytes.HasPrefix(b, []byte("\x1bOB")):
			keys, b = append(keys, keyDown), b[3:]
			continue
		case len(b) > 2 && b[0] == 0x1b && b[1] == '[': // another sequence: up to its final byte
			i := 2
			for i < len(b) && (b[i] < 0x40 || b[i] > 0x7e) {
				i++
			}
			b = b[min(i+1, len(b)):]
			continue
		}
		switch b[0] {
		case 'q', 'Q':
			keys = append(keys, keyQuit)
		case 0x03, 0x1c:
			keys = append(keys, keyInterrupt)
		case 0x1a:
			keys = append(keys, keyStop)
		case 'm', 'M':
			keys = append(keys, keyMark)
		case 'j':
			keys = append(keys, keyDown)
		case 'k':
			keys = append(keys, keyUp)
		case 0x0c:
			keys = append(keys, keyRedraw)
		}
		b = b[1:]
	}
	return keys
}

// watch gives the terminal back when the process is to end with a report of its
// goroutines (SIGQUIT), takes it again when it goes on after it was stopped, and tells of
// a new size.
func (s *screen) watch(resized func()) (stop func()) {
	signals, done := make(chan os.Signal, 4), make(chan struct{})
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGQUIT)
	go func() {
		defer s.guard()
		for {
			select {
			case got := <-signals:
				switch got {
				case syscall.SIGQUIT:
					s.restore()
					signal.Reset(syscall.SIGQUIT)
					syscall.Kill(os.Getpid(), syscall.SIGQUIT)
				case syscall.SIGCONT:
					s.enter()
				}
				resized()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
