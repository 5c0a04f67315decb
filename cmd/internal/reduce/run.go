package reduce

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/energies"
	"wattrace/formats/requests"
	"wattrace/formats/telemetry"
	"wattrace/formats/truth"
	"wattrace/reduce"
	"wattrace/trace"
)

// job is the files of one report and what has been learnt of them.
type job struct {
	opt    options
	inputs []*formats.Input
	logs   []*logFile
	tele   []*teleFile
	clock  trace.Clock // the common one
	r      *reduce.Reducer

	energies *energies.Writer // of the requests; nil is not asked for
}

// run makes the report of the operands.
func run(env *cli.Env, operands []string, opt options) (rep *reduce.Report, err error) {
	s := &job{opt: opt}
	var requestOut *cli.Output
	if opt.perRequest != "" {
		if requestOut, err = env.OutputTo(opt.perRequest, cli.OutputOptions{Atomic: true}); err != nil {
			return nil, err
		}
		s.energies = energies.NewWriter(requestOut, cli.Producer())
		defer func() {
			if err != nil {
				requestOut.Abort()
			}
		}()
	}
	defer func() {
		for _, in := range s.inputs {
			err = errors.Join(err, in.Close())
		}
	}()
	if err := s.open(env, operands); err != nil {
		return nil, err
	}
	spans, err := s.surveyLogs()
	if err != nil {
		return nil, err
	}
	if err := s.headTelemetry(); err != nil {
		return nil, err
	}
	ro := opt.reduce
	for _, w := range opt.windows {
		ro.Windows = append(ro.Windows, w.span(s.clock))
	}
	if opt.truth != "" {
		if ro.Truth, err = s.loadTruth(env); err != nil {
			return nil, err
		}
	}
	s.r = reduce.New(s.clock, spans, len(s.logs) > 0, ro)
	for _, t := range s.tele {
		if err := s.readTelemetry(t, s.r.Survey); err != nil {
			return nil, err
		}
	}
	for _, l := range s.logs {
		if err := s.readLog(l, func(_, phase int, q *trace.Request, offset time.Duration) { s.r.SurveyRequest(phase, q, offset) }, func(int) {}); err != nil {
			return nil, err
		}
	}
	s.r.Start()
	for _, t := range s.tele {
		if err := s.readTelemetry(t, s.r.Telemetry); err != nil {
			return nil, err
		}
	}
	for _, l := range s.logs {
		if err := s.readLog(l, s.request, s.r.Unended); err != nil {
			return nil, err
		}
	}
	s.warnInputs()
	rep = s.r.Report()
	rep.Producer = cli.Producer()
	if requestOut != nil {
		if err := s.endEnergies(rep, requestOut); err != nil {
			return nil, err
		}
	}
	return rep, s.describeInputs(rep)
}

// endEnergies ends the file of the requests' energies.
func (s *job) endEnergies(rep *reduce.Report, out *cli.Output) error {
	total, ok := s.r.Attributed()
	if !ok {
		return fmt.Errorf("--per-request: there is no energy to split: it needs a request log and a recording of its time")
	}
	if err := s.energies.Close(&total, rep.Attribution.Mode); err != nil {
		return err
	}
	return out.Close()
}

// open opens the operands and sorts them by what they hold. Standard input is
// read to its end first: in record -- replay -o requests.jsonl | reduce
// requests.jsonl - the named file is whole only then.
func (s *job) open(env *cli.Env, operands []string) error {
	byArgument := make([]*formats.Input, len(operands))
	stdinFirst := slices.Clone(operands)
	slices.SortStableFunc(stdinFirst, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	for i, path := range stdinFirst {
		if i > 0 && path == "-" {
			return cli.Usagef("standard input is named twice")
		}
		restore := func() {}
		if path == "-" {
			restore = cli.IgnoreFirstSignal()
		}
		in, err := formats.Open(path, env.Stdin)
		if err != nil {
			restore()
			return err
		}
		s.inputs = append(s.inputs, in)
		if path == "-" {
			_, err = in.Reader() // reads it to its end
		}
		restore()
		if err != nil {
			return err
		}
		byArgument[slices.Index(operands, path)] = in
	}
	for i, in := range byArgument {
		if in == nil {
			return cli.Usagef("%s is named twice", operands[i])
		}
		switch kind := in.Kind(); kind {
		case formats.Requests:
			s.logs = append(s.logs, &logFile{in: in})
		case formats.TelemetryStream, formats.TelemetryFile:
			s.tele = append(s.tele, &teleFile{in: in})
		default:
			return fmt.Errorf("%s: %s: reduce takes request logs and recordings", in.Name(), kind)
		}
	}
	return nil
}

func rank(path string) int {
	if path == "-" {
		return 0
	}
	return 1
}

// describeInputs fills in what the report was made from.
func (s *job) describeInputs(rep *reduce.Report) error {
	for _, in := range s.inputs {
		sum, err := in.SHA256()
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // a layer that is cut: the warnings say so
			return err
		}
		schema := telemetry.Schema
		switch in.Kind() {
		case formats.Requests:
			schema = requests.Schema
		case formats.Truth:
			schema = truth.Schema
		}
		rep.Inputs = append(rep.Inputs, reduce.Input{Path: in.Name(), Schema: schema, SHA256: sum})
	}
	return nil
}

