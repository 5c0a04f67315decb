package reduce

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/aiperf"
	"wattrace/reduce"
	"wattrace/trace"
)

// latestAIPerf is aiperf as its newest generation, or as that of an archive.
const latestAIPerf = "aiperf"

// useArchives gives the phases of aiperf's logs what aiperf published of them, if its
// figures are wanted, and chooses the generation of the formulas.
func (s *job) useArchives(env *cli.Env, spans []reduce.Span) error {
	if !slices.ContainsFunc(s.opt.reduce.Peers, func(name string) bool { return strings.HasPrefix(name, latestAIPerf) }) {
		return nil
	}
	chosen, by := -1, ""
	for _, l := range s.logs {
		if l.in.Kind() != formats.AIPerf {
			continue
		}
		a, err := s.openArchive(env, l)
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		a.use(l, spans)
		g, ok := a.summary.Generation.Get()
		if !ok {
			continue
		}
		if chosen >= 0 && g != chosen && slices.Contains(s.opt.reduce.Peers, latestAIPerf) {
			return cli.Hint(fmt.Errorf("--as aiperf: %s is of generation %d and %s of generation %d", by, chosen, l.in.Name(), g), "--as aiperf-g%d takes one of them", g)
		}
		chosen, by = g, l.in.Name()
	}
	return s.chooseGeneration(chosen)
}

// chooseGeneration makes aiperf that of an archive.
func (s *job) chooseGeneration(generation int) error {
	i := slices.Index(s.opt.reduce.Peers, latestAIPerf)
	if i < 0 || generation < 0 {
		return nil
	}
	name := fmt.Sprintf("%s-g%d", latestAIPerf, generation)
	if slices.Contains(s.opt.reduce.Peers, name) {
		return cli.Usagef("--as: aiperf is %s here, which is given, too", name)
	}
	s.opt.reduce.Peers[i] = name
	return nil
}

// archive is what a run of aiperf left beside its requests.
type archive struct {
	summary  *aiperf.Archive
	manifest []aiperf.PhaseEntry
	byPhase  map[string]*aiperf.Archive // of phases that have a summary of their own
}

// mostArchive bounds a summary, in bytes.
const mostArchive = 64 << 20

