package formats

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(b []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// content is several buffers long and does not repeat.
func content() []byte {
	var b bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&b, `{"prompt":"%d"}`+"\n", i*i)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string, stdin io.Reader) *Input {
	t.Helper()
	in, err := Open(path, stdin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// Every way in and every way out give the same bytes.
func TestInputAgrees(t *testing.T) {
	t.Parallel()
	want := content()
	skippable := []byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	cut := len(want) / 3
	forms := map[string][]byte{
		"plain":          want,
		"gzip":           gz(want),
		"zstd":           zst(want),
		"gzip members":   append(gz(want[:cut]), gz(want[cut:])...),
		"zstd frames":    append(zst(want[:cut]), zst(want[cut:])...),
		"skippable zstd": append(skippable, append(zst(want[:cut]), append(skippable, zst(want[cut:])...)...)...),
		"four layers":    gz(zst(gz(zst(want)))),
	}
	for form, raw := range forms {
		path := write(t, "f", raw)
		for _, stdin := range []bool{false, true} {
			fresh := func() *Input {
				if stdin {
					return open(t, "-", iotest.HalfReader(bytes.NewReader(raw)))
				}
				return open(t, path, nil)
			}
			check := func(how string, got []byte, err error) {
				t.Helper()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, stdin %v, %s: %d bytes, %v; want %d", form, stdin, how, len(got), err, len(want))
				}
			}
			in := fresh()
			if k := in.Kind(); k != RawPayload {
				t.Errorf("%s: kind %q", form, k)
			}
			got, err := io.ReadAll(in.Stream())
			check("Stream", got, err)

			in = fresh()
			for range 2 {
				r, err := in.Reader()
				if err != nil {
					t.Fatal(err)
				}
				r2, err := in.Reader()
				if err != nil {
					t.Fatal(err)
				}
				io.CopyN(io.Discard, r2, 12345) // readers do not disturb each other
				got, err := io.ReadAll(r)
				check("Reader", got, err)
			}
			got, err = io.ReadAll(in.Stream())
			check("Stream after Reader", got, err)
			got, err = in.Bytes()
			check("Bytes", got, err)
			hash, err := in.SHA256()
			if want := fmt.Sprintf("%x", sha256.Sum256(want)); err != nil || hash != want {
				t.Errorf("%s: hash %s, %v; want %s", form, hash, err, want)
			}
			if hash, err := fresh().SHA256(); err != nil || hash != fmt.Sprintf("%x", sha256.Sum256(want)) {
				t.Errorf("%s: hash without Bytes: %s, %v", form, hash, err)
			}
			ahead := fresh()
			ahead.HashAhead()
			got, err = io.ReadAll(must(ahead.Reader()))
			check("Reader beside HashAhead", got, err)
			if hash, err := ahead.SHA256(); err != nil || hash != fmt.Sprintf("%x", sha256.Sum256(want)) {
				t.Errorf("%s: hash that was begun ahead: %s, %v", form, hash, err)
			}
		}
	}
}

func must(r io.Reader, err error) io.Reader {
	if err != nil {
		return iotest.ErrReader(err)
	}
	return r
}

func TestShortInputs(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "x", "\x1f", "\x28\xb5\x2f", "\xff\xff"} {
		for _, in := range []*Input{open(t, write(t, "f", []byte(raw)), nil), open(t, "-", strings.NewReader(raw))} {
			if k := in.Kind(); k != Unknown {
				t.Errorf("%q: kind %q", raw, k)
			}
			got, err := in.Bytes()
			if err != nil || string(got) != raw || got == nil {
				t.Errorf("%q: Bytes gives %q, %v", raw, got, err)
			}
		}
	}
	// A file of the system that says that it is empty, and is not.
	if got, err := open(t, "/proc/self/status", nil).Bytes(); err != nil || len(got) == 0 {
		t.Errorf("/proc/self/status: %d bytes, %v", len(got), err)
	}
}

// A layer cut anywhere gives what came before and then an error, never a
// shorter content that looks whole.
func TestCutLayers(t *testing.T) {
	t.Parallel()
	want := content()[:3000]
	var named bytes.Buffer
	z := gzip.NewWriter(&named)
	z.Name, z.Comment = "requests.jsonl", "of a run"
	z.Write(want)
	z.Close()
	for name, raw := range map[string][]byte{"gzip": gz(want), "gzip of a file": named.Bytes(), "zstd": zst(want), "gzip in zstd": zst(gz(want)), "zstd in gzip": gz(zst(want))} {
		for n := 4; n < len(raw); n++ {
			in, err := Open("-", bytes.NewReader(raw[:n]))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(in.Stream())
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s cut at %d: error %v", name, n, err)
			}
			if !strings.HasPrefix(err.Error(), "-: the ") || !strings.Contains(err.Error(), " layer breaks off after ") {
				t.Fatalf("%s cut at %d: error %q", name, n, err)
			}
			if !bytes.HasPrefix(want, got) {
				t.Fatalf("%s cut at %d: wrong content", name, n)
			}
		}
	}
}

