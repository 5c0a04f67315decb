package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/bodies"
	"wattrace/trace"
)

// maxShown is how many bad rows are shown one by one.
const maxShown = 20

// showSkipped says why the nth is skipped, of the first ones.
func showSkipped(env *cli.Env, n int64, err error) {
	switch {
	case n <= maxShown:
		env.Printf("skipped: %s", err)
	case n == maxShown+1:
		env.Printf("skipped: more of them, counted at the end")
	}
}

// A conversion is one run of the tool.
type conversion struct {
	ctx       context.Context
	env       *cli.Env
	keepGoing bool
	bodies    *bodies.Maker
	out       sink
	name      string
	checked   bool // bodies of the input are good
	shape     shape
	input     *formats.Input // nil where there are several

	rows, ids, whole, skipped atomic.Int64
	surveyed                  atomic.Int64
	cut                       error  // the input broke off
	left                      string // what was not taken
	reader                    formats.RequestReader
}

func (c *conversion) status() string {
	if c.rows.Load() == 0 && c.surveyed.Load() > 0 {
		return fmt.Sprintf("%d requests to choose from%s", c.surveyed.Load(), left(c.input))
	}
	return fmt.Sprintf("%d requests, %d rows skipped%s", c.rows.Load(), c.skipped.Load(), left(c.input))
}

// left says how much of an input is read and how long the rest takes at that rate, where
// it is one file.
func left(in *formats.Input) string {
	if in == nil {
		return ""
	}
	share, since, ok := in.Passed()
	if !ok {
		return ""
	}
	return fmt.Sprintf(", %.0f %% read, %v left", 100*share, time.Duration(float64(since)*(1-share)/share).Round(time.Second))
}

// run converts the rows that are taken.
func (c *conversion) run(in *source) error {
	sel := newSelection(c.shape, c.bodies.Count)
	open := in.once
	if c.shape.sample > 0 {
		r, err := in.again()
		if err != nil {
			return err
		}
		if sel.chosen, sel.of, err = c.survey(r, c.shape); err != nil {
			return err
		}
		open = in.again
	}
	r, err := open()
	if err != nil {
		return err
	}
	c.reader = r
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
		take := false
		if err == nil {
			take, err = sel.take(&row)
		}
		if err == errEnough {
			break
		}
		if err == nil && take {
			body, err = c.bodies.Append(body[:0], &row)
		}
		if err != nil {
			if take {
				sel.taken-- // another one is in its place
			}
			if done, err := c.bad(err); done {
				break
			} else if err != nil {
				return err
			}
			continue
		}
		if !take {
			continue
		}
		if err := c.out.write(body, c.checked, &row); err != nil {
			if _, err := c.bad(bodies.Unwritten(&row, c.checked, err)); err != nil {
				return err
			}
			sel.taken--
			continue
		}
		c.counted(&row)
	}
	c.left = sel.leftOut()
	if c.rows.Load() == 0 && c.cut != nil {
		return c.cut
	}
	if left := c.leftOut(); c.rows.Load() == 0 && left != "" {
		return fmt.Errorf("%s: no request is left: %s", c.name, left)
	}
	if c.rows.Load() == 0 {
		return fmt.Errorf("%s: %w", c.name, bodies.ErrNoRows)
	}
	return nil
}

// counted counts a row that was written.
func (c *conversion) counted(row *formats.Request) {
	c.rows.Add(1)
	switch {
	case row.IDs != nil:
		c.ids.Add(1)
	case row.Body != nil && !row.Bare:
		c.whole.Add(1)
	}
}

// bad decides what an error of the reader means: an error to end with, the end
// of what can be read, or neither, for a row that is skipped.
func (c *conversion) bad(err error) (done bool, _ error) {
	var syntax *trace.SyntaxError
	switch {
	case !c.keepGoing:
		return false, err
	case errors.As(err, &syntax):
		showSkipped(c.env, c.skipped.Add(1), err)
		return false, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		c.cut = err
		return true, nil
	}
	return false, err
}

// leftOut says what was not taken, and what the format's rule leaves out of the input.
func (c *conversion) leftOut() string {
	var all []string
	if c.left != "" {
		all = append(all, c.left)
	}
	omissions := c.bodies.Omissions()
	if o, ok := c.reader.(formats.Omitter); ok {
		omissions = append(o.Omissions(), omissions...)
	}
	if omitted := bodies.Omitted(omissions); omitted != "" {
		all = append(all, omitted)
	}
	return strings.Join(all, ", ")
}

// report says what was done, and whether all of it was.
func (c *conversion) report() error {
	if left := c.leftOut(); left != "" {
		c.env.Summaryf("left out: %s", left)
	}
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
