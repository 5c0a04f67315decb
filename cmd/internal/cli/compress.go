package cli

import (
	"bytes"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// compressed is a zstd layer that passes each Write on at once, in one Write,
// so that what a killed tool left can be read up to its last Write. A frame ends
// with a checksum of its content: one is begun every so often, so that damage
// does not make all of a long file doubtful.
type compressed struct {
	zstd  *zstd.Encoder
	buf   bytes.Buffer
	out   io.Writer
	every time.Duration // between frames; 0 is one frame
	now   func() time.Time
	began time.Time // the frame, if it has content
	open  bool      // it has
}

func newCompressed(out io.Writer, every time.Duration) (*compressed, error) {
	c := &compressed{out: out, every: every, now: time.Now}
	var err error
	c.zstd, err = zstd.NewWriter(&c.buf, zstd.WithEncoderConcurrency(1))
	return c, err
}

// Write compresses p and writes it.
func (c *compressed) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, c.pass() // what is below may have something to try again
	}
	now := c.now()
	if c.open && c.every > 0 && now.Sub(c.began) >= c.every {
		if err := c.zstd.Close(); err != nil {
			return 0, err
		}
		c.zstd.Reset(&c.buf) // which holds the end of the frame
		c.open = false
	}
	if !c.open {
		c.open, c.began = true, now
	}
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