// What a copy of a cut layer gives is the same: the good part, then the error.
func TestCutLayerSpooled(t *testing.T) {
	t.Parallel()
	want := content()
	frame := zst(want)
	path := write(t, "f.zst", append(append([]byte{}, frame...), frame[:len(frame)/2]...))
	in := open(t, path, nil)
	r, err := in.Reader()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(got, want) {
		t.Errorf("Reader: %d bytes, %v", len(got), err)
	}
	mapped, err := in.Bytes()
	if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(mapped, got) {
		t.Errorf("Bytes: %d bytes, %v; want %d", len(mapped), err, len(got))
	}
	in.HashAhead()
	for range 2 {
		if hash, err := in.SHA256(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("SHA256: %q, %v", hash, err)
		}
	}
}

func TestCorruptLayers(t *testing.T) {
	t.Parallel()
	raw := gz(content())
	raw[len(raw)-5] ^= 1 // checksum
	_, err := io.ReadAll(open(t, "-", bytes.NewReader(raw)).Stream())
	if !errors.Is(err, gzip.ErrChecksum) || !strings.HasPrefix(err.Error(), fmt.Sprintf("-: gzip layer, after %d bytes of content: ", len(content()))) {
		t.Errorf("gzip: %v", err)
	}
	raw = append(zst([]byte("good")), "garbage"...)
	got, err := io.ReadAll(open(t, "-", bytes.NewReader(raw)).Stream())
	if !errors.Is(err, zstd.ErrMagicMismatch) || string(got) != "good" {
		t.Errorf("zstd: %q, %v", got, err)
	}
	in := open(t, "-", bytes.NewReader(gz(gz(gz(gz(gz(content())))))))
	if in.Kind() != Unknown {
		t.Errorf("five layers are a %s", in.Kind())
	}
	if _, err := io.ReadAll(in.Stream()); err == nil || err.Error() != "-: more than 4 layers of compression" {
		t.Errorf("five layers: %v", err)
	}
}

func TestExpansionIsBounded(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 32<<20)
	for name, raw := range map[string][]byte{"zstd twice": zst(zst(zeros)), "gzip twice": gz(gz(zeros))} {
		in := open(t, "-", bytes.NewReader(raw))
		in.free = 1 << 20
		got, err := io.ReadAll(in.Stream())
		if !errors.Is(err, ErrExpansion) {
			t.Errorf("%s: %v", name, err)
		}
		if limit := 10_000*len(raw) + 1<<20; len(got) > limit {
			t.Errorf("%s: %d bytes of %d before the error", name, len(got), len(raw))
		}
		// Below the free amount anything goes.
		got, err = io.ReadAll(open(t, "-", bytes.NewReader(raw)).Stream())
		if err != nil || len(got) != len(zeros) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	// Nor is it a limit to content that expands as content does.
	in := open(t, "-", bytes.NewReader(gz(content())))
	in.free = 1 << 10
	if got, err := io.ReadAll(in.Stream()); err != nil || !bytes.Equal(got, content()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// A window beyond the limit is refused before it is allocated: window
	// descriptors 0x88 and 0x90 are 128 MiB and 256 MiB.
	for descriptor, want := range map[byte]error{0x88: nil, 0x90: zstd.ErrWindowSizeExceeded} {
		_, err := io.ReadAll(open(t, "-", bytes.NewReader([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, descriptor, 1, 0, 0})).Stream())
		if !errors.Is(err, want) {
			t.Errorf("window descriptor %#x: %v, want %v", descriptor, err, want)
		}
	}
}

// A stream is read once, and says so afterwards.
func TestStreamIsOnce(t *testing.T) {
	t.Parallel()
	in := open(t, "-", strings.NewReader(`{"prompt":1}`))
	io.ReadAll(in.Stream())
	const want = "-: can be read only once"
	if _, err := io.ReadAll(in.Stream()); err == nil || err.Error() != want {
		t.Errorf("Stream: %v", err)
	}
	if _, err := in.Reader(); err == nil || err.Error() != want {
		t.Errorf("Reader: %v", err)
	}
	if _, err := in.Bytes(); err == nil || err.Error() != want {
		t.Errorf("Bytes: %v", err)
	}
	if _, err := in.SHA256(); err == nil || err.Error() != want {
		t.Errorf("SHA256: %v", err)
	}
}

// Neither Kind nor Stream may wait for more than the first line of a pipe that
// somebody is still writing to.
func TestLivePipe(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]Kind{
		`{"type":"run","schema":"wattrace.requests/1"}` + "\n": Requests,
		"\xff\xff\xff\xff":      TelemetryStream,
		`{"prompt":[1]}` + "\n": RawPayload,
		"time, power\n":         Unknown,
	} {
		r, w := io.Pipe()
		go w.Write([]byte(head)) // and stays open
		in := open(t, "-", r)
		if k := in.Kind(); k != want {
			t.Errorf("%q: kind %q, want %q", head, k, want)
		}
		got := make([]byte, len(head))
		if _, err := io.ReadFull(in.Stream(), got); err != nil || string(got) != head {
			t.Errorf("%q: got %q, %v", head, got, err)
		}
		w.Close()
	}
}

