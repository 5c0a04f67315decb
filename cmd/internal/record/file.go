package record

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

const (
	// maxWaiting is how much may wait in memory for a full disk: half an hour of
	// eight GPUs at 20 ms, or more inside zstd.
	maxWaiting = 64 << 20
	// frameEvery is the time between zstd frames, each of which has a checksum.
	frameEvery = 10 * time.Second
)

// names makes the paths of a recording's files.
type names struct {
	pattern string // what -o says, its %h replaced
	numbers bool   // each file has a number
}

// newNames reads what -o says: %h is the host's name and %% a percent sign.
func newNames(path, host string, rotates bool) (names, error) {
	if path == "" || path == "-" {
		if rotates {
			return names{}, cli.Usagef("--rotate needs -o FILE: standard output cannot be closed and opened anew")
		}
		return names{pattern: "-"}, nil
	}
	if os.IsPathSeparator(path[len(path)-1]) {
		return names{}, cli.Usagef("-o %s: names a directory, no file", path)
	}
	var b strings.Builder
	for rest := path; rest != ""; {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		rest = rest[i+1:]
		switch {
		case strings.HasPrefix(rest, "h"):
			b.WriteString(host)
		case strings.HasPrefix(rest, "%"):
			b.WriteByte('%')
		default:
			return names{}, cli.Hint(cli.Usagef("-o %s: a %% must be followed by h or %%", path), "%%h is the host's name, %%%% a percent sign")
		}
		rest = rest[1:]
	}
	return names{b.String(), rotates}, nil
}

// stdout reports whether the recording goes to standard output.
func (n names) stdout() bool { return n.pattern == "-" }

// path returns the path of file n, from 0. With numbers it stands before the
// extension: power.arrows.zst is power.00000.arrows.zst, so that names are in
// order.
func (n names) path(i int) string {
	if !n.numbers {
		return n.pattern
	}
	return n.around(fmt.Sprintf("%05d", i))
}

func (n names) around(number string) string {
	dir, base := filepath.Split(n.pattern)
	stem, zst := strings.CutSuffix(base, ".zst")
	ext := filepath.Ext(stem)
	stem = strings.TrimSuffix(stem, ext)
	if stem == "" { // of ".arrows"
		stem, ext = ext, ""
	}
	name := dir + stem + "." + number + ext
	if zst {
		name += ".zst"
	}
	return name
}

// refuseOld makes sure that no file of an earlier recording would stand among
// those of this one.
func (n names) refuseOld() error {
	if !n.numbers {
		return nil
	}
	old, err := filepath.Glob(escapeGlob(n.around("\x00"), "[0-9][0-9][0-9][0-9][0-9]"))
	if err != nil || len(old) == 0 {
		return err
	}
	return cli.Hint(fmt.Errorf("%s: exists already", old[0]), "--force replaces the files of an earlier recording, one by one")
}

// check finds what would be refused, and writes nothing.
func (n names) check(env *cli.Env) error {
	if n.stdout() {
		return nil
	}
	if !env.Force() {
		if err := n.refuseOld(); err != nil {
			return err
		}
	}
	_, err := env.OutputTo(n.path(0), cli.OutputOptions{Binary: true})
	return err
}

// escapeGlob makes a pattern that matches a path, with wild in the place of NUL.
func escapeGlob(path, wild string) string {
	return strings.ReplaceAll(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path), "\x00", wild)
}

// parts writes a recording into one file, or into one after the other.
type parts struct {
	env    *cli.Env
	names  names
	rotate time.Duration // 0 is never
	head   telemetry.Head
	clock  *trace.SteadyClock
	clocks func() trace.ClockSnapshot
	stats  func() sample.Stats // of the run so far
	full   func(full bool)     // told of a full disk

	patience int // bytes that may wait for one; 0 is maxWaiting

	n      int // files before this one
	opened trace.Time
	out    *cli.Output
	w      *telemetry.Writer
	hole   telemetry.Hole // what could not be kept since the last row that was
	lost   int64          // rows of all holes
	told   trace.ClockSnapshot
	before sample.Stats // at the end of the file before
}

// open begins the first file.
func (p *parts) open() error {
	out, err := p.create(p.n)
	if err != nil {
		return err
	}
	return p.begin(out)
}

