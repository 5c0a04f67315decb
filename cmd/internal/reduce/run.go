package reduce

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/energies"
	"wattrace/formats/logs"
	"wattrace/formats/telemetries"
	"wattrace/formats/truth"
	"wattrace/reduce"
	"wattrace/trace"
)

// job is the files of one report and what has been learnt of them.
type job struct {
	opt        options
	inputs     []*formats.Input
	logs       []*logFile
	tele       []*teleFile
	recordings []*recording
	common     trace.Clocks // the clock that all times are moved to
	r          *reduce.Reducer

	course   *reduce.Course            // nil is not asked for
	energies *energies.Writer          // of the requests; nil is not asked for
	runs     []*run                    // of all logs, in the order of time
	sharded  []*shards                 // those of them that are parts of one
	schemas  map[*formats.Input]string // of the inputs that are no operands
	stated   []reduce.Statement        // by the tools of the logs
	doubts   []doubt                   // of the logs
	progress progress
	expect   int // GPUs that the logs' tools say were there; 0 is not said
}

// makeReport makes the report of the operands.
func makeReport(env *cli.Env, operands []string, opt options) (*reduce.Report, error) {
	return newJob(opt).report(env, operands)
}

func newJob(opt options) *job {
	return &job{opt: opt, schemas: map[*formats.Input]string{}}
}

func (s *job) report(env *cli.Env, operands []string) (rep *reduce.Report, err error) {
	opt := s.opt
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
	defer env.Progress(s.progress.status)()
	defer func() {
		for _, in := range s.inputs {
			err = errors.Join(err, in.Close())
		}
	}()
	if err := s.open(env, operands); err != nil {
		return nil, err
	}
	if len(s.logs) == 0 && len(s.tele) == 0 && len(s.stated) > 0 {
		return s.statements()
	}
	spans, err := s.surveyLogs()
	if err != nil {
		return nil, err
	}
	if err := s.useArchives(env, spans); err != nil {
		return nil, err
	}
	if err := s.headTelemetry(spans); err != nil {
		return nil, err
	}
	for _, in := range s.inputs {
		in.HashAhead()
	}
	ro := opt.reduce
	for _, w := range opt.windows {
		ro.Windows = append(ro.Windows, w.span(s.common.Clock))
	}
	if err := s.loadFiles(env, &ro); err != nil {
		return nil, err
	}
	if err := s.openAccumulators(env, &ro); err != nil {
		return nil, err
	}
	if ro.ExpectDevices == 0 {
		ro.ExpectDevices = s.expect
	}
	if s.opt.inputs.topology == "" {
		ro.Topology = s.toldTopology()
	}
	if opt.truth != "" {
		if ro.Truth, err = s.loadTruth(env); err != nil {
			return nil, err
		}
	}
	s.r = reduce.New(s.common.Clock, spans, len(s.logs) > 0, ro)
	for _, r := range s.runs {
		for _, c := range r.client {
			c.At = c.At.Add(r.joint.Offset)
			s.r.Client(r.number, c)
		}
	}
	for _, t := range s.tele {
		if err := s.readTelemetry(t, func(b *batch, from reduce.Recording) {
			t.of.takeMarks(b, from.Offset)
			s.progress.rows[0].Add(int64(b.Len()))
			s.r.Survey(b, from)
		}); err != nil {
			return nil, err
		}
	}
	if err := s.useMarks(spans); err != nil {
		return nil, err
	}
	for _, l := range s.logs {
		if err := s.surveyRequests(l); err != nil {
			return nil, err
		}
	}
	if err := s.r.Start(); err != nil {
		if e := (*reduce.SlicesError)(nil); errors.As(err, &e) {
			err = cli.Hint(err, "--every %v fits, and so do single parts of the time as --window", e.Least)
		}
		return nil, err
	}
	s.progress.second.Store(time.Now().UnixNano())
	for _, t := range s.tele {
		if err := s.readTelemetry(t, func(b *batch, from reduce.Recording) {
			s.progress.rows[1].Add(int64(b.Len()))
			s.r.Telemetry(b, from)
		}); err != nil {
			return nil, err
		}
	}
	for _, l := range s.logs {
		if err := s.readRequests(l); err != nil {
			return nil, err
		}
	}
	s.warnInputs()
	rep = s.r.Report()
	s.course = s.r.Course()
	rep.Stated = s.stated
	rep.Producer = cli.Producer()
	s.describeRuns(rep)
	if requestOut != nil {
		if err := s.endEnergies(rep, requestOut); err != nil {
			return nil, err
		}
	}
	return rep, s.describeInputs(rep)
}

