package formats

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The bounds on compressed input; see the package comment.
const (
	MaxLayers     = 4         // layers around each other
	MaxExpansion  = 10_000    // bytes of content for each byte of the input
	FreeExpansion = 1 << 30   // bytes of content before MaxExpansion is looked at
	MaxWindow     = 128 << 20 // bytes of zstd's window
)

// ErrExpansion is the fault of an input that decompresses to more than
// MaxExpansion times its size.
var ErrExpansion = errors.New("expands to more than 10,000 times its size")

// A layerFormat is a way of compression, known by its first bytes.
type layerFormat struct {
	name  string
	match func(head []byte) bool
	open  func(r io.Reader) (io.Reader, error)
}

var layers = []layerFormat{
	{"gzip", func(b []byte) bool { return bytes.HasPrefix(b, []byte{0x1f, 0x8b}) }, openGzip},
	{"zstd", isZstd, openZstd},
}

func openGzip(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err == io.EOF { // in the name that the header holds
		err = io.ErrUnexpectedEOF
	}
	return z, err
}

// isZstd knows a frame, and a skippable one, which other writers put first.
func isZstd(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(b) >= 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:4], []byte{0x2a, 0x4d, 0x18})
}

func openZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxWindow))
}

// decode takes the layers off r. It reports whether there was one. Faults of
// the layers come from the reader that it returns.
func decode(name string, r io.Reader, free int64) (content *peeker, layered bool) {
	raw := &counter{r: r}
	content = &peeker{r: raw}
	for depth := 0; ; depth++ {
		head := content.peek(4)
		if len(head) < 4 && content.err != io.EOF {
			content.head = nil // broken off before it could be told what it is
		}
		i := slices.IndexFunc(layers, func(l layerFormat) bool { return l.match(head) })
		if i < 0 {
			return content, layered
		}
		if depth == MaxLayers {
			return &peeker{err: fmt.Errorf("%s: more than %d layers of compression", name, MaxLayers)}, true
		}
		content = &peeker{r: &layer{layerFormat: layers[i], file: name, free: free, raw: raw, packed: content}}
		layered = true
	}
}

// A layer is one decompressor with its bounds.
type layer struct {
	layerFormat
	file   string
	raw    *counter  // the input without any layer off
	packed *peeker   // what this layer takes
	r      io.Reader // nil before the first Read
	free   int64
	given  int64
}

func (l *layer) Read(p []byte) (n int, err error) {
	if l.r == nil {
		l.r, err = l.open(bufio.NewReaderSize(l.packed, 64<<10))
	}
	if err == nil {
		n, err = l.r.Read(p)
		l.given += int64(n)
		if l.given > l.free && l.given/MaxExpansion > l.raw.n {
			n, err = 0, ErrExpansion
		}
	}
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case l.packed.err != nil && l.packed.err != io.EOF: // not this layer's fault
		return n, l.packed.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%s: the %s layer breaks off after %d bytes of content: %w", l.file, l.name, l.given, io.ErrUnexpectedEOF)
	}
	return n, fmt.Errorf("%s: %s layer, after %d bytes of content: %w", l.file, l.name, l.given, err)
}

// A counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// A peeker is a reader whose first bytes can be looked at before they are
// read. Its error sticks.
type peeker struct {
	r    io.Reader
	head []byte
	err  error
}

// peek returns the first n bytes, fewer if there are no more.
func (p *peeker) peek(n int) []byte {
	for len(p.head) < n && p.more() {
	}
	return p.head[:min(n, len(p.head))]
}

// more reads once and reports whether the head has grown.
func (p *peeker) more() bool {
	const chunk = 64 << 10
	for p.err == nil {
		old := len(p.head)
		if cap(p.head)-old < chunk {
			p.head = append(make([]byte, 0, 2*cap(p.head)+chunk), p.head...)
		}
		var n int
		n, p.err = p.r.Read(p.head[old : old+chunk])
		p.head = p.head[:old+n]
		if n > 0 {
			return true
		}
	}
	return false
}

func (p *peeker) Read(b []byte) (n int, err error) {
	if len(p.head) > 0 {
		n = copy(b, p.head)
		if p.head = p.head[n:]; len(p.head) == 0 {
			p.head = nil
		}
		return n, nil
	}
	if p.err == nil {
		n, p.err = p.r.Read(b)
	}
	return n, p.err
}
