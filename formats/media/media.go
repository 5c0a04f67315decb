// Package media puts files into the messages of a chat: images, videos and sounds as
// parts of a message's content, in data: URLs.
//
//	{"type":"image_url","image_url":{"url":"data:image/png;base64,..."}}
//
// What a file is is told by its first bytes, never by its name. Anything else
// than these is refused, so that a dataset cannot have other files sent:
//
//	image_url  JPEG, PNG, GIF, WebP, BMP, AVIF, HEIC
//	video_url  MP4, QuickTime, WebM, Matroska, AVI
//	audio_url  WAVE, MP3, FLAC, Ogg
//
// OpenAI's own API takes image_url only; trtllm-serve, vLLM and SGLang take all three.
package media

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxFile is the longest file that is read, in bytes.
const MaxFile = 64 << 20

// What can be wrong with a file, beside the errors of opening and reading it.
var (
	ErrNotRegular = errors.New("is no regular file")
	ErrTooLong    = fmt.Errorf("is longer than %d MiB", MaxFile>>20)
	ErrUnknown    = errors.New("is no image, video or sound of a known format")
)

// AppendPart appends the part that holds the file path, and returns what it is:
// image, video or audio.
func AppendPart(dst []byte, path string) (_ []byte, kind string, err error) {
	data, err := read(path)
	if err != nil {
		return dst, "", err
	}
	kind, subtype := sniff(data)
	if kind == "" {
		return dst, "", fmt.Errorf("%s %w", path, ErrUnknown)
	}
	dst = fmt.Appendf(dst, `{"type":"%[1]s_url","%[1]s_url":{"url":"data:%[1]s/%[2]s;base64,`, kind, subtype)
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, `"}}`...), kind, nil
}

func read(path string) ([]byte, error) {
	// Opening a named pipe would wait for whoever writes.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", path, ErrNotRegular)
	} else if info.Size() > MaxFile {
		return nil, fmt.Errorf("%s %w", path, ErrTooLong)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile { // it has grown
		err = fmt.Errorf("%s %w", path, ErrTooLong)
	}
	return data, err
}

// magics are what files begin with; a dot stands for any byte.
var magics = []struct{ magic, kind, subtype string }{
	{"\xff\xd8\xff", "image", "jpeg"},
	{"\x89PNG\r\n\x1a\n", "image", "png"},
	{"GIF87a", "image", "gif"},
	{"GIF89a", "image", "gif"},
	{"RIFF....WEBP", "image", "webp"},
	{"BM....\x00\x00\x00\x00", "image", "bmp"},
	{"....ftypavif", "image", "avif"},
	{"....ftypheic", "image", "heic"},
	{"....ftypheix", "image", "heic"},
	{"....ftypmif1", "image", "heic"},
	{"....ftypM4A ", "audio", "mp4"},
	{"....ftypqt  ", "video", "quicktime"},
	{"....ftyp", "video", "mp4"},
	{"RIFF....AVI ", "video", "x-msvideo"},
	{"RIFF....WAVE", "audio", "wav"},
	{"ID3", "audio", "mpeg"},
	{"\xff\xfb", "audio", "mpeg"},
	{"\xff\xf3", "audio", "mpeg"},
	{"\xff\xf2", "audio", "mpeg"},
	{"fLaC", "audio", "flac"},
	{"OggS", "audio", "ogg"},
}

func sniff(data []byte) (kind, subtype string) {
	if bytes.HasPrefix(data, []byte("\x1aE\xdf\xa3")) { // EBML, whose header names the format
		if bytes.Contains(data[:min(len(data), 64)], []byte("webm")) {
			return "video", "webm"
		}
		return "video", "x-matroska"
	}
	for _, m := range magics {
		if matches(data, m.magic) {
			return m.kind, m.subtype
		}
	}
	return "", ""
}

func matches(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '.' && magic[i] != data[i] {
			return false
		}
	}
	return true
}
