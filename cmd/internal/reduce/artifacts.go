package reduce

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/logs"
	"wattrace/formats/srtslurm"
	"wattrace/formats/telemetries"
	"wattrace/reduce"
)

// An artifact directory is what aiperf leaves of a run. Its files are known by what they
// hold, since their names have a prefix of the user's choice.
type artifacts struct {
	path string
	log  *logFile
	raw  *logFile // of the same requests, with the answers
	tele []*teleFile
	more []*logFile // what was published of the run, and answers of its server
}

// isDirectory reports whether an operand is a directory.
func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return path != "-" && err == nil && info.IsDir()
}

// openPackage opens the samples of a power package, and what stands beside them.
func (s *job) openPackage(env *cli.Env, dir string) error {
	p, in, err := srtslurm.Open(dir, env.Stdin)
	if err != nil {
		return err
	}
	s.inputs = append(s.inputs, in)
	codec, _ := telemetries.ByKind(formats.SRTSlurm)
	s.tele = append(s.tele, &teleFile{in: in, codec: codec, pkg: p})
	for _, name := range p.Files {
		beside, err := formats.Open(filepath.Join(dir, name), env.Stdin)
		if err != nil {
			return err
		}
		s.inputs, s.schemas[beside] = append(s.inputs, beside), "srt-slurm.dcgm-power"
	}
	return nil
}

// openArtifacts opens the request log and the telemetry of a directory. Other files in it
// are not wanted, and nothing is said of them.
func (s *job) openArtifacts(env *cli.Env, path string) (*artifacts, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	a := &artifacts{path: path}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || !isLines(e.Name()) {
			continue
		}
		in, err := formats.Open(name, env.Stdin)
		if err != nil {
			return nil, err
		}
		if !a.take(in) {
			if err := in.Close(); err != nil {
				return nil, err
			}
			continue
		}
		s.inputs = append(s.inputs, in)
		for _, l := range []*logFile{a.log, a.raw} {
			if l != nil && l.in != in && in.Kind() == l.in.Kind() {
				return nil, cli.Hint(fmt.Errorf("%s: holds the requests of two runs, %s and %s", path, l.in.Name(), name), "name the files of one of them")
			}
		}
	}
	if a.log == nil && a.raw == nil {
		for _, t := range a.tele { // they are of no run
			s.forget(t.in)
			if err := t.in.Close(); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	return a, s.choose(env, a)
}

// choose takes one of the two files of a run's requests. The answers themselves say when
// each event came and what it was; but where the server did not count the tokens, only
// aiperf's tokenizer did, and that is in the other file.
func (s *job) choose(env *cli.Env, a *artifacts) error {
	switch {
	case a.raw == nil:
		return nil
	case a.log == nil:
		a.log = a.raw
		return nil
	}
	unread, err := s.openLog(env, a.raw), s.openLog(env, a.log)
	taken, left := a.raw, a.log
	why := "it says when each event came and what it was, and has the server's own count of tokens"
	switch {
	case unread != nil && err != nil:
		return err
	case err != nil:
		why = fmt.Sprintf("the other cannot be read (%v)", err)
	case unread != nil:
		taken, left, why = left, taken, fmt.Sprintf("the other cannot be read (%v)", unread)
	case a.raw.content.Sent() < a.log.content.Sent():
		taken, left, why = left, taken, fmt.Sprintf("the other has %d of its %d requests", a.raw.content.Sent(), a.log.content.Sent())
	case a.raw.content.Inexact > a.log.content.Inexact:
		taken, left, why = left, taken, fmt.Sprintf("the other lacks the server's count of tokens (%d requests), where aiperf's tokenizer counted", a.raw.content.Inexact)
	}
	s.doubts = append(s.doubts, doubt{reduce.WarnLogChosen, fmt.Sprintf("%s is taken, and %s is not: %s", taken.in.Name(), filepath.Base(left.in.Name()), why)})
	a.log = taken
	s.forget(left.in)
	return left.in.Close()
}

// mostDepth is how far below a directory runs are looked for: aiperf's sweeps of several
// trials have profile_runs/trial_0001/concurrency_8, or the same the other way round.
const mostDepth = 4

// noRun says that a directory is not that of a run, and where those are that it holds.
func noRun(path string) error {
	var runs []string
	more := 0
	filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is only looked at for the hint
		}
		rel, _ := filepath.Rel(path, name)
		if e.IsDir() && strings.Count(rel, string(filepath.Separator)) >= mostDepth {
			return fs.SkipDir
		}
		if dir := filepath.Dir(name); e.Type().IsRegular() && isLines(e.Name()) && dir != path && !slices.Contains(runs, dir) {
			in, err := formats.Open(name, nil)
			if err != nil {
				return nil
			}
			defer in.Close()
			if kind := in.Kind(); kind != formats.AIPerf && kind != formats.AIPerfRaw {
				return nil
			}
			const few = 3
			if len(runs) == few {
				more++
				return fs.SkipDir
			}
			runs = append(runs, dir)
		}
		return nil
	})
	if len(runs) == 0 {
		return cli.Hint(fmt.Errorf("%s: is a directory, and holds no request log of aiperf, no result of a serving benchmark and no power package of srt-slurm", path),
			"aiperf writes it (profile_export.jsonl) at --export-level records")
	}
	list := strings.Join(runs, ", ")
	if more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	if filepath.Base(runs[0]) == "raw_records" {
		return cli.Hint(fmt.Errorf("%s: holds raw records of a run that was not ended (%s)", path, list), "reduce its files together, as in cat %s/*.jsonl | reduce -", runs[0])
	}
	return cli.Hint(fmt.Errorf("%s: holds several runs of aiperf, or one deeper: %s", path, list), "reduce one of them: each is a run of its own, and the aggregate has no requests")
}

