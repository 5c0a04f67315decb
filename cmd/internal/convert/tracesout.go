package convert

import (
	"fmt"
	"io"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/aiperfinputs"
	"wattrace/formats/mooncake"
	"wattrace/formats/openaibatch"
	"wattrace/formats/trtllm"
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
	d.TextOnly, d.OutputTokens = textOnly, int64(j.o.OutputTokens)
	return d
}

// traceTo returns what writes a trace in a format.
func traceTo(open func(io.Writer, *job) formats.RequestWriter) func(*job) error {
	return func(j *job) error {
		path, err := j.one()
		if err != nil {
			return err
		}
		return j.o.transform(j.ctx, j.env, path, j.first, j.form.lost, func() (sink, error) {
			out, err := j.output()
			if err != nil {
				return nil, err
			}
			return &formatSink{out, open(out, j)}, nil
		})
	}
}

// formatSink is a trace in another tool's format.
type formatSink struct {
	out *cli.Output
	w   formats.RequestWriter
}

func (s *formatSink) write(body []byte, _ bool, row *formats.Request) error {
	q := *row
	q.Body = body
	return s.w.Write(&q)
}

func (s *formatSink) close() error {
	if err := s.w.Close(); err != nil {
		s.out.Abort()
		return err
	}
	return s.out.Close()
}

func (s *formatSink) abort() {
	if a, ok := s.w.(interface{ Abort() }); ok {
		a.Abort()
	}
	s.out.Abort()
}

// notes says what the format had to change.
func (s *formatSink) notes() (list []string) {
	b, ok := s.w.(*openaibatch.Writer)
	if !ok {
		return nil
	}
	if b.Renamed > 0 {
		list = append(list, fmt.Sprintf("%d ids were there before and got a number, since a custom_id must be the only one", b.Renamed))
	}
	if b.Streams > 0 {
		list = append(list, fmt.Sprintf("%d bodies ask for a stream, which OpenAI's Batch API refuses", b.Streams))
	}
	return list
}
