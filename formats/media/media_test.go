package media

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAppendPart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for content, want := range map[string]string{
		"\xff\xd8\xff\xe0":                "image/jpeg",
		"\x89PNG\r\n\x1a\nx":              "image/png",
		"GIF89a":                          "image/gif",
		"RIFF\x00.\"\xffWEBPVP8":          "image/webp",
		"BM1234\x00\x00\x00\x00":          "image/bmp",
		"\x00\x00\x00\x18ftypavif":        "image/avif",
		"\x00\x00\x00\x18ftypisom":        "video/mp4",
		"\x00\x00\x00\x18ftypqt  ":        "video/quicktime",
		"\x1aE\xdf\xa3....webm":           "video/webm",
		"\x1aE\xdf\xa3....matroska":       "video/x-matroska",
		"RIFF....AVI LIST":                "video/x-msvideo",
		"RIFF....WAVEfmt ":                "audio/wav",
		"ID3\x04":                         "audio/mpeg",
		"\xff\xfb\x90":                    "audio/mpeg",
		"fLaC":                            "audio/flac",
		"OggS":                            "audio/ogg",
		"":                                "",
		"root:x:0:0:root:/root:/bin/sh\n": "",
		"\x7fELF":                         "",
		"BM is how this text begins":      "",
		"RIFF":                            "",
	} {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		got, kind, err := AppendPart([]byte("["), path)
		if want == "" {
			if !errors.Is(err, ErrUnknown) || string(got) != "[" {
				t.Errorf("%q: %s, %v", content, got, err)
			}
			continue
		}
		var parts []map[string]any
		if err := json.Unmarshal(append(got, ']'), &parts); err != nil {
			t.Fatalf("%q: %s, %v", content, got, err)
		}
		key := kind + "_url"
		url := "data:" + want + ";base64," + base64.StdEncoding.EncodeToString([]byte(content))
		if parts[0]["type"] != key || parts[0][key].(map[string]any)["url"] != url || !strings.HasPrefix(want, kind+"/") {
			t.Errorf("%q: %s, %v", content, kind, parts)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long, pipe := filepath.Join(dir, "long"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(long, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(long, MaxFile+1); err != nil {
		t.Skip(err)
	}
	wants := map[string]error{long: ErrTooLong, dir: ErrNotRegular, filepath.Join(dir, "none"): fs.ErrNotExist, "": fs.ErrNotExist}
	if err := unix.Mkfifo(pipe, 0o600); err == nil {
		wants[pipe] = ErrNotRegular // not waited for
	}
	for path, want := range wants {
		if got, kind, err := AppendPart(nil, path); !errors.Is(err, want) || got != nil || kind != "" {
			t.Errorf("%s: %v", path, err)
		}
	}
}
