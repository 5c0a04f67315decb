package reduce

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/nvidiasmi"
	"wattrace/formats/srtslurm"
	"wattrace/formats/telemetries"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// teleFile is one recording, or a part of one.
type teleFile struct {
	in     *formats.Input
	codec  telemetries.Codec
	head   telemetries.Head
	first  trace.Time // its first row
	rows   bool       // it has one
	clocks []trace.Clocks
	joint  joint // moves its times to the common clock
	number int   // in the order of time
	of     *recording

	pkg *srtslurm.Package // what stands beside the samples of srt-slurm

	account telemetries.Account
	fault   error // where it ends before its end
	skipped int   // rows that were left out
	why     error // the fault of the first of them
	clean   bool

	devices []sample.Device // the latest batch's, with what the user says of them
}

// recording is what one recorder wrote, into one file or into one after the other.
type recording struct {
	files []*teleFile // in the order of time
	marks []mark      // in the order of time
}

// clocks returns the clock of a recording, with the readings of all its files.
func (r *recording) clocks() trace.Clocks {
	c := r.files[0].clocks[0]
	if len(r.files) == 1 {
		return c
	}
	c.Snapshots = nil
	for _, t := range r.files {
		c.Snapshots = append(c.Snapshots, t.clocks[0].Snapshots...)
	}
	slices.SortStableFunc(c.Snapshots, func(a, b trace.ClockSnapshot) int { return cmp.Compare(a.At, b.At) })
	return c
}

// marked reports whether the recorder could be told of phases.
func (r *recording) marked() bool {
	return slices.ContainsFunc(r.files, func(t *teleFile) bool {
		return slices.ContainsFunc(t.head.Devices, func(d sample.Device) bool { return d.Scope == sample.ScopeRun })
	})
}

// name is the path of its first file.
func (r *recording) name() string { return r.files[0].in.Name() }

// gather puts the files of each recording together.
func (s *job) gather() {
	for _, t := range s.tele {
		i := slices.IndexFunc(s.recordings, func(r *recording) bool { return r.files[0].head.Clock.Same(t.head.Clock) })
		if i < 0 {
			i = len(s.recordings)
			s.recordings = append(s.recordings, &recording{})
		}
		t.of = s.recordings[i]
		t.of.files = append(t.of.files, t)
	}
	for _, r := range s.recordings {
		slices.SortStableFunc(r.files, func(a, b *teleFile) int { return cmp.Compare(a.first, b.first) })
	}
}

// headTelemetry reads the heads, sets the common clock where there is no log,
// joins the recordings to it, and puts them into the order of time.
func (s *job) headTelemetry(spans []reduce.Span) error {
	for _, t := range s.tele {
		r, err := s.openTelemetry(t)
		if err != nil {
			return err
		}
		var b batch
		if err := r.Read(&b); err == nil && b.Len() > 0 { // a fault shows again when all is read
			t.first, t.rows = b.Time[0], true
		}
		t.head, t.clocks = r.Head(), r.Clocks()
	}
	s.gather()
	if err := s.joinTelemetry(spans); err != nil {
		return err
	}
	s.joinSynchronised()
	start := func(t *teleFile) trace.Time { return t.first.Add(t.joint.Offset) }
	slices.SortStableFunc(s.tele, func(a, b *teleFile) int { return cmp.Compare(start(a), start(b)) })
	for i, b := range s.tele {
		b.number = i
		for _, a := range s.tele[:i] {
			if a.rows && b.rows && a.head.Clock.Same(b.head.Clock) && a.first == b.first {
				return fmt.Errorf("%s: is the same recording as %s", b.in.Name(), a.in.Name())
			}
		}
	}
	return nil
}

// joinTelemetry joins the recordings to the common clock, which without a log is
// that of the earliest, before others of one with marks, whose phases are on it. Where wall clocks do it all readings of them are wanted,
// for which such a recording is read once more.
func (s *job) joinTelemetry(spans []reduce.Span) error {
	var reference *recording
	if len(s.logs) == 0 && len(s.tele) > 0 {
		rank := func(r *recording) int {
			if r.marked() {
				return 0
			}
			return 1
		}
		reference = slices.MinFunc(s.recordings, func(a, b *recording) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), compareClocks(a.files[0].head.Clock, b.files[0].head.Clock))
		})
		s.common = reference.clocks()
	}
	byWall := func(t *teleFile) bool {
		return !t.head.Clock.Same(s.common.Clock) && !t.head.Clock.SameBoot(s.common.Clock)
	}
	if reference != nil && slices.ContainsFunc(s.tele, byWall) {
		if err := s.scan(reference); err != nil {
			return err
		}
		s.common = reference.clocks()
	}
	for _, r := range s.recordings {
		if byWall(r.files[0]) && r != reference {
			if err := s.scan(r); err != nil {
				return err
			}
		}
		from, to := s.matters(r.clocks(), spans)
		for _, t := range r.files {
			t.joint = s.join(s.offsetOf(t), r.clocks(), from, to)
		}
	}
	return nil
}

