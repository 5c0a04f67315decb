package traceflags

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/bodies"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// A Trace is a trace that was loaded.
type Trace struct {
	*trace.Trace
	Made *bodies.Trace // what it was made of; nil where it was a raw_payload trace
}

// Load loads a trace of any format: a raw_payload file or directory of conversations as it is,
// with its side file, of the others the bodies that the flags say. The path "-" is standard
// input. Payloads are valid until the closer, which is never nil without an error, is closed.
// What the format loses is said.
func (f *Flags) Load(env *cli.Env, path, timing string, isSet func(string) bool) (*Trace, io.Closer, error) {
	in, codec, o, err := f.open(env, path, timing, isSet)
	if err != nil {
		return nil, nil, err
	}
	if in == nil {
		t, closer, err := traces.Load(path, timing, env.Stdin)
		return &Trace{Trace: t}, closer, err
	}
	if codec.Open == nil {
		t, closer, err := traces.LoadInput(in, timing, env.Stdin)
		return &Trace{Trace: t}, closer, err
	}
	defer in.Close()
	m, err := bodies.New(o)
	if err != nil {
		return nil, nil, err
	}
	var n atomic.Int64
	stop := env.Progress(func() string { return fmt.Sprintf("making bodies: %d requests", n.Load()) })
	made, closer, err := bodies.Load(in, codec, m, func() { n.Add(1) })
	stop()
	switch {
	case errors.Is(err, bodies.ErrNoModel):
		return nil, nil, cli.Usagef("%s", err)
	case err != nil:
		return nil, nil, err
	}
	if made.Lost != "" {
		env.Summaryf("lost: %s", made.Lost)
	}
	if left := made.LeftOut(); left != "" {
		env.Summaryf("left out: %s", left)
	}
	return &Trace{Trace: &made.Trace, Made: made}, closer, nil
}

// Faults reads a trace once more, past its faults, which it returns. Of what can be read only
// once there are none.
func (f *Flags) Faults(env *cli.Env, path string, isSet func(string) bool) (all []error) {
	if path == "-" {
		return nil
	}
	in, codec, o, err := f.open(env, path, "", isSet)
	if err != nil {
		return nil
	}
	if in == nil {
		files, _ := filepath.Glob(filepath.Join(path, "*.jsonl"))
		for _, name := range files {
			if in, err := formats.Open(name, nil); err == nil {
				all = append(all, faultsOf(in)...)
				in.Close()
			}
		}
		return all
	}
	defer in.Close()
	if codec.Open == nil {
		return faultsOf(in)
	}
	m, err := bodies.New(o)
	if err != nil {
		return nil
	}
	return bodies.Faults(in, codec, m)
}

// faultsOf returns the faults of a raw_payload file.
func faultsOf(in *formats.Input) (all []error) {
	for _, err := range trace.NewReader(in.Stream(), in.Name()).All() {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// open opens a trace and finds out what it is: nil is a directory of conversations.
func (f *Flags) open(env *cli.Env, path, timing string, isSet func(string) bool) (_ *formats.Input, codec traces.Codec, o bodies.Options, _ error) {
	o, err := f.Options(isSet)
	if err != nil {
		return nil, codec, o, err
	}
	if _, ok := traces.ByName(f.Format); !ok && f.Format != "" {
		return nil, codec, o, cli.Usagef("--%s %q: want one of %s", f.formatFlag, f.Format, traces.Names())
	}
	if path == "-" && timing == "-" {
		return nil, codec, o, errors.New("-: standard input cannot be both the trace and its side file")
	}
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		if f.Format != "" && f.Format != "raw_payload" {
			return nil, codec, o, cli.Usagef("--%s %s: %s is a directory, of raw_payload conversations", f.formatFlag, f.Format, path)
		}
		return nil, codec, o, Refuse(isSet, path, f.Names())
	}
	in, err := formats.Open(path, env.Stdin)
	if err != nil {
		return nil, codec, o, err
	}
	codec, err = traces.Find(in, f.Format)
	var kind *traces.KindError
	if alike := []string(nil); errors.As(err, &kind) {
		if alike = traces.Alike(kind.Kind); len(alike) > 0 {
			flag := "--" + f.formatFlag + " "
			err = cli.Hint(err, "say which: %s", flag+strings.Join(alike, ", "+flag))
		}
	}
	if err == nil && codec.Open == nil {
		err = Refuse(isSet, path, f.Names())
		if alike := traces.Alike(codec.Kind); err != nil && f.Format == "" && len(alike) > 0 {
			flag := "--" + f.formatFlag + " "
			err = cli.Hint(err, "if it is a dataset, say of which tool: %s", flag+strings.Join(alike, ", "+flag))
		}
	}
	if err == nil && codec.Open != nil && timing != "" {
		err = cli.Usagef("--timing is for a raw_payload trace, and %s is a %s, which has times of its own", path, codec.Kind)
	}
	if err == nil {
		err = f.CheckTurns(codec)
	}
	if err != nil {
		in.Close()
		return nil, codec, o, err
	}
	return in, codec, o, nil
}
