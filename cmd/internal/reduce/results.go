package reduce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/logs"
	"wattrace/formats/telemetries"
)

// aiperfDirectory is where InferenceX has aiperf leave its files, below its own.
const aiperfDirectory = "aiperf_artifacts"

// openResult opens what a serving benchmark left in a directory beside a log of power, as
// InferenceX has it: one result, or the files of an aiperf in a directory below; nil is that
// there is neither. Files are known by what they hold, and others are not wanted.
func (s *job) openResult(env *cli.Env, path string) (*artifacts, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	a := &artifacts{path: path}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || !isResult(e.Name()) {
			continue
		}
		in, err := formats.Open(name, env.Stdin)
		if err != nil {
			return nil, errors.Join(err, s.drop(a))
		}
		if !a.takeResult(in) {
			if err := in.Close(); err != nil {
				return nil, err
			}
			continue
		}
		s.inputs = append(s.inputs, in)
		if in.Kind() == formats.BenchServe && a.log.in != in {
			return nil, cli.Hint(fmt.Errorf("%s: holds the results of two runs, %s and %s", path, a.log.in.Name(), name), "name the files of one of them")
		}
	}
	if a.log == nil {
		below, err := s.openArtifactsBelow(env, path)
		if err != nil {
			return nil, err
		}
		if below == nil {
			return nil, s.drop(a)
		}
		a.log = below.log
		if len(a.tele) == 0 { // else both are of the same GPUs
			a.tele = below.tele
		} else if err := s.drop(&artifacts{tele: below.tele}); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// openArtifactsBelow opens aiperf's files of a run of InferenceX; nil is that there are none.
func (s *job) openArtifactsBelow(env *cli.Env, path string) (*artifacts, error) {
	below := filepath.Join(path, aiperfDirectory)
	if !isDirectory(below) {
		return nil, nil
	}
	return s.openArtifacts(env, below)
}

// drop takes back what was opened of a directory.
func (s *job) drop(a *artifacts) (err error) {
	for _, t := range a.tele {
		s.forget(t.in)
		err = errors.Join(err, t.in.Close())
	}
	for _, l := range a.more {
		s.forget(l.in)
		err = errors.Join(err, l.in.Close())
	}
	return err
}

// isResult reports whether a file may be of a run by its name. The counters beside a log of
// power are found from it.
func isResult(name string) bool {
	for _, layer := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, layer)
	}
	if strings.HasSuffix(name, "_energy_start.csv") || strings.HasSuffix(name, "_energy_end.csv") {
		return false
	}
	return strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".csv")
}

// takeResult takes a file if it is of a run.
func (a *artifacts) takeResult(in *formats.Input) bool {
	switch kind := in.Kind(); kind {
	case formats.BenchServe:
		if codec, _ := logs.ByKind(kind); a.log == nil {
			a.log = &logFile{in: in, codec: codec}
		}
	case formats.InferenceXAggregate, formats.InferenceXAudit, formats.EnergyMetrics:
		codec, _ := logs.ByKind(kind)
		a.more = append(a.more, &logFile{in: in, codec: codec})
	case formats.NVIDIASMI, formats.AMDSMI:
		codec, _ := telemetries.ByKind(kind)
		a.tele = append(a.tele, &teleFile{in: in, codec: codec})
	default:
		return false
	}
	return true
}

// mostRuns bounds the runs of a job.
const mostRuns = 1000

// openJob opens the runs of a job of srt-slurm, whose power package has been opened:
// aiperf's directories (conc_N/aiperf_artifacts) and results of sa-bench
// (sa-bench_*/results_concurrency_N_*.json), wherever they lie. Each is a phase, or has
// some.
func (s *job) openJob(env *cli.Env, root string) error {
	var directories []string
	var results []*logFile
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		if e.IsDir() && (name == filepath.Join(root, "power") || strings.Count(rel, string(filepath.Separator)) >= mostDepth) {
			return fs.SkipDir
		}
		dir := filepath.Dir(name)
		if !e.Type().IsRegular() || slices.Contains(directories, dir) || filepath.Base(dir) == "raw_records" || !isLines(name) && !isResult(name) || strings.HasSuffix(name, ".csv") {
			return nil
		}
		in, err := formats.Open(name, env.Stdin)
		if err != nil {
			return err
		}
		kind := in.Kind()
		if kind == formats.BenchServe && len(results) < mostRuns {
			codec, _ := logs.ByKind(kind)
			s.inputs = append(s.inputs, in)
			results = append(results, &logFile{in: in, codec: codec})
			return nil
		}
		if kind == formats.AIPerf || kind == formats.AIPerfRaw {
			directories = append(directories, dir)
		}
		if len(directories)+len(results) > mostRuns {
			err = fmt.Errorf("%s: more than %d runs", root, mostRuns)
		}
		return errors.Join(err, in.Close())
	})
	if err != nil {
		return err
	}
	s.logs = append(s.logs, results...)
	for _, dir := range directories {
		a, err := s.openArtifacts(env, dir)
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		s.logs = append(s.logs, a.log)
		if err := s.drop(&artifacts{tele: a.tele}); err != nil { // the package has the GPUs
			return err
		}
	}
	return nil
}