// create makes file n.
func (p *parts) create(n int) (*cli.Output, error) {
	return p.env.OutputTo(p.names.path(n), cli.OutputOptions{
		Binary: true, Log: true, Compress: true, FrameEvery: frameEvery, Patient: cmp.Or(p.patience, maxWaiting), Full: p.full,
	})
}

// next ends the file and begins another. While a full disk has no room for that, the
// recording goes on in the one that there is.
func (p *parts) next(devices []sample.Device) error {
	out, err := p.create(p.n + 1)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil // the next batch tries again
	}
	if err != nil {
		return err
	}
	if err := p.end(true); err != nil {
		out.Abort()
		return err
	}
	p.head.Devices = devices
	p.n++
	return p.begin(out)
}

// begin writes the head of a file.
func (p *parts) begin(out *cli.Output) (err error) {
	p.out, p.opened = out, p.clock.Now()
	p.told = p.clocks()
	p.head.Snapshot = p.told
	if p.w, err = telemetry.NewWriter(out, p.head); err != nil {
		out.Abort()
	}
	return err
}

// write writes a batch, or notes that there is no room for it.
func (p *parts) write(b *sample.Batch) error {
	if p.rotate > 0 && p.clock.Now().Sub(p.opened) >= p.rotate && p.hole.Rows == 0 && p.out.Waiting() == 0 {
		if err := p.next(b.Devices); err != nil {
			return err
		}
	}
	if p.out.Crowded() || p.hole.Rows > 0 {
		if _, err := p.out.Write(nil); err != nil { // try again
			return err
		}
		if p.out.Waiting() > 0 {
			p.lose(b)
			return nil
		}
		if err := p.fill(); err != nil {
			return err
		}
	}
	return p.w.Write(b)
}

// lose adds the rows of a batch to the hole.
func (p *parts) lose(b *sample.Batch) {
	for _, at := range b.Time {
		if p.hole.Rows == 0 {
			p.hole = telemetry.Hole{From: at, To: at, Reason: "no space left on device"}
		}
		p.hole.From, p.hole.To = min(p.hole.From, at), max(p.hole.To, at)
		p.hole.Rows++
	}
	p.lost += int64(b.Len())
}

// fill marks the hole, if there is one, where it ends.
func (p *parts) fill() error {
	if p.hole.Rows == 0 {
		return nil
	}
	h := p.hole
	p.hole = telemetry.Hole{}
	return p.w.Hole(p.told, h)
}

// newStream marks that the clocks have stepped.
func (p *parts) newStream(s trace.ClockSnapshot) error {
	p.told = s
	if p.hole.Rows > 0 {
		return nil // its stream will say so
	}
	return p.w.NewStream(s)
}

// end closes the file. What its end says of the run is of the part that is in
// it, but for the lateness, which is of the run so far.
func (p *parts) end(clean bool) error {
	s := p.stats()
	err := p.fill()
	if err == nil {
		e := telemetry.End{
			Ticks: s.Ticks - p.before.Ticks, Missed: s.Missed - p.before.Missed,
			LatenessP50: s.LatenessP50, LatenessP99: s.LatenessP99, LatenessMax: s.LatenessMax,
			Read: s.Read - p.before.Read, CPU: max(0, s.CPU-p.before.CPU), Clean: clean, Snapshot: p.clocks(),
		}
		for i, u := range s.Units {
			if i < len(p.before.Units) {
				old := p.before.Units[i]
				u.Ticks, u.Missed, u.Read = u.Ticks-old.Ticks, u.Missed-old.Missed, u.Read-old.Read
			}
			e.Units = append(e.Units, unitEnd(u))
		}
		err = p.w.Close(e)
	}
	if err != nil {
		p.out.Abort()
		return err
	}
	p.before = s
	return p.out.Close()
}

func unitEnd(u sample.UnitStats) telemetry.UnitEnd {
	e := telemetry.UnitEnd{
		Ticks: u.Ticks, Missed: u.Missed, LatenessP99: u.LatenessP99, LatenessMax: u.LatenessMax, Read: u.Read, ReadMax: u.ReadMax,
	}
	for _, d := range u.Devices {
		e.Devices = append(e.Devices, d.ID)
	}
	return e
}
