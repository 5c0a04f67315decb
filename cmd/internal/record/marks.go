package record

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"wattrace/cmd/internal/cli"
	"wattrace/sample"
	"wattrace/trace"
)

// markDevice is what marks are rows of.
func markDevice(host string) sample.Device {
	return sample.Device{ID: string(sample.Recorder) + ":" + host, Host: host, Source: sample.Recorder, Scope: sample.ScopeRun}
}

// marker puts marks into a recording. It may be used by several goroutines at
// once.
type marker struct {
	clock  *trace.SteadyClock
	inbox  *sample.Inbox
	device sample.Device

	mu   sync.Mutex
	open string // the phase that has begun and not ended
}

// start begins a phase at an instant between from and to, and ends the one
// before.
func (m *marker) start(phase string, from, to trace.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endOpen(from, to)
	m.open = phase
	m.add(sample.Mark{Event: sample.MarkStart, Phase: phase}, from, to)
}

// end ends the phase that has begun, if there is one, and returns its name.
func (m *marker) end(from, to trace.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.endOpen(from, to)
}

func (m *marker) endOpen(from, to trace.Time) string {
	phase := m.open
	if phase != "" {
		m.add(sample.Mark{Event: sample.MarkEnd, Phase: phase}, from, to)
	}
	m.open = ""
	return phase
}

// note marks an instant that begins and ends nothing.
func (m *marker) note(text string, from, to trace.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(sample.Mark{Event: sample.MarkNote, Phase: text}, from, to)
}

func (m *marker) add(mark sample.Mark, from, to trace.Time) {
	m.inbox.Add(m.device, from, to.Sub(from), func(row sample.Row) { row.Mark(mark) })
}

// A rule says which lines of a command's output begin a phase, or end one.
type rule struct {
	pattern *regexp.Regexp
	phase   string // "" ends the one that has begun
}

// newRules reads --mark 'REGEX=PHASE'. The last = parts the two, since a
// pattern may have one and a name need not.
func newRules(specs []string) ([]rule, error) {
	var rules []rule
	for _, spec := range specs {
		i := strings.LastIndexByte(spec, '=')
		if i <= 0 {
			return nil, cli.Hint(cli.Usagef("--mark %q: want REGEX=PHASE", spec), "a line that matches REGEX begins PHASE; with nothing after the = it ends the phase that has begun")
		}
		if !utf8.ValidString(spec) {
			return nil, cli.Usagef("--mark %q: is not UTF-8", spec)
		}
		pattern, err := regexp.Compile(spec[:i])
		if err != nil {
			return nil, cli.Usagef("--mark %q: %v", spec, err)
		}
		if phase := spec[i+1:]; strings.TrimSpace(phase) != phase || strings.ContainsAny(phase, "\r\n") {
			return nil, cli.Usagef("--mark %q: the name of a phase has no space around it", spec)
		}
		rules = append(rules, rule{pattern, spec[i+1:]})
	}
	return rules, nil
}

// maxLine is how much of a line is looked at: a progress bar may never end one.
const maxLine = 64 << 10

// watch passes on what a command writes, as it comes, and marks the lines that
// match. A carriage return ends a line too, as in progress bars. Every line is
// judged by the first rule that matches.
type watch struct {
	out    io.Writer
	marker *marker
	rules  []rule
	line   []byte
}

// pass copies from r until its end, or until nobody reads what it writes.
func (w *watch) pass(r io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		now := w.marker.clock.Now()
		w.look(buf[:n], now)
		if n > 0 {
			if _, err := w.out.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			w.judge(now)
			return err
		}
	}
}

func (w *watch) look(b []byte, now trace.Time) {
	for len(b) > 0 {
		i := bytes.IndexAny(b, "\r\n")
		part := b
		if i >= 0 {
			part = b[:i]
		}
		w.line = append(w.line, part[:min(len(part), maxLine-len(w.line))]...)
		if i < 0 {
			return
		}
		b = b[i+1:]
		w.judge(now)
	}
}

// pipeDelay is how late a line may be seen after it was written: a pipe's reader
// is woken within a millisecond, unless the machine is busy. A mark says that its
// line was written within so long before it was seen.
const pipeDelay = time.Millisecond

func (w *watch) judge(now trace.Time) {
	if len(w.line) == 0 {
		return
	}
	for _, r := range w.rules {
		if !r.pattern.Match(w.line) {
			continue
		}
		from := max(0, now.Add(-pipeDelay))
		if r.phase == "" {
			w.marker.end(from, now)
		} else {
			w.marker.start(r.phase, from, now)
		}
		break
	}
	w.line = w.line[:0]
}

// watched runs what a command writes through watches. wait returns when all has
// been passed on: after the command's end, since its children may hold the pipes
// it waits no longer than a moment.
func watched(outputs []*io.Writer, m *marker, rules []rule) (files []*os.File, wait func(), err error) {
	var all sync.WaitGroup
	var readers []*os.File
	for _, out := range outputs {
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range append(files, readers...) {
				f.Close()
			}
			return nil, nil, err
		}
		watch := &watch{out: *out, marker: m, rules: rules}
		*out = w
		files, readers = append(files, w), append(readers, r)
		all.Go(func() {
			watch.pass(r) // at the end, or when nobody reads on: then the command must be told
			r.Close()
		})
	}
	wait = func() {
		for _, r := range readers {
			r.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		}
		all.Wait()
	}
	return files, wait, nil
}
