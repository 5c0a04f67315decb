package convert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/aiperfinputs"
	"wattrace/formats/mooncake"
	"wattrace/formats/openaibatch"
	"wattrace/formats/traces"
	"wattrace/formats/trtllm"
	"wattrace/trace"
)

var traceForms = []form{
	{
		of: ofTrace, name: "aiperfinputs", doc: "inputs.json: the bodies of each session, as they were",
		lost:  "times, lengths and ids; a request of no conversation is a session of one",
		write: traceTo(func(w io.Writer, _ *job) formats.RequestWriter { return aiperfinputs.NewWriter(w) }),
	},
	{
		of: ofTrace, name: "mooncake", doc: "aiperf's mooncake_trace: bodies as `payload`, times, sessions, output lengths",
		lost:  "ids and input lengths",
		write: traceTo(func(w io.Writer, _ *job) formats.RequestWriter { return mooncake.NewWriter(w) }),
	},
	{
		of: ofTrace, name: "openaibatch", doc: "input of OpenAI's Batch API: bodies as they were, ids",
		lost:  "times, lengths and conversations",
		write: traceTo(func(w io.Writer, _ *job) formats.RequestWriter { return openaibatch.NewWriter(w) }),
	},
	{
		of: ofTrace, name: "trtllm", doc: "trtllm-bench dataset: texts or token ids, output lengths, ids",
		lost:  "models, sampling and all other keys of bodies, times and conversations; that a text was a chat, or its answer shorter",
		write: traceTo(func(w io.Writer, j *job) formats.RequestWriter { return datasetWriter(w, j, false) }),
	},
	{
		of: ofTrace, name: "vllm", doc: "vLLM's custom dataset: texts and output lengths",
		lost:  "models, sampling and all other keys of bodies, ids, times and conversations; that a text was no chat, or its answer shorter",
		write: traceTo(func(w io.Writer, j *job) formats.RequestWriter { return datasetWriter(w, j, true) }),
	},
}

func datasetWriter(w io.Writer, j *job, textOnly bool) *trtllm.Writer {
	d := trtllm.NewWriter(w)
	d.TextOnly, d.OutputTokens = textOnly, int64(j.o.outputTokens)
	return d
}