// A first line that comes in two pieces is enough, too.
func TestLivePipeInPieces(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, `{"prompt":"`+strings.Repeat("x", 100)) // and stays open
		io.WriteString(w, `","output_tokens":1}`+"\n")
	}()
	if k := open(t, "-", r).Kind(); k != TRTLLM {
		t.Errorf("kind %q", k)
	}
}

func TestNamedPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	want := content()
	go os.WriteFile(path, gz(want), 0)
	in := open(t, path, nil)
	if in.Kind() != RawPayload {
		t.Errorf("kind %q", in.Kind())
	}
	for range 2 {
		r, err := in.Reader()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                        "open " + dir + ": is a directory",
		filepath.Join(dir, "none"): "open " + filepath.Join(dir, "none") + ": no such file or directory",
	} {
		if _, err := Open(path, nil); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A reader that fails is not an input that ends.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, raw := range [][]byte{nil, []byte(`{"prompt":1}`), gz(content())[:2000]} {
		in := open(t, "-", io.MultiReader(bytes.NewReader(raw), iotest.ErrReader(broken)))
		if _, err := io.ReadAll(in.Stream()); err != broken {
			t.Errorf("Stream: %v", err)
		}
		in = open(t, "-", io.MultiReader(bytes.NewReader(raw), iotest.ErrReader(broken)))
		r, err := in.Reader()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); err != broken {
			t.Errorf("Reader: %v", err)
		}
	}
}

// A full disk under the temporary file is an error, not a shorter input.
func TestSpoolFails(t *testing.T) {
	t.Parallel()
	full := func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
	if f, err := full(); err != nil {
		t.Skip(err)
	} else {
		f.Close()
	}
	for _, spare := range []func() (*os.File, error){full, func() (*os.File, error) { return nil, unix.ENOSPC }} {
		in := open(t, "-", bytes.NewReader(content()))
		in.spare = spare
		for range 2 {
			if _, err := in.Reader(); !errors.Is(err, unix.ENOSPC) || !strings.HasPrefix(err.Error(), "-: ") {
				t.Errorf("Reader: %v", err)
			}
			if _, err := in.Bytes(); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("Bytes: %v", err)
			}
		}
	}
}

// Nothing is left in the temporary directory, even while the copy is in use,
// and a plain file is not copied at all.
func TestSpoolHasNoName(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	in := open(t, "-", bytes.NewReader(content()))
	if _, err := in.Bytes(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}

	path := write(t, "f", content())
	t.Setenv("TMPDIR", filepath.Join(dir, "none"))
	in = open(t, path, nil)
	if _, err := in.Reader(); err != nil {
		t.Error(err)
	}
	if _, err := in.Bytes(); err != nil {
		t.Error(err)
	}
	if _, err := open(t, write(t, "f.gz", gz(content())), nil).Reader(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a compressed file without a temporary directory: %v", err)
	}
}

// A plain file may grow while it is read, as the log of a running replay does.
func TestReaderSeesGrowth(t *testing.T) {
	t.Parallel()
	path := write(t, "f", []byte("a\n"))
	in := open(t, path, nil)
	r, err := in.Reader()
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(r, make([]byte, 2))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("b\n")
	f.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "b\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Whatever the bytes, every way out gives the same content and the same error.
func FuzzStreamEqualsSpool(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add(gz([]byte("x")))
	f.Add(append(zst([]byte("x")), gz([]byte("y"))...))
	f.Add(gz(zst([]byte("z")))[:20])
	f.Fuzz(func(t *testing.T, raw []byte) {
		once, err := Open("-", bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		once.free = 1 << 16
		streamed, streamErr := io.ReadAll(once.Stream())
		again, err := Open("-", iotest.OneByteReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		again.free = 1 << 16
		data, bytesErr := again.Bytes()
		if !bytes.Equal(streamed, data) && !errors.Is(streamErr, ErrExpansion) {
			t.Fatalf("%d bytes streamed, %d mapped", len(streamed), len(data))
		}
		if fmt.Sprint(streamErr) != fmt.Sprint(bytesErr) && !errors.Is(streamErr, ErrExpansion) {
			t.Fatalf("%v\n%v", streamErr, bytesErr)
		}
	})
}
