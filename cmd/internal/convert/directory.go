package convert

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
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

// A directory is the output of a file for each conversation, with its side file. It
// appears whole or not at all: it is filled under another name beside its own.
type directory struct {
	env  *cli.Env
	path string
	temp string      // a hidden one beside it, for inner; "" is not yet made
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
	d := &directory{env: env, path: strings.TrimRight(path, "/"), talks: map[string]*written{}}
	if d.path == "" {
		return nil, cli.Usagef("-o %s: is the root", path)
	}
	if err := d.refuseExisting(); err != nil {
		return nil, err
	}
	if timing == "" {
		timing = trace.TimingPath(d.path)
	}
	if filepath.Clean(timing) == filepath.Clean(d.path) {
		return nil, cli.Usagef("the trace and the side file cannot both be %s", timing)
	}
	var err error
	if d.side, err = env.OutputTo(timing, cli.OutputOptions{Atomic: true}); err != nil {
		return nil, err
	}
	d.timing, d.lineMaker = trace.NewTimingWriter(&d.entry), trace.NewWriter(&d.line)
	return d, nil
}

func (d *directory) refuseExisting() error {
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s: is there, and no directory", d.path)
	}
	for _, in := range d.env.Operands {
		if other, err := os.Stat(in); err == nil && os.SameFile(info, other) {
			return fmt.Errorf("%s: is an input", d.path)
		}
	}
	entries, err := os.ReadDir(d.path)
	if err != nil || len(entries) == 0 {
		return err
	}
	if !d.env.Force() {
		return cli.Hint(fmt.Errorf("%s: exists already", d.path), "--force replaces a directory of conversations")
	}
	if only, err := traces.IsConversations(d.path); err != nil || !only {
		return cmp.Or(err, fmt.Errorf("%s: has other files than conversations, and is not replaced", d.path))
	}
	return nil
}

// make makes the directory and the place for entries.
func (d *directory) make() error {
	temp, err := os.MkdirTemp(filepath.Dir(d.path), "."+filepath.Base(d.path)+".*")
	if err != nil {
		return err
	}
	d.temp = temp
	if err := os.Mkdir(d.inner(), 0o777); err != nil { // with the mode that the user's mask gives
		return err
	}
	f, err := os.CreateTemp("", "wattrace-spool-*")
	if err != nil {
		return err
	}
	d.entries = f
	return os.Remove(f.Name())
}

func (d *directory) inner() string { return filepath.Join(d.temp, "new") }

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
		return nil, faultOf(row, fmt.Errorf("turn %d of a conversation where turn %d would be next: a directory has them in order", row.Turn, t.turns))
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

// publish gives the directory its name, in the place of one that may be replaced.
func (d *directory) publish() error {
	if err := d.refuseExisting(); err != nil { // something may have come meanwhile
		return err
	}
	old := filepath.Join(d.temp, "old")
	err := os.Rename(d.path, old)
	replaced := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(d.inner(), d.path); err != nil {
		if replaced {
			err = errors.Join(err, os.Rename(old, d.path))
		}
		return err
	}
	return os.RemoveAll(d.temp)
}

func (d *directory) abort() {
	d.side.Abort()
	if d.entries != nil {
		d.entries.Close()
	}
	if d.temp != "" {
		os.RemoveAll(d.temp)
	}
}
