package convert

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/nvidiasmi"
	"wattrace/formats/parquet"
	"wattrace/formats/srtslurm"
	"wattrace/formats/telemetries"
)

// A recordingFile is an operand that is a recording or another tool's telemetry, which
// can be read as often as it must be.
type recordingFile struct {
	in  *formats.Input
	pkg *srtslurm.Package // what stands beside the samples of srt-slurm

	wants map[string]bool // flags that say what it does not; known once it was opened
}

// openRecording opens an operand: a file, or the directory of a power package.
func (j *job) openRecording(path string) (*recordingFile, error) {
	dir, _, ok := srtslurm.Find(path)
	if !ok {
		in, err := j.open(path)
		return &recordingFile{in: in}, err
	}
	pkg, in, err := srtslurm.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	return &recordingFile{in: in, pkg: pkg}, nil
}

// open begins to read it from its start. The reader may be there beside an error.
func (f *recordingFile) open(o telemetries.Options) (telemetries.Reader, error) {
	kind := f.in.Kind()
	codec, ok := telemetries.ByKind(kind)
	switch {
	case kind == formats.Parquet:
		return openParquet(f.in)
	case ok:
		content, err := f.in.Reader()
		if err != nil {
			return nil, err
		}
		o.Package = f.pkg
		r, err := codec.Open(content, f.in.Name(), o)
		f.wants = map[string]bool{
			"timezone": codec.Local || err == nil && r.Head().Local, "host": codec.Nameless, "columns": kind == formats.NVIDIASMI,
		}
		return r, err
	case kind == formats.Unknown:
		if _, err := io.Copy(io.Discard, io.LimitReader(f.in.Stream(), 1)); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: is no recording", f.in.Name())
	}
	return nil, fmt.Errorf("%s: is a %s; --to takes recordings and telemetry of other tools", f.in.Name(), kind)
}

// refuseUnwanted refuses what flags say of recordings of which none wants it.
func (j *job) refuseUnwanted(files []*recordingFile) error {
	for _, name := range flagsOf[ofRecording] {
		if j.flags.IsSet(name) && !slices.ContainsFunc(files, func(f *recordingFile) bool { return f.wants[name] }) {
			return cli.Usagef("--%s says what no input leaves open", name)
		}
	}
	return nil
}

// openParquet reads a recording that was sealed as Parquet.
func openParquet(in *formats.Input) (telemetries.Reader, error) {
	content, err := in.Bytes()
	if err != nil {
		return nil, err
	}
	stream, err := parquet.Stream(content, in.Name())
	if err != nil {
		return nil, err
	}
	return telemetries.Codecs[0].Open(stream, in.Name(), telemetries.Options{})
}

// hinted adds what may help where a recording cannot be read.
func hinted(err error) error {
	switch fault := telemetries.Judge(err); {
	case errors.Is(err, nvidiasmi.ErrNoHeader):
		return cli.Hint(err, "--columns says it: what --query-gpu was given")
	case fault == telemetries.Skipped:
		return cli.Hint(err, "--keep-going leaves such rows out")
	case fault == telemetries.Damaged:
		return cli.Hint(err, "--keep-going takes what precedes it")
	}
	return err
}
