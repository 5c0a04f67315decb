package traces

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"wattrace/formats"
	"wattrace/trace"
)

// A KindError says that an input is something else than a raw_payload trace.
type KindError struct {
	Path string
	Kind formats.Kind
}

// Error formats the error as path: kind, and why that will not do.
func (e *KindError) Error() string {
	if _, ok := ByKind(e.Kind); ok {
		return fmt.Sprintf("%s: is a %s, not a raw_payload trace", e.Path, e.Kind)
	}
	if len(Alike(e.Kind)) > 0 {
		return fmt.Sprintf("%s: is a %s", e.Path, e.Kind)
	}
	return fmt.Sprintf("%s: is a %s, not a trace", e.Path, e.Kind)
}

// Find returns the codec of the format that someone named, or if that is "" of the one that the
// input's looks tell. The error is a *KindError where they do not; what is not known at all is
// taken for a raw_payload trace, whose reader says where it is none.
func Find(in *formats.Input, format string) (Codec, error) {
	if format != "" {
		c, ok := ByName(format)
		if !ok {
			return c, fmt.Errorf("unknown format %q (%s)", format, Names())
		}
		return c, nil
	}
	kind := in.Kind()
	if kind == formats.Unknown {
		kind = formats.RawPayload
	}
	c, ok := ByKind(kind)
	if !ok {
		return c, &KindError{in.Name(), kind}
	}
	return c, nil
}

// Load reads a whole raw_payload trace and checks every line of it: the file
// path (compressed or not), stdin if path is "-", or a directory of
// conversations. The side file is timing, or if that is "" the file beside
// path that trace.TimingPath names, if there is one; "-" is stdin here too.
//
// Payloads of a plain file are parts of a mapping of it. They are valid until
// the closer, which is never nil without an error, is closed; see
// formats.Input.Bytes for what must not happen to the file until then.
func Load(path, timing string, stdin io.Reader) (*trace.Trace, io.Closer, error) {
	if path == "-" && timing == "-" {
		return nil, nil, errors.New("-: standard input cannot be both the trace and its side file")
	}
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		t, err := loadDirectory(path)
		if err == nil {
			err = loadTiming(t, timing, stdin)
		}
		if err != nil {
			return nil, nil, err
		}
		return t, io.NopCloser(nil), nil
	}
	in, err := formats.Open(path, stdin)
	if err != nil {
		return nil, nil, err
	}
	if kind := in.Kind(); kind != formats.RawPayload && kind != formats.Unknown {
		in.Close()
		return nil, nil, &KindError{in.Name(), kind}
	}
	return LoadInput(in, timing, stdin)
}

// LoadInput is Load for an input that is open, whatever it looks like. It is closed by the closer,
// and if there is an error.
func LoadInput(in *formats.Input, timing string, stdin io.Reader) (*trace.Trace, io.Closer, error) {
	t, err := loadFile(in)
	if err == nil {
		err = loadTiming(t, timing, stdin)
	}
	if err != nil {
		in.Close()
		return nil, nil, err
	}
	return t, in, nil
}

func loadFile(in *formats.Input) (*trace.Trace, error) {
	data, err := in.Bytes()
	if err != nil {
		return nil, err
	}
	turns, err := trace.Split(in.Name(), data)
	if err != nil {
		return nil, err
	}
	hash, err := in.SHA256()
	if err != nil {
		return nil, err
	}
	return &trace.Trace{Path: in.Name(), SHA256: hash, Turns: turns}, nil
}

// loadDirectory reads the conversations of a directory into memory: mapping
// thousands of small files would use up the process's file descriptors.
func loadDirectory(dir string) (*trace.Trace, error) {
	names, err := conversationFiles(dir)
	if err != nil {
		return nil, err
	}
	t := &trace.Trace{Path: dir}
	hash := sha256.New()
	for _, name := range names {
		data, err := readFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		turns, err := trace.Split(filepath.Join(dir, name), data)
		if err != nil {
			return nil, err
		}
		for i := range turns {
			turns[i].Conversation, turns[i].Index = strings.TrimSuffix(name, conversationSuffix), i
		}
		t.Turns = append(t.Turns, turns...)
		fmt.Fprintf(hash, "%x  %s\n", sha256.Sum256(data), name)
	}
	if len(t.Turns) == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: dir}, Err: errNoConversations}
	}
	t.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return t, nil
}

func readFile(path string) ([]byte, error) {
	in, err := formats.Open(path, nil)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in.Stream())
}

// loadTiming applies the side file, if there is one.
func loadTiming(t *trace.Trace, timing string, stdin io.Reader) error {
	in, timing, err := OpenSide(t.Path, timing, stdin)
	if err != nil || in == nil {
		return err
	}
	defer in.Close()
	return trace.ApplyTiming(in.Stream(), timing, t.Turns)
}
