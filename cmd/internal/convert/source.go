package convert

import (
	"errors"
	"io"
	"os"
	"strings"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/traces"
)

// A source is the input, which can be read as often as it must be.
type source struct {
	raw  bool   // bodies that are checked already
	lost string // what of it does not get into the trace

	once   func() (formats.RequestReader, error) // for a single pass
	again  func() (formats.RequestReader, error) // from the start each time
	inputs []io.Closer
	main   *formats.Input // what the requests are in; nil where that is several files
}

func (s *source) close() {
	for _, in := range s.inputs {
		in.Close()
	}
}

// reshapes reports whether there is something to do for what is a trace already.
func (o *options) reshapes(path string) bool {
	return o.to != "" || o.shape.asked() || o.intoDirectory || o.Tokenizer != "" || isDirectory(path)
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return path != "-" && err == nil && info.IsDir()
}

// openSource opens the input and finds out what it is.
func (o *options) openSource(env *cli.Env, path string, in *formats.Input, stdin io.Reader, options traces.Options) (_ *source, err error) {
	o.intoDirectory = o.to == "" && strings.HasSuffix(env.OutputPath(), "/")
	if isDirectory(path) {
		return o.openConversations(env, path, stdin)
	}
	if in == nil {
		if in, err = formats.Open(path, stdin); err != nil {
			return nil, err
		}
	}
	codec, err := o.codec(in)
	if err == nil && codec.Open == nil {
		if err = o.refuseBodyFlags(path); err == nil {
			return o.openRaw(env, in, stdin)
		}
	}
	if err == nil && o.fromTiming != "" {
		err = cli.Usagef("--from-timing is for a raw_payload trace, and %s is a %s", path, codec.Kind)
	}
	if err == nil {
		err = o.CheckTurns(codec)
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	s := &source{lost: codec.Lost, inputs: []io.Closer{in}, main: in}
	s.once = func() (formats.RequestReader, error) { return codec.Open(in.Stream(), in.Name(), options), nil }
	s.again = func() (formats.RequestReader, error) {
		r, err := in.Reader()
		if err != nil {
			return nil, err
		}
		return codec.Open(r, in.Name(), options), nil
	}
	return s, nil
}

// openRaw opens a raw_payload file with its side file.
func (o *options) openRaw(env *cli.Env, in *formats.Input, stdin io.Reader) (*source, error) {
	s := &source{raw: true, inputs: []io.Closer{in}, main: in}
	side, name, err := o.openSide(env, s, in.Name(), stdin)
	if err != nil {
		s.close()
		return nil, err
	}
	open := func(content, timing io.Reader) formats.RequestReader {
		return traces.NewRawReader(content, in.Name(), timing, name)
	}
	s.once = func() (formats.RequestReader, error) {
		if side == nil {
			return open(in.Stream(), nil), nil
		}
		return open(in.Stream(), side.Stream()), nil
	}
	s.again = func() (formats.RequestReader, error) {
		r, err := in.Reader()
		if err != nil || side == nil {
			return open(r, nil), err
		}
		t, err := side.Reader()
		return open(r, t), err
	}
	return s, nil
}

// openConversations opens a directory of conversations with its side file.
func (o *options) openConversations(env *cli.Env, dir string, stdin io.Reader) (*source, error) {
	if o.Format != "" && o.Format != "raw_payload" {
		return nil, cli.Usagef("--from %s: %s is a directory, of raw_payload conversations", o.Format, dir)
	}
	if err := o.refuseBodyFlags(dir); err != nil {
		return nil, err
	}
	s := &source{raw: true}
	side, name, err := o.openSide(env, s, dir, stdin)
	if err != nil {
		return nil, err
	}
	s.again = func() (formats.RequestReader, error) {
		var t io.Reader
		if side != nil {
			if t, err = side.Reader(); err != nil {
				return nil, err
			}
		}
		r, err := traces.NewDirectoryReader(dir, t, name)
		if err != nil {
			return nil, err
		}
		s.inputs = append(s.inputs, r)
		return r, nil
	}
	s.once = s.again
	return s, nil
}

func (o *options) openSide(env *cli.Env, s *source, path string, stdin io.Reader) (*formats.Input, string, error) {
	if path == "-" && o.fromTiming == "-" {
		return nil, "", errors.New("-: standard input cannot be both the trace and its side file")
	}
	side, name, err := traces.OpenSide(path, o.fromTiming, stdin)
	if err != nil || side == nil {
		return nil, "", err
	}
	env.Reads(name)
	s.inputs = append(s.inputs, side)
	return side, name, nil
}