// offsetOf returns the file whose --clock-offset holds for a file: itself, or another
// of the recording, whose clock is the same.
func (s *job) offsetOf(t *teleFile) string {
	for _, f := range append([]*teleFile{t}, t.of.files...) {
		if _, ok := s.opt.inputs.offsets[f.in.Name()]; ok {
			return f.in.Name()
		}
	}
	return t.in.Name()
}

// scan reads a recording for its clocks.
func (s *job) scan(r *recording) error {
	for _, t := range r.files {
		if !t.codec.Clocks {
			continue
		}
		if err := s.readTelemetry(t, func(*batch, reduce.Recording) {}); err != nil {
			return err
		}
	}
	return nil
}

// matters returns what of a recording matters, on its own clock: from the first
// to the last end of a span, or all.
func (s *job) matters(c trace.Clocks, spans []reduce.Span) (from, to trace.Time) {
	if len(spans) == 0 {
		if n := len(c.Snapshots); n > 0 {
			to = c.Snapshots[n-1].At
		}
		return 0, to
	}
	from, to = spans[0].Start, spans[0].Start
	for _, span := range spans {
		from, to = min(from, span.Start), max(to, span.Start, span.End.Or(span.Start))
	}
	offset, _ := s.common.Offset(c.Clock)
	return from.Add(-offset), to.Add(-offset)
}

// openTelemetry reads the head of a recording.
func (s *job) openTelemetry(t *teleFile) (telemetries.Reader, error) {
	r, err := t.in.Reader()
	if err != nil {
		return nil, err
	}
	o := telemetries.Options{Location: s.opt.inputs.location, Columns: s.opt.inputs.columns, Package: t.pkg}
	if o.Location == nil {
		o.Location = time.Local
	}
	if t.codec.Nameless {
		o.Host = s.hostOf(t)
	}
	rd, err := t.codec.Open(r, t.in.Name(), o)
	if errors.Is(err, nvidiasmi.ErrNoHeader) {
		err = cli.Hint(err, "--columns says it: what --query-gpu was given")
	}
	return rd, err
}

