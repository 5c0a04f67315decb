package monitor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// csvFile is a file of the devices' latest readings, a row each time there is a new one
// when it is looked at: the columns of package telemetryrows, which reduce reads.
type csvFile struct {
	f       *os.File
	head    telemetry.Head
	text    *telemetry.TextWriter
	buf     bytes.Buffer
	devices int // that text knows
	written map[*device]int64
}

// csvHead is a clock on which an instant is its nanoseconds of Unix time, and all columns.
func csvHead() telemetry.Head {
	h := telemetry.Head{}
	for id := range sample.NumMetrics {
		h.Metrics = append(h.Metrics, id)
	}
	return h
}

// openCSV opens a file to append to. One that is there must have the same columns.
func openCSV(path string) (*csvFile, error) {
	c := &csvFile{head: csvHead(), written: map[*device]int64{}}
	if err := c.begin(); err != nil {
		return nil, err
	}
	header := bytes.Clone(c.buf.Bytes())
	c.buf.Reset()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	c.f = f
	if err := c.checkHeader(header); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// checkHeader writes the header into an empty file, and compares it with that of another.
func (c *csvFile) checkHeader(header []byte) error {
	info, err := c.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return c.append(header)
	}
	first, err := bufio.NewReader(io.LimitReader(c.f, int64(len(header)))).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(first, header) {
		return cli.Hint(errors.New("has other columns in its first line: it is not appended to"), "another --csv FILE")
	}
	var last [1]byte
	if _, err := c.f.ReadAt(last[:], info.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		return cli.Hint(errors.New("its last line is not whole: it is not appended to"), "take that line away, or another --csv FILE")
	}
	return nil
}

// begin makes a writer for the devices so far; buf has its header then.
func (c *csvFile) begin() (err error) {
	c.buf.Reset()
	if c.text, err = telemetry.NewCSVWriter(&c.buf, telemetry.Summary{Head: c.head}); err != nil {
		return err
	}
	return c.text.Close()
}

// poll appends what is new. Of a metric that is read more seldom the row has the latest
// value; of a counter, only one of the same reading.
func (c *csvFile) poll(m *model) error {
	m.mu.Lock()
	var b sample.Batch
	if len(m.devices) != c.devices {
		c.head.Devices = c.head.Devices[:0]
		for _, d := range m.devices {
			c.head.Devices = append(c.head.Devices, d.Device)
		}
		c.devices = len(m.devices)
		if err := c.begin(); err != nil {
			m.mu.Unlock()
			return err
		}
	}
	for i, d := range m.devices {
		if d.at <= c.written[d] {
			continue
		}
		c.written[d] = d.at
		row := b.Append(i, trace.Time(d.at), 0)
		row.SetStatus(d.status)
		for id := range sample.NumMetrics {
			r := d.values[id]
			switch kind := sample.Metrics[id].Kind; {
			case r.at == 0, kind == sample.Counter && r.at != d.at, time.Duration(d.at-r.at) >= quiet:
			case sample.Metrics[id].Type == sample.Uint64:
				row.SetUint(id, uint64(r.v))
			default:
				row.Set(id, r.v)
			}
		}
	}
	m.mu.Unlock()
	c.buf.Reset()
	if b.Len() == 0 {
		return nil
	}
	if err := c.text.Write(&b); err != nil {
		return err
	}
	if err := c.text.Close(); err != nil {
		return err
	}
	return c.append(c.buf.Bytes())
}

// append writes whole lines, or none: what a full disk has taken of them is taken away again.
func (c *csvFile) append(lines []byte) error {
	n, err := c.f.Write(lines)
	if err == nil {
		return nil
	}
	if info, e := c.f.Stat(); e == nil && info.Mode().IsRegular() && n > 0 {
		c.f.Truncate(info.Size() - int64(n)) // nobody else writes it
	}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err // the caller names the file
	}
	return err
}

func (c *csvFile) close() error { return c.f.Close() }