// openArchive reads what is beside a log, if it is there.
func (s *job) openArchive(env *cli.Env, l *logFile) (*archive, error) {
	a := &archive{byPhase: map[string]*aiperf.Archive{}}
	b, name, err := s.readBeside(env, l.codec.Beside(l.in.Name()), l.codec.BesideSchema)
	if err != nil || b == nil {
		return nil, err
	}
	if a.summary, err = aiperf.ParseArchive(b, name); err != nil {
		return nil, err
	}
	dir := filepath.Dir(l.in.Name())
	if b, name, err = s.readBeside(env, filepath.Join(dir, aiperf.ManifestName), "aiperf phase_manifest"); err != nil || b == nil {
		return a, err
	}
	if a.manifest, err = aiperf.ParseManifest(b, name); err != nil {
		return nil, err
	}
	for _, e := range a.manifest {
		if e.MetricsJSON == "" || !filepath.IsLocal(e.MetricsJSON) {
			continue
		}
		b, name, err := s.readBeside(env, filepath.Join(dir, e.MetricsJSON), l.codec.BesideSchema)
		if err != nil {
			return nil, err
		}
		if b != nil {
			if a.byPhase[e.Name], err = aiperf.ParseArchive(b, name); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

// readBeside reads a whole file that may not be there, which is an input then.
func (s *job) readBeside(env *cli.Env, path, schema string) (b []byte, name string, err error) {
	i := slices.IndexFunc(s.inputs, func(in *formats.Input) bool { return in.Name() == path })
	var in *formats.Input
	if i >= 0 {
		in = s.inputs[i]
	} else {
		in, err = formats.Open(path, env.Stdin)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", nil
		}
		if err != nil {
			return nil, "", err
		}
		s.inputs, s.schemas[in] = append(s.inputs, in), schema
	}
	r, err := in.Reader()
	if err != nil {
		return nil, "", err
	}
	b, err = io.ReadAll(io.LimitReader(r, mostArchive+1))
	if err == nil && len(b) > mostArchive {
		err = fmt.Errorf("%s: is longer than %d MiB", in.Name(), mostArchive>>20)
	}
	return b, in.Name(), err
}

// use gives the phases of a log's runs what is known of them.
func (a *archive) use(l *logFile, spans []reduce.Span) {
	for _, r := range l.runs {
		unix := r.clocks.Anchor.UnixNanos - int64(r.joint.Offset) // of time 0 of the common clock
		only := 0
		for _, ph := range r.phases {
			if ph.Kind == string(trace.Measure) {
				only++
			}
		}
		for _, ph := range r.phases {
			t := &reduce.Archive{Observed: a.summary.Observed(a.manifest != nil)}
			t.Epoch = trace.Opt[int64]{V: unix, OK: t.Observed} // the same version brought both
			t.SLO, t.Unknown = objectives(a.summary.Objectives)
			measured := ph.Kind == string(trace.Measure)
			if start, end, rounded, ok := a.bounds(ph, measured && only == 1, r.clocks.Anchor.UnixNanos); ok {
				t.Rounded = rounded
				t.Start, t.End = trace.Some(trace.Time(start-unix)), trace.Some(trace.Time(end-unix))
			} else {
				t.Observed = false
			}
			t.Published = map[string]float64{}
			if own := a.byPhase[ph.Name]; own != nil {
				maps.Copy(t.Published, own.Figures)
			}
			switch {
			case measured && only == 1: // what is of the run is of the phase
				maps.Copy(t.Published, a.summary.Figures)
				t.GPUs = a.summary.GPUs
			case !measured && a.byPhase[ph.Name] == nil:
				maps.Copy(t.Published, a.summary.Warmup)
			}
			spans[ph.span].Archive = t
		}
	}
}

// bounds returns when a phase began and its last request ended, in Unix nanoseconds. Of
// the only one that is measured the summary says it, to a microsecond and in a time zone
// that the requests tell.
func (a *archive) bounds(ph *runPhase, only bool, anchor int64) (start, end int64, rounded time.Duration, ok bool) {
	for _, e := range a.manifest {
		if e.Name == ph.Name && e.Start.OK && e.End.OK {
			return e.Start.V, e.End.V, 0, e.Start.V < e.End.V
		}
	}
	if !only || !a.summary.Start.OK || !a.summary.End.OK {
		return 0, 0, 0, false
	}
	const quarter = int64(15 * time.Minute)
	first := anchor + int64(ph.Start)
	zone := int64(math.Round(float64(first-a.summary.Start.V)/float64(quarter))) * quarter
	start, end = a.summary.Start.V+zone, a.summary.End.V+zone
	last := anchor + int64(ph.End.V)
	near := func(t, of int64) bool { return t-of < int64(nearBound) && of-t < int64(nearBound) }
	return start, end, time.Microsecond, start < end && near(start, first) && near(end, last)
}

// nearBound is how far the bounds of a phase may be from its requests': an end that is
// further away is that of something else, as of versions that wrote when they exported.
const nearBound = 5 * time.Second

// objectives takes the limits of --goodput that are recomputed.
func objectives(limits map[string]float64) (slo reduce.PeerSLO, unknown []string) {
	for _, tag := range slices.Sorted(maps.Keys(limits)) {
		v := limits[tag]
		to := map[string]*trace.Opt[time.Duration]{
			"time_to_first_token": &slo.TimeToFirstToken, "ttft": &slo.TimeToFirstToken,
			"inter_token_latency": &slo.InterTokenLatency, "request_latency": &slo.RequestLatency,
		}[tag]
		switch nanos := math.Round(v * 1e6); {
		case to != nil && nanos >= 0 && nanos < math.MaxInt64/2:
			*to = trace.Some(time.Duration(nanos))
		case tag == "output_token_throughput_per_user" && v >= 0:
			slo.TokensPerUser = trace.Some(v)
		default:
			unknown = append(unknown, cmp.Or(tag, `""`))
		}
	}
	return slo, unknown
}