// toldTopology returns the GPUs that the recordings say should be there, if all
// recordings that have GPUs say so.
func (s *job) toldTopology() (all []reduce.Member) {
	for _, t := range s.tele {
		gpus := slices.ContainsFunc(t.head.Devices, func(d sample.Device) bool { return d.Scope == sample.ScopeGPU })
		if gpus && t.head.Topology == nil {
			return nil
		}
		for _, m := range t.head.Topology {
			if !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
	}
	return all
}

// hostOf returns the host of a recording that does not name it: as --host says;
// else, so that devices of several hosts that are known by their number only stay
// apart, the file's name where there are several.
func (s *job) hostOf(t *teleFile) string {
	name := t.in.Name()
	if host, ok := s.opt.inputs.hosts[name]; ok {
		return host
	}
	stem := func(name string) string {
		base, _, _ := strings.Cut(strings.TrimLeft(filepath.Base(name), "."), ".")
		return base
	}
	several, alike := false, false
	for _, other := range s.tele {
		if other != t && other.codec.Nameless {
			several = true
			alike = alike || stem(other.in.Name()) == stem(name)
		}
	}
	switch {
	case !several:
		return ""
	case alike || stem(name) == "":
		return name
	}
	return stem(name)
}

// readTelemetry passes all batches of a recording on. One that is cut off is
// used as far as it goes; a damaged one only with --keep-going, which also leaves
// rows out that are wrong.
func (s *job) readTelemetry(t *teleFile, use func(*batch, reduce.Recording)) error {
	r, err := s.openTelemetry(t)
	if err != nil {
		return err
	}
	t.fault, t.skipped, t.why = nil, 0, nil
	ahead := readAhead(r)
	defer func() {
		ahead.stop()
		t.clocks, t.account = r.Clocks(), telemetries.AccountOf(r)
	}()
	for got := range ahead.batches {
		if got.err == io.EOF {
			t.clean = r.Clean()
			return nil
		}
		if got.err != nil {
			if more, err := s.judge(t, got.err); !more {
				return err
			}
		} else {
			got.b.Devices = s.describe(t, got.b.Devices)
			use(got.b, reduce.Recording{
				Number: t.number, Offset: t.joint.Offset, Spread: t.joint.Spread + s.logSpread() + got.spread, Driver: cmp.Or(got.driver, s.opt.inputs.driver),
				Stamp: t.stamp(),
			})
		}
		ahead.free <- got.b
	}
	return nil
}

// stamp is how long after the time of a row its stamp in the file is.
func (t *teleFile) stamp() trace.Opt[time.Duration] {
	switch {
	case t.in.Kind() == formats.AMDSMI:
		return trace.Some[time.Duration](0)
	case t.pkg != nil:
		return trace.Some(t.pkg.Stamp())
	}
	return trace.Opt[time.Duration]{}
}

// A readingAhead decodes the next batches of a recording while one is reduced.
type readingAhead struct {
	batches chan aheadBatch
	free    chan *batch // batches that may be filled
}

// aheadBatch is what one Read gave, and what the reader knew then.
type aheadBatch struct {
	b      *batch
	err    error
	spread time.Duration // see innerSpread
	driver string
}

// readAhead begins to read. It ends with the first io.EOF, or when it is stopped; no
// more than a few batches are read that nobody asks for.
func readAhead(r telemetries.Reader) *readingAhead {
	const few = 3
	a := &readingAhead{batches: make(chan aheadBatch, few), free: make(chan *batch, few)}
	for range few {
		a.free <- new(batch)
	}
	go func() {
		defer close(a.batches)
		for b := range a.free {
			err := r.Read(b)
			a.batches <- aheadBatch{b, err, innerSpread(r.Clocks()), r.Head().Info.Driver}
			if err == io.EOF {
				return
			}
		}
	}()
	return a
}

// stop ends the reading, and returns when the reader is no longer used.
func (a *readingAhead) stop() {
	close(a.free)
	for range a.batches {
	}
}

// judge takes a fault of a recording. It reports whether reading goes on; if
// not, the error is nil where what was read is to be used.
func (s *job) judge(t *teleFile, err error) (more bool, _ error) {
	switch fault := telemetries.Judge(err); {
	case fault == telemetries.Truncated:
		t.fault = err
		return false, nil
	case fault == telemetries.Damaged && s.opt.keepGoing:
		t.fault = err
		return false, nil
	case fault == telemetries.Damaged:
		return false, cli.Hint(err, "--keep-going uses what precedes it")
	case fault == telemetries.Skipped && s.opt.keepGoing:
		t.skipped++
		if t.why == nil {
			t.why = err
		}
		return true, nil
	case fault == telemetries.Skipped:
		return false, cli.Hint(err, "--keep-going leaves such rows out")
	}
	return false, err
}

// logSpread is by how much the clock of a run may be wrong against the common one.
func (s *job) logSpread() (most time.Duration) {
	for _, r := range s.runs {
		most = max(most, r.joint.Spread)
	}
	return most
}

// innerSpread is by how much the latest of recordings that were put one after the
// other in one file may be wrong against the first.
func innerSpread(clocks []trace.Clocks) time.Duration {
	first, last := clocks[0], clocks[len(clocks)-1]
	if len(clocks) == 1 || first.SameBoot(last.Clock) {
		return 0
	}
	return trace.HostSpread
}

// describe gives devices the name that --device-name says, where they have none.
func (s *job) describe(t *teleFile, devices []sample.Device) []sample.Device {
	name := s.opt.inputs.deviceName
	if name == "" || !slices.ContainsFunc(devices, func(d sample.Device) bool { return d.Name == "" }) {
		return devices
	}
	if len(t.devices) != len(devices) {
		t.devices = slices.Clone(devices)
		for i := range t.devices {
			t.devices[i].Name = cmp.Or(t.devices[i].Name, name)
		}
	}
	return t.devices
}

// warnRecording warns of a recording that is not whole, and of what was assumed
// of it.
func (s *job) warnRecording(t *teleFile) {
	name := t.in.Name()
	switch {
	case t.fault != nil:
		s.r.Warn(reduce.WarnIncompleteTele, "", "", "%v", t.fault)
	case !t.clean && t.account.Lost > 0:
		s.r.Warn(reduce.WarnIncompleteTele, "", "", "%s: the recorder says that %d rows are missing", name, t.account.Lost)
	case !t.clean:
		s.r.Warn(reduce.WarnIncompleteTele, "", "", "%s: the recorder says that rows are missing", name)
	}
	switch {
	case t.skipped == 1:
		s.r.Warn(reduce.WarnIncompleteTele, "", "", "%v; the row is left out", t.why)
	case t.skipped > 1:
		s.r.Warn(reduce.WarnIncompleteTele, "", "", "%v; this row and %d more are left out", t.why, t.skipped-1)
	}
	if (t.codec.Local || t.head.Local) && s.opt.inputs.location == nil {
		zone := time.Unix(0, t.head.Clock.Anchor.UnixNanos).In(time.Local).Format("MST (UTC-07:00)")
		s.r.Warn(reduce.WarnTimezone, "", "", "%s: its times are local ones without a zone: taken for %s, this machine's; --timezone says better", name, zone)
	}
}