// statements makes the report of inputs that only state figures.
func (s *job) statements() (*reduce.Report, error) {
	if s.energies != nil {
		return nil, errNoSplit
	}
	rep := &reduce.Report{Schema: reduce.Schema, Producer: cli.Producer(), Inputs: []reduce.Input{}, Warnings: []reduce.Warning{}, Phases: []reduce.Phase{}, Stated: s.stated}
	for _, d := range s.doubts {
		rep.Warnings = append(rep.Warnings, reduce.Warning{Code: d.code, Message: d.text})
	}
	return rep, s.describeInputs(rep)
}

var errNoSplit = errors.New("--per-request: there is no energy to split: it needs a request log and a recording of its time")

// endEnergies ends the file of the requests' energies.
func (s *job) endEnergies(rep *reduce.Report, out *cli.Output) error {
	total, ok := s.r.Attributed()
	if !ok {
		return errNoSplit
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
	var directories []string
	stdinFirst := slices.Clone(operands)
	slices.SortStableFunc(stdinFirst, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	for i, path := range stdinFirst {
		if i > 0 && path == "-" {
			return cli.Usagef("standard input is named twice")
		}
		if isDirectory(path) {
			if slices.Contains(directories, path) {
				return cli.Usagef("%s is named twice", path)
			}
			directories = append(directories, path)
			continue
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
		if in == nil && slices.Contains(directories, operands[i]) {
			continue
		}
		if in == nil {
			return cli.Usagef("%s is named twice", operands[i])
		}
		kind := in.Kind()
		codec, telemetry := telemetries.ByKind(kind)
		logCodec, log := logs.ByKind(kind)
		switch {
		case log:
			s.logs = append(s.logs, &logFile{in: in, codec: logCodec})
		case telemetry:
			s.tele = append(s.tele, &teleFile{in: in, codec: codec})
		default:
			return s.refuse(env, in)
		}
	}
	if err := s.openDirectories(env, directories); err != nil {
		return err
	}
	// No result depends on the order of the operands.
	slices.SortFunc(s.logs, func(a, b *logFile) int { return cmp.Compare(a.in.Name(), b.in.Name()) })
	slices.SortFunc(s.tele, func(a, b *teleFile) int { return cmp.Compare(a.in.Name(), b.in.Name()) })
	if err := s.openLogs(env); err != nil {
		return err
	}
	if err := s.publish(env); err != nil {
		return err
	}
	if err := s.placeLogs(); err != nil {
		return err
	}
	return s.checkNamed()
}

// forget takes back that an input is one.
func (s *job) forget(in *formats.Input) {
	s.inputs = slices.DeleteFunc(s.inputs, func(other *formats.Input) bool { return other == in })
}

// refuse says that an operand is none.
func (s *job) refuse(env *cli.Env, in *formats.Input) error {
	what := string(in.Kind())
	if in.Kind() == formats.Unknown {
		r, err := in.Reader()
		if err == nil {
			_, err = io.ReadFull(r, make([]byte, 1))
		}
		if err == io.EOF {
			what = "is empty"
		} else if err != nil {
			return err
		}
	}
	takes := "request logs, recordings and other tools' telemetry"
	if s.opt.reports {
		takes = "reports, " + takes
	}
	err := fmt.Errorf("%s: %s: %s takes %s", in.Name(), what, env.Tool, takes)
	if in.Kind() == formats.Report {
		return cli.Hint(err, "compare and plot take reports")
	}
	if in.Kind() == formats.Parquet {
		return cli.Hint(err, "convert --to arrow %s makes a recording of it, if it is one", in.Name())
	}
	if flag, ok := flagOf[in.Kind()]; ok {
		return cli.Hint(err, "%s %s", flag, in.Name())
	}
	if in.Kind() == formats.AIPerfManifest {
		return cli.Hint(err, "name its directory: the phases are in the requests")
	}
	return err
}

// openLogs opens the logs, with the files beside them.
func (s *job) openLogs(env *cli.Env) error {
	for _, l := range s.logs {
		if err := s.openLog(env, l); err != nil {
			return err
		}
	}
	return nil
}

// openLog opens a log, if it is not open yet.
func (s *job) openLog(env *cli.Env, l *logFile) (err error) {
	if l.content != nil {
		return nil
	}
	var beside *formats.Input
	if l.codec.Beside != nil {
		if beside, err = s.openBeside(env, l); err != nil {
			return err
		}
	}
	l.content, err = l.codec.Open(l.in, beside)
	return err
}

// openBeside opens the file beside a log, if there is one.
func (s *job) openBeside(env *cli.Env, l *logFile) (*formats.Input, error) {
	path := l.codec.Beside(l.in.Name())
	if path == "" {
		return nil, nil
	}
	for _, in := range s.inputs { // that of the same run's other log
		if in.Name() == path && s.schemas[in] == l.codec.BesideSchema {
			return in, nil
		}
	}
	in, err := formats.Open(path, env.Stdin)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	s.inputs, s.schemas[in] = append(s.inputs, in), l.codec.BesideSchema
	return in, nil
}

func rank(path string) int {
	if path == "-" {
		return 0
	}
	return 1
}

// describeInputs fills in what the report was made from, by path.
func (s *job) describeInputs(rep *reduce.Report) error {
	for _, in := range s.inputs {
		sum, err := in.SHA256()
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // a layer that is cut: the warnings say so
			return err
		}
		input := reduce.Input{Path: in.Name(), Schema: s.schema(in), SHA256: sum}
		for _, t := range s.tele {
			if t.in == in {
				input.LostRows = t.account.Lost
			}
		}
		rep.Inputs = append(rep.Inputs, input)
	}
	slices.SortFunc(rep.Inputs, func(a, b reduce.Input) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

func (s *job) schema(in *formats.Input) string {
	if schema, ok := s.schemas[in]; ok {
		return schema
	}
	if codec, ok := telemetries.ByKind(in.Kind()); ok {
		return codec.Schema
	}
	codec, _ := logs.ByKind(in.Kind())
	return codec.Schema
}

// warnInputs warns of files that are not whole, and of clocks.
func (s *job) warnInputs() {
	for _, l := range s.logs {
		if l.incomplete > 0 {
			s.r.Warn(reduce.WarnIncompleteLog, "", "", "%s: the log was not ended: its client was killed, or could not write it", l.in.Name())
		}
		if l.interrupted {
			s.r.Warn(reduce.WarnInterrupted, "", "", "%s: a signal ended the run", l.in.Name())
		}
		if l.saturated {
			s.r.Warn(reduce.WarnSaturated, "", "", "%s: its client lacked processor time: latencies are in part its own, and it may not have kept up the load", l.in.Name())
		}
	}
	for _, d := range s.doubts {
		s.r.Warn(d.code, "", "", "%s", d.text)
	}
	if len(s.tele) == 0 && !slices.ContainsFunc(s.doubts, func(d doubt) bool { return d.code == reduce.WarnNoClock }) {
		s.r.Warn(reduce.WarnNoTelemetry, "", "", "no recording was given: nothing is said of power and energy")
	}
	for _, t := range s.tele {
		s.warnRecording(t)
		s.holes(t)
	}
	for _, r := range s.recordings {
		s.warnTicks(r)
	}
	s.warnShards()
	s.warnClocks()
}

// loadTruth reads the simulator's truth file.
func (s *job) loadTruth(env *cli.Env) (func(string, trace.Time) (uint64, bool), error) {
	in, err := formats.Open(s.opt.truth, env.Stdin)
	if err != nil {
		return nil, err
	}
	s.inputs, s.schemas[in] = append(s.inputs, in), truth.Schema
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	t, err := truth.Load(r, in.Name())
	if err != nil {
		return nil, err
	}
	j := s.join(in.Name(), trace.Clocks{Clock: t.Header.Clock}, 0, 0)
	return func(device string, at trace.Time) (uint64, bool) { return t.Energy(device, at.Add(-j.Offset)) }, nil
}
