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

// Error formats the error as path: kind, not a raw_payload trace.
func (e *KindError) Error() string {
	return fmt.Sprintf("%s: is a %s, not a raw_payload trace", e.Path, e.Kind)
}

// Hint says what to do about it; "" if there is nothing to say.
func (e *KindError) Hint() string {
	if c, ok := ByKind(e.Kind); ok {
		return fmt.Sprintf("convert --from %s --model MODEL %s makes one of it", c.Name, e.Path)
	}
	if names := Alike(e.Kind); len(names) > 0 {
		return fmt.Sprintf("convert --model MODEL %s makes one of it, told --from %s", e.Path, strings.Join(names, " or --from "))
	}
	return ""
}

// Load reads a whole trace and checks every line of it: the raw_payload file
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
	t, closer, err := load(path, stdin)
	if err != nil {
		return nil, nil, err
	}
	if err := loadTiming(t, timing, stdin); err != nil {
		closer.Close()
		return nil, nil, err
	}
	return t, closer, nil
}

func load(path string, stdin io.Reader) (*trace.Trace, io.Closer, error) {
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		t, err := loadDirectory(path)
		return t, io.NopCloser(nil), err
	}
	in, err := formats.Open(path, stdin)
	if err != nil {
		return nil, nil, err
	}
	t, err := loadFile(in)
	if err != nil {
		in.Close()
		return nil, nil, err
	}
	return t, in, nil
}

func loadFile(in *formats.Input) (*trace.Trace, error) {
	if kind := in.Kind(); kind != formats.RawPayload && kind != formats.Unknown {
		return nil, &KindError{in.Name(), kind}
	}
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