// isLines reports whether a file is JSON Lines by its name.
func isLines(name string) bool {
	for _, layer := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, layer)
	}
	return strings.HasSuffix(name, ".jsonl")
}

// take takes a file if it is one of aiperf's two.
func (a *artifacts) take(in *formats.Input) bool {
	switch kind := in.Kind(); kind {
	case formats.AIPerf, formats.AIPerfRaw:
		into := &a.log
		if kind == formats.AIPerfRaw {
			into = &a.raw
		}
		if codec, _ := logs.ByKind(kind); *into == nil {
			*into = &logFile{in: in, codec: codec}
		}
	case formats.AIPerfTelemetry:
		codec, _ := telemetries.ByKind(kind)
		a.tele = append(a.tele, &teleFile{in: in, codec: codec})
	default:
		return false
	}
	return true
}

// openDirectories opens the operands that are directories. Where another recording was
// named it counts, and not aiperf's own telemetry, whose devices are the same.
func (s *job) openDirectories(env *cli.Env, paths []string) error {
	named := len(s.tele) > 0
	var jobs []string
	for _, path := range paths {
		if dir, root, ok := srtslurm.Find(path); ok {
			if err := s.openPackage(env, dir); err != nil {
				return err
			}
			if root != "" {
				jobs = append(jobs, root)
			}
			continue
		}
		if err := s.openRun(env, path, named); err != nil {
			return err
		}
	}
	if len(s.logs) > 0 { // which were named, and count
		return nil
	}
	for _, root := range jobs {
		if err := s.openJob(env, root); err != nil {
			return err
		}
	}
	return nil
}

// openRun opens the directory of a run: aiperf's, or what a serving benchmark and a log of
// power left in one. With named its telemetry is left out.
func (s *job) openRun(env *cli.Env, path string, named bool) error {
	a, err := s.openArtifacts(env, path)
	if err != nil {
		return err
	}
	if a == nil {
		a, err = s.openResult(env, path)
	}
	if err != nil {
		return err
	}
	if a == nil {
		return noRun(path)
	}
	s.logs = append(s.logs, a.log)
	s.logs = append(s.logs, a.more...)
	if !named {
		s.tele = append(s.tele, a.tele...)
		return nil
	}
	for _, t := range a.tele {
		s.forget(t.in)
		if err := t.in.Close(); err != nil {
			return err
		}
	}
	return nil
}