// traceTo returns what writes a trace in a format.
func traceTo(open func(io.Writer, *job) formats.RequestWriter) func(*job) error {
	return func(j *job) error {
		path, err := j.one()
		if err != nil {
			return err
		}
		s, err := j.source(path)
		if err != nil {
			return err
		}
		defer s.close()
		out, err := j.output()
		if err != nil {
			return err
		}
		t := &turns{job: j, source: s, w: open(out, j)}
		stopProgress := j.env.Progress(t.status)
		err = t.run()
		stopProgress()
		if err == nil {
			err = t.w.Close()
		} else if a, ok := t.w.(interface{ Abort() }); ok {
			a.Abort()
		}
		if err != nil {
			out.Abort()
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
		return t.report()
	}
}

// A source gives the requests of a trace, each with its body.
type source struct {
	formats.RequestReader
	name   string
	bodies *bodies // makes the bodies; nil where they are there
	lost   string
	close  func()
}

// source opens a trace of any format.
func (j *job) source(path string) (*source, error) {
	if j.first == nil {
		return j.directory(path)
	}
	in := j.first
	raw := j.o.from == "" && in.Kind() == formats.RawPayload || j.o.from == "raw_payload"
	if raw {
		return j.rawPayload(in)
	}
	if j.o.timing != "" {
		return nil, cli.Usagef("--timing names the side file of a raw_payload trace, which %s is not", path)
	}
	codec, err := j.o.codec(in)
	if err != nil {
		return nil, err
	}
	options, err := j.o.options()
	if err != nil {
		return nil, err
	}
	b, err := j.o.bodies()
	if err != nil {
		return nil, err
	}
	r := codec.Open(in.Stream(), in.Name(), options)
	return &source{r, in.Name(), b, codec.Lost, func() {}}, nil
}

// refuseBodyFlags refuses flags that shape bodies, where they are there already.
func (j *job) refuseBodyFlags(path string) error {
	for _, name := range []string{"model", "target", "no-stream", "block-size", "vocab"} {
		if j.flags.IsSet(name) {
			return cli.Usagef("--%s is for the bodies that are made of another tool's trace, and those of %s stay as they are", name, path)
		}
	}
	return nil
}

// rawPayload reads a file of bodies with its side file.
func (j *job) rawPayload(in *formats.Input) (*source, error) {
	if err := j.refuseBodyFlags(in.Name()); err != nil {
		return nil, err
	}
	path := in.Name()
	side := j.o.timing
	switch {
	case side == "-" && path == "-":
		return nil, cli.Usagef("standard input cannot be both the trace and its side file")
	case side == "" && path != "-":
		side = trace.TimingPath(path)
	}
	r := &rawReader{turns: trace.NewReader(in.Stream(), path)}
	s := &source{r, path, nil, "", func() {}}
	if side == "" {
		return s, nil
	}
	j.env.Reads(side)
	beside, err := formats.Open(side, &interruptible{ctx: j.ctx, r: j.env.Stdin})
	if errors.Is(err, fs.ErrNotExist) && j.o.timing == "" {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	r.side, s.close = trace.NewTimingReader(beside.Stream(), side), func() { beside.Close() }
	return s, nil
}

// directory reads a directory of conversations.
func (j *job) directory(path string) (*source, error) {
	if err := j.refuseBodyFlags(path); err != nil {
		return nil, err
	}
	if j.o.from != "" && j.o.from != "raw_payload" {
		return nil, cli.Usagef("--from %s: %s is a directory of conversations", j.o.from, path)
	}
	t, closer, err := traces.Load(path, j.o.timing, &interruptible{ctx: j.ctx, r: j.env.Stdin})
	if err != nil {
		return nil, err
	}
	return &source{&loaded{turns: t.Turns}, path, nil, "", func() { closer.Close() }}, nil
}

// loaded gives the turns of a trace in memory.
type loaded struct{ turns []trace.Turn }

func (l *loaded) Read(dst *formats.Request) error {
	if len(l.turns) == 0 {
		return io.EOF
	}
	t := &l.turns[0]
	*dst = formats.Request{Pos: t.Pos, Body: t.Payload, Conversation: t.Conversation, Turn: t.Index, Timing: t.Timing}
	l.turns = l.turns[1:]
	return nil
}

// rawReader reads a file of bodies together with its side file, which is in the same
// order: so neither need be kept.
type rawReader struct {
	turns *trace.Reader
	turn  trace.Turn
	side  *trace.TimingReader // nil is none

	entry trace.TimingEntry // the next of the side file
	read  bool              // there is one in entry
	done  error             // the side file's end
	bad   map[int64]bool    // lines since the last turn that are no request, and were said to be
}

func (r *rawReader) Read(dst *formats.Request) error {
	err := r.turns.Read(&r.turn)
	t := &r.turn
	*dst = formats.Request{Pos: t.Pos}
	if err != nil {
		if err == io.EOF && r.side != nil {
			return r.rest()
		}
		if r.bad == nil {
			r.bad = map[int64]bool{}
		}
		r.bad[int64(t.Pos.Line)] = true
		var syntax *trace.SyntaxError
		if errors.As(err, &syntax) {
			r.bad[int64(syntax.Pos.Line)] = true
		}
		return err
	}
	defer clear(r.bad)
	dst.Body = t.Payload
	if r.side == nil {
		return nil
	}
	for {
		if err := r.next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch line := r.entry.Line; {
		case line > int64(t.Pos.Line):
			return nil
		case line == int64(t.Pos.Line):
			dst.Conversation, dst.Turn, dst.Timing = r.entry.Conversation, r.entry.Turn, r.entry.Timing
			r.read = false
			return nil
		}
		r.read = false
		if !r.bad[r.entry.Line] {
			return trace.ErrorAt(r.entry.Pos, errNoTurn)
		}
	}
}

var errNoTurn = errors.New("the trace has no request on that line")

// next makes entry the next of the side file.
func (r *rawReader) next() error {
	if r.done != nil || r.read {
		return r.done
	}
	before := r.entry.Line
	err := r.side.Read(&r.entry)
	if err != nil {
		r.entry.Line = before
		if err == io.EOF {
			r.done = err
		}
		return err
	}
	switch {
	case r.entry.Line == 0:
		err = errors.New(`"line" is missing, by which the turns of a file go`)
	case r.entry.Line == before:
		err = errors.New("the turn was named before")
	case r.entry.Line < before:
		err = errors.New("out of the order of the trace")
	}
	if err != nil {
		err = trace.ErrorAt(r.entry.Pos, err)
		r.entry.Line = before
		return err
	}
	r.read = true
	return nil
}

// rest checks that no line is left of the side file when the trace has ended.
func (r *rawReader) rest() error {
	switch err := r.next(); {
	case err != nil: // io.EOF, where all is well
		return err
	case !r.bad[r.entry.Line]:
		r.read = false
		return trace.ErrorAt(r.entry.Pos, errNoTurn)
	}
	r.read = false
	return r.rest()
}

// turns is a conversion of a trace.
type turns struct {
	*job
	*source
	w formats.RequestWriter

	rows, skipped atomic.Int64
	cut           error // the input broke off
}

func (t *turns) status() string {
	return fmt.Sprintf("%d requests, %d skipped", t.rows.Load(), t.skipped.Load())
}

func (t *turns) run() error {
	var q formats.Request
	var body, ids = []byte(nil), []int32(nil)
	for {
		if t.ctx.Err() != nil {
			return cli.ErrInterrupted
		}
		q.IDs = ids[:0]
		err := t.Read(&q)
		if cap(q.IDs) > cap(ids) {
			ids = q.IDs
		}
		if err == io.EOF {
			break
		}
		if err == nil {
			if q.Body == nil && !q.Timing.OutputTokens.OK && t.o.outputTokens > 0 {
				q.Timing.OutputTokens = trace.Some(int64(t.o.outputTokens))
			}
			if t.bodies != nil {
				if body, err = t.bodies.appendBody(body[:0], &q); err != nil {
					return err
				}
				q.Body = body
			}
			if err = t.w.Write(&q); err == nil {
				t.rows.Add(1)
				continue
			}
			err = t.unsaid(&q, err)
		}
		if done, err := t.bad(err); err != nil {
			return err
		} else if done {
			break
		}
	}
	if t.rows.Load() == 0 {
		return fmt.Errorf("%s: %w", t.name, errNoRows)
	}
	return nil
}

// unsaid gives what a format cannot say the position of its request. Columns count in a
// body, which is a line of the input only where the bodies are there already.
func (t *turns) unsaid(q *formats.Request, err error) error {
	var column *trace.ColumnError
	switch {
	case !errors.As(err, &column):
		return err
	case t.bodies == nil:
		return trace.ErrorAt(q.Pos, column)
	}
	return &trace.SyntaxError{Pos: q.Pos, Err: column.Err}
}

// bad decides what an error means, as conversion.bad does.
func (t *turns) bad(err error) (done bool, _ error) {
	c := conversion{env: t.env, keepGoing: t.o.keepGoing}
	c.skipped.Store(t.skipped.Load())
	done, err = c.bad(err)
	t.skipped.Store(c.skipped.Load())
	if c.cut != nil {
		t.cut = c.cut
	}
	return done, err
}

func (t *turns) report() error {
	t.job.lost(t.source.lost)
	t.job.lost(t.form.lost)
	if b, ok := t.w.(*openaibatch.Writer); ok {
		if b.Renamed > 0 {
			t.env.Summaryf("%d ids were there before and got a number, since a custom_id must be the only one", b.Renamed)
		}
		if b.Streams > 0 {
			t.env.Summaryf(`%d bodies ask for a stream, which OpenAI's Batch API refuses`, b.Streams)
		}
	}
	rows, skipped := t.rows.Load(), t.skipped.Load()
	what := fmt.Sprintf("%d requests", rows)
	if skipped > 0 {
		what += fmt.Sprintf(", %d skipped", skipped)
	}
	switch {
	case t.cut != nil:
		return cli.Incompletef("%w; %s", t.cut, what)
	case skipped > 0:
		return cli.Incompletef("%s", what)
	}
	t.env.Summaryf("%s", what)
	return nil
}
