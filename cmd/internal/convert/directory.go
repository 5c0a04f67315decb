package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/bodies"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// maxWaiting is how many bytes of conversations wait in memory for their files:
// turns of many may come in any order, and a file is opened only for a part of them.
const maxWaiting = 64 << 20

// perWaiting is what a waiting turn takes besides its bytes, at most.
const perWaiting = 256

// maxConversations is how many have names that sort in the order in which they begin.
const maxConversations = 99_999_999

// A directory is the output of a file for each conversation, with its side file.
type directory struct {
	*newDir
	side *cli.Output // nil is none

	count   int // conversations
	talks   map[string]*written
	dirty   []*written // that wait
	waiting int        // bytes

	entries   *os.File // the side file in the order of writing; unlinked
	places    []place
	end       int64
	entry     bytes.Buffer
	timing    *trace.TimingWriter // to entry
	line      bytes.Buffer
	lineMaker *trace.Writer // to line
}

// written is a conversation that has a file.
type written struct {
	name   string
	number int
	turns  int
	wait   []byte
	begun  bool // the file is there
}

// place is where the entry of a turn stands.
type place struct {
	number int32
	length int32
	at     int64
}

// openDirectory checks that the directory can be written. Its path ends in a slash.
func openDirectory(env *cli.Env, path, timing string) (*directory, error) {
	dir, err := openDir(env, path, "a directory of conversations", func() (string, error) {
		if only, err := traces.IsConversations(path); err != nil || only {
			return "", err
		}
		return "other files than conversations", nil
	})
	if err != nil {
		return nil, err
	}
	d := &directory{newDir: dir, talks: map[string]*written{}}
	if timing == "" {
		timing = trace.TimingPath(d.path)
	}
	if filepath.Clean(timing) == filepath.Clean(d.path) {
		return nil, cli.Usagef("the trace and the side file cannot both be %s", timing)
	}
	if d.side, err = env.OutputTo(timing, cli.OutputOptions{Atomic: true}); err != nil {
		return nil, err
	}
	d.timing, d.lineMaker = trace.NewTimingWriter(&d.entry), trace.NewWriter(&d.line)
	return d, nil
}

// make makes the directory and the place for entries.
func (d *directory) make() error {
	if err := d.newDir.make(); err != nil {
		return err
	}
	f, err := os.CreateTemp("", "wattrace-spool-*")
	if err != nil {
		return err
	}
	d.entries = f
	return os.Remove(f.Name())
}

// write adds a turn to its conversation.
func (d *directory) write(body []byte, checked bool, row *formats.Request) error {
	if d.temp == "" {
		if err := d.make(); err != nil {
			return err
		}
	}
	t, err := d.talk(row)
	if err != nil {
		return err
	}
	d.line.Reset()
	write := d.lineMaker.Write
	if checked {
		write = d.lineMaker.Copy
	}
	if err := write(body); err != nil {
		return err
	}
	d.lineMaker.Flush() // to memory
	if len(t.wait) == 0 {
		d.dirty = append(d.dirty, t)
	}
	t.wait = append(t.wait, d.line.Bytes()...)
	if d.waiting += d.line.Len() + perWaiting; d.waiting > maxWaiting {
		if err := d.flush(); err != nil {
			return err
		}
	}
	return d.note(t, row)
}

// talk returns the conversation of a row, a new one of its own if it has none.
func (d *directory) talk(row *formats.Request) (*written, error) {
	t := d.talks[row.Conversation]
	if row.Conversation == "" || t == nil {
		d.count++
		if d.count > maxConversations {
			return nil, fmt.Errorf("more than %d conversations do not go into a directory", maxConversations)
		}
		name := row.Conversation
		if name == "" {
			name = row.Timing.ID
		}
		t = &written{number: d.count, name: fileName(d.count, name)}
		if row.Conversation != "" {
			d.talks[row.Conversation] = t
		}
	}
	if row.Conversation != "" && row.Turn != t.turns {
		return nil, bodies.FaultOf(row, fmt.Errorf("turn %d of a conversation where turn %d would be next: a directory has them in order", row.Turn, t.turns))
	}
	t.turns++
	return t, nil
}

// numbered is the part of a name that fileName puts before another one.
var numbered = regexp.MustCompile(`^\d{8}(-|$)`)

// fileName returns a name of letters, digits, and a few signs, which sorts by the
// number and shows the conversation's own.
func fileName(number int, own string) string {
	own = numbered.ReplaceAllString(own, "")
	safe := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, own)
	name := fmt.Sprintf("%08d", number)
	if safe != "" {
		name += "-" + safe[:min(len(safe), 100)]
	}
	return name
}

// note keeps what the side file says of a turn.
func (d *directory) note(t *written, row *formats.Request) error {
	d.entry.Reset()
	if err := d.timing.Write(trace.TimingEntry{Conversation: t.name, Turn: t.turns - 1, Timing: row.Timing}); err != nil {
		return err
	}
	d.timing.Flush()
	n, err := d.entries.Write(d.entry.Bytes())
	d.places = append(d.places, place{int32(t.number), int32(n), d.end})
	d.end += int64(n)
	return err
}

// flush writes what waits. One file is open at a time.
func (d *directory) flush() error {
	for _, t := range d.dirty {
		flags := os.O_WRONLY | os.O_APPEND
		if !t.begun {
			flags |= os.O_CREATE | os.O_EXCL
		}
		f, err := os.OpenFile(filepath.Join(d.inner(), t.name+".jsonl"), flags, 0o666)
		if err != nil {
			return err
		}
		_, err = f.Write(t.wait)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		t.begun, t.wait = true, nil
	}
	d.dirty, d.waiting = d.dirty[:0], 0
	return nil
}

func (d *directory) close() error {
	err := d.flush()
	if err == nil {
		err = d.writeSide()
	}
	if err == nil {
		err = d.side.Close()
	}
	if err != nil {
		d.abort()
		return err
	}
	if err := d.publish(); err != nil {
		d.abort()
		removeOutput(d.side)
		return err
	}
	return d.entries.Close()
}

// writeSide writes the entries in the order of the trace: of files, by their names,
// and in each of turns.
func (d *directory) writeSide() error {
	byNumber := func(a, b place) int { return int(a.number) - int(b.number) }
	if slices.IsSortedFunc(d.places, byNumber) {
		_, err := io.Copy(d.side, io.NewSectionReader(d.entries, 0, d.end))
		return err
	}
	slices.SortStableFunc(d.places, byNumber)
	var buf []byte
	for _, p := range d.places {
		start := len(buf)
		buf = slices.Grow(buf, int(p.length))[:start+int(p.length)]
		if _, err := d.entries.ReadAt(buf[start:], p.at); err != nil {
			return err
		}
		if len(buf) > 256<<10 {
			if _, err := d.side.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err := d.side.Write(buf)
	return err
}

func (d *directory) abort() {
	d.side.Abort()
	if d.entries != nil {
		d.entries.Close()
	}
	d.newDir.abort()
}
