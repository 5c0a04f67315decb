package cli

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zstd"
)

// compressed is a zstd layer that passes each Write on at once, in one Write,
// so that what a killed tool left can be read up to its last Write.
type compressed struct {
	zstd *zstd.Encoder
	buf  bytes.Buffer
	out  io.Writer
}

func newCompressed(out io.Writer) (*compressed, error) {
	c := &compressed{out: out}
	var err error
	c.zstd, err = zstd.NewWriter(&c.buf, zstd.WithEncoderConcurrency(1))
	return c, err
}

// Write compresses p and writes it.
func (c *compressed) Write(p []byte) (int, error) {
	if _, err := c.zstd.Write(p); err != nil {
		return 0, err
	}
	if err := c.zstd.Flush(); err != nil {
		return 0, err
	}
	return len(p), c.pass()
}

// Close ends the layer; it does not close what is below.
func (c *compressed) Close() error {
	if err := c.zstd.Close(); err != nil {
		return err
	}
	return c.pass()
}

func (c *compressed) pass() error {
	_, err := c.out.Write(c.buf.Bytes())
	c.buf.Reset()
	return err
}