// warnInputs warns of files that are not whole, and of clocks.
func (s *job) warnInputs() {
	for _, l := range s.logs {
		if l.incomplete > 0 {
			s.r.Warn(reduce.WarnIncompleteLog, "", "", "%s: the log was not ended: its client was killed", l.in.Name())
		}
		if l.interrupted {
			s.r.Warn(reduce.WarnInterrupted, "", "", "%s: a signal ended the run", l.in.Name())
		}
	}
	if len(s.tele) == 0 {
		s.r.Warn(reduce.WarnNoTelemetry, "", "", "no recording was given: nothing is said of power and energy")
	}
	for _, t := range s.tele {
		if t.fault != nil {
			s.r.Warn(reduce.WarnIncompleteTele, "", "", "%v", t.fault)
		} else if !t.end.Clean {
			s.r.Warn(reduce.WarnIncompleteTele, "", "", "%s: the recorder says that rows are missing", t.in.Name())
		}
		if _, exact := s.clock.Offset(t.head.Clock); !exact && !t.head.Clock.Same(s.clock) {
			s.r.Warn(reduce.WarnClock, "", "", "%s: joined by the wall clocks of %s and %s, whose difference is not known", t.in.Name(), t.head.Clock.Host, s.clock.Host)
		}
	}
}

// teleFile is one recording.
type teleFile struct {
	in     *formats.Input
	head   telemetry.Head
	first  trace.Time    // its first row
	offset time.Duration // moves its times to the common clock
	fault  error         // where it ends before its end
	end    telemetry.End
}

// headTelemetry reads the heads, sets the common clock where there is no log,
// and puts the recordings into the order of time.
func (s *job) headTelemetry() error {
	for _, t := range s.tele {
		r, err := t.in.Reader()
		if err != nil {
			return err
		}
		tr, err := telemetry.NewReader(r, t.in.Name())
		if err != nil {
			return err
		}
		t.head = tr.Head()
		var b batch
		if err := tr.Read(&b); err == nil && b.Len() > 0 { // a fault shows again when all is read
			t.first = b.Time[0]
		}
	}
	if len(s.logs) == 0 && len(s.tele) > 0 {
		s.clock = s.tele[0].head.Clock
	}
	for _, t := range s.tele {
		t.offset, _ = s.clock.Offset(t.head.Clock)
	}
	slices.SortStableFunc(s.tele, func(a, b *teleFile) int {
		return cmp.Compare(a.first.Add(a.offset), b.first.Add(b.offset))
	})
	for i := 1; i < len(s.tele); i++ {
		if a, b := s.tele[i-1], s.tele[i]; a.head.Clock.Same(b.head.Clock) && a.first == b.first {
			return fmt.Errorf("%s: is the same recording as %s", b.in.Name(), a.in.Name())
		}
	}
	return nil
}

// readTelemetry passes all batches of a recording on. One that is cut off is
// used as far as it goes; a damaged one only with --keep-going.
func (s *job) readTelemetry(t *teleFile, use func(*batch, reduce.Recording)) error {
	r, err := t.in.Reader()
	if err != nil {
		return err
	}
	tr, err := telemetry.NewReader(r, t.in.Name())
	if err != nil {
		return err
	}
	var b batch
	for {
		switch err := tr.Read(&b); {
		case err == io.EOF:
			t.end, _ = tr.End()
			return nil
		case errors.Is(err, telemetry.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
			t.fault = err
			return nil
		case err != nil:
			var corrupt *telemetry.CorruptError
			if !errors.As(err, &corrupt) {
				return err
			}
			if !s.opt.keepGoing {
				return cli.Hint(err, "--keep-going uses what precedes it")
			}
			t.fault = err
			return nil
		}
		use(&b, reduce.Recording{Offset: t.offset, Driver: t.head.Info.Driver})
	}
}

// loadTruth reads the simulator's truth file.
func (s *job) loadTruth(env *cli.Env) (func(string, trace.Time) (uint64, bool), error) {
	in, err := formats.Open(s.opt.truth, env.Stdin)
	if err != nil {
		return nil, err
	}
	s.inputs = append(s.inputs, in)
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	t, err := truth.Load(r, in.Name())
	if err != nil {
		return nil, err
	}
	offset, _ := s.clock.Offset(t.Header.Clock)
	return func(device string, at trace.Time) (uint64, bool) { return t.Energy(device, at.Add(-offset)) }, nil
}
