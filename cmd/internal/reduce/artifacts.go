package reduce

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/logs"
	"wattrace/formats/srtslurm"
	"wattrace/formats/telemetries"
)

// An artifact directory is what aiperf leaves of a run. Its files are known by what they
// hold, since their names have a prefix of the user's choice.
type artifacts struct {
	path string
	log  *logFile
	tele []*teleFile
}

// isDirectory reports whether an operand is a directory.
func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return path != "-" && err == nil && info.IsDir()
}

// packageIn returns the directory of srt-slurm's power package that a path names, or
// holds.
func packageIn(path string) (dir string, ok bool) {
	for _, dir := range []string{path, filepath.Join(path, "power")} {
		if srtslurm.Is(os.DirFS(dir)) {
			return dir, true
		}
	}
	return "", false
}

// openPackage opens the samples of a power package, and what stands beside them.
func (s *job) openPackage(env *cli.Env, dir string) error {
	p, err := srtslurm.Load(os.DirFS(dir), dir)
	if err != nil {
		return err
	}
	in, err := formats.Open(filepath.Join(dir, srtslurm.Samples), env.Stdin)
	if err != nil {
		return err
	}
	s.inputs = append(s.inputs, in)
	if err := p.Check(in); err != nil {
		return err
	}
	if in.Kind() != formats.SRTSlurm {
		return fmt.Errorf("%s: is a %s, not the samples of the package", in.Name(), in.Kind())
	}
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
		if a.log != nil && a.log.in != in && in.Kind() == formats.AIPerf {
			return nil, cli.Hint(fmt.Errorf("%s: holds the requests of two runs, %s and %s", path, a.log.in.Name(), name), "name the files of one of them")
		}
	}
	if a.log == nil {
		return nil, cli.Hint(fmt.Errorf("%s: is a directory, and holds no request log of aiperf and no power package of srt-slurm", path),
			"aiperf writes it (profile_export.jsonl) at --export-level records")
	}
	return a, nil
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
	case formats.AIPerf:
		if codec, _ := logs.ByKind(kind); a.log == nil {
			a.log = &logFile{in: in, codec: codec}
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
	for _, path := range paths {
		if dir, ok := packageIn(path); ok {
			if err := s.openPackage(env, dir); err != nil {
				return err
			}
			continue
		}
		a, err := s.openArtifacts(env, path)
		if err != nil {
			return err
		}
		s.logs = append(s.logs, a.log)
		if !named {
			s.tele = append(s.tele, a.tele...)
			continue
		}
		for _, t := range a.tele {
			s.forget(t.in)
			if err := t.in.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}
