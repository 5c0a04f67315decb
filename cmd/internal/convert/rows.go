package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/trace"
)

// maxShown is how many bad rows are shown one by one.
const maxShown = 20

// A conversion is one run of the tool.
type conversion struct {
	ctx       context.Context
	env       *cli.Env
	keepGoing bool
	bodies    *bodies
	out       *outputs
	name      string

	outputTokens int64 // of a row that does not say; 0 is no limit

	rows, ids, whole, skipped atomic.Int64
	cut                       error // the input broke off
}

func (c *conversion) status() string {
	return fmt.Sprintf("%d requests, %d rows skipped", c.rows.Load(), c.skipped.Load())
}

// run converts all rows of r.
func (c *conversion) run(r formats.RequestReader) error {
	w := trace.NewWriter(c.out.trace)
	var side io.Writer = io.Discard
	if c.out.timing != nil {
		side = c.out.timing
	}
	t := trace.NewTimingWriter(side)
	var row formats.Request
	var body, ids = []byte(nil), []int32(nil)
	for {
		if c.ctx.Err() != nil {
			return cli.ErrInterrupted
		}
		row.IDs = ids[:0]
		err := r.Read(&row)
		if cap(row.IDs) > cap(ids) {
			ids = row.IDs
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			if done, err := c.bad(err); done {
				break
			} else if err != nil {
				return err
			}
			continue
		}
		if !row.Timing.OutputTokens.OK && row.Body == nil && c.outputTokens > 0 && !limited(row.Extra) {
			row.Timing.OutputTokens = trace.Some(c.outputTokens)
		}
		made, err := c.bodies.appendRow(body[:0], &row)
		if err != nil {
			if _, err := c.bad(err); err != nil {
				return err
			}
			continue
		}
		body = made
		if err := w.Write(body); err != nil {
			return c.unwritten(&row, err)
		}
		if err := t.Write(c.entry(&row)); err != nil {
			return err
		}
	}
	if c.rows.Load() == 0 {
		c.leftOut(r)
		return fmt.Errorf("%s: %w", c.name, errNoRows)
	}
	return errors.Join(w.Flush(), t.Flush())
}

// entry is the side file's line for the row that was written last.
func (c *conversion) entry(row *formats.Request) trace.TimingEntry {
	switch {
	case row.IDs != nil:
		c.ids.Add(1)
	case row.Body != nil && !row.Bare:
		c.whole.Add(1)
	}
	return trace.TimingEntry{Line: c.rows.Add(1), Conversation: row.Conversation, Turn: row.Turn, Timing: row.Timing}
}

// unwritten gives a body that became too long the position of its row; other
// errors are the output's.
func (c *conversion) unwritten(row *formats.Request, err error) error {
	var column *trace.ColumnError
	if errors.As(err, &column) {
		return &trace.SyntaxError{Pos: row.Pos, Err: column.Err}
	}
	return err
}

// bad decides what an error of the reader means: an error to end with, the end
// of what can be read, or neither, for a row that is skipped.
func (c *conversion) bad(err error) (done bool, _ error) {
	var syntax *trace.SyntaxError
	switch {
	case !c.keepGoing:
		return false, err
	case errors.As(err, &syntax):
		if n := c.skipped.Add(1); n <= maxShown {
			c.env.Printf("skipped: %s", err)
		} else if n == maxShown+1 {
			c.env.Printf("skipped: more of them, counted at the end")
		}
		return false, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		c.cut = err
		return true, nil
	}
	return false, err
}

// leftOut says how much of the input the format's rule leaves out.
func (c *conversion) leftOut(r formats.RequestReader) {
	omissions := []formats.Omission{{What: "paths of adapters, which the server must know by name", N: c.bodies.paths}}
	if o, ok := r.(formats.Omitter); ok {
		omissions = append(o.Omissions(), omissions...)
	}
	var all []string
	for _, omission := range omissions {
		if omission.N > 0 {
			all = append(all, fmt.Sprintf("%d %s", omission.N, omission.What))
		}
	}
	if len(all) > 0 {
		c.env.Summaryf("left out: %s", strings.Join(all, ", "))
	}
}

// report says what was done, and whether all of it was.
func (c *conversion) report() error {
	rows, ids, skipped := c.rows.Load(), c.ids.Load(), c.skipped.Load()
	switch {
	case c.cut != nil && skipped > 0:
		return cli.Incompletef("%w; %d requests, %d rows skipped", c.cut, rows, skipped)
	case c.cut != nil:
		return cli.Incompletef("%w; %d requests", c.cut, rows)
	case skipped > 0:
		return cli.Incompletef("%d requests, %d rows skipped", rows, skipped)
	}
	whole := ""
	if n := c.whole.Load(); n > 0 {
		rows -= n
		whole = fmt.Sprintf(", %d as they were", n)
	}
	c.env.Summaryf("%d requests: %d with token ids, %d with text%s", c.rows.Load(), ids, rows-ids, whole)
	return nil
}
