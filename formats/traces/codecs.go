package traces

import (
	"fmt"
	"io"
	"strings"

	"wattrace/formats"
	"wattrace/formats/aiperfinputs"
	"wattrace/formats/lengths"
	"wattrace/formats/mooncake"
	"wattrace/formats/openaibatch"
	"wattrace/formats/sharegpt"
	"wattrace/formats/tokens"
	"wattrace/formats/trtllm"
	"wattrace/trace"
)

// A Codec is a format that requests can come in.
type Codec struct {
	Name string       // as convert --from takes it; or a format of formats/lengths; else the package in formats
	Kind formats.Kind // what formats.Sniff calls it
	In   string       // what a row is
	Out  string       // what becomes of it
	Lost string       // what does not get into the trace; "" is nothing

	// Open returns a reader of what has the given name in positions. It is nil
	// for raw_payload, which is what the others become.
	Open func(r io.Reader, name string, o Options) formats.RequestReader
}

// Options are what some formats do not say of themselves.
type Options struct {
	BlockTokens int          // tokens of a hash's block; 0 is the format's own
	Vocab       tokens.Vocab // of the prompts that are made for lengths
}

// Codecs lists every trace format once.
var Codecs = []Codec{
	{
		Name: "raw_payload", Kind: formats.RawPayload,
		In: "request bodies, one a line", Out: "sent as they are",
	},
	{
		Name: "trtllm", Kind: formats.TRTLLM,
		In:  "trtllm-bench dataset (vLLM's custom dataset too): prompts or token ids",
		Out: "texts as chats, token ids as completions; ids, lengths",
		Open: func(r io.Reader, name string, _ Options) formats.RequestReader {
			return &trtllmReader{r: trtllm.NewReader(r, name)}
		},
	},
	{
		Name: "mooncake", Kind: formats.Mooncake,
		In:   "Mooncake trace, as aiperf extends it; Bailian: lengths with hashes of blocks, texts, messages or bodies",
		Out:  "lengths as token ids, the same for the same hash; times, sessions, lengths",
		Lost: "priorities, and which chat of Bailian goes on with which",
		Open: func(r io.Reader, name string, o Options) formats.RequestReader {
			return mooncake.NewReader(r, name, mooncake.Options{BlockTokens: o.BlockTokens, Vocab: o.Vocab})
		},
	},
	{
		Name: "sharegpt", Kind: formats.ShareGPT,
		In:   "ShareGPT dump: conversations, as one array or one a line",
		Out:  "each question as a chat with all that was said before it; ids, conversations",
		Lost: "how many tokens an answer had, unless --tokenizer counts them (--output-tokens asks for a number), and answers before the first question",
		Open: func(r io.Reader, name string, _ Options) formats.RequestReader { return sharegpt.NewReader(r, name) },
	},
	{
		Name: "openaibatch", Kind: formats.OpenAIBatch,
		In:   "input of OpenAI's Batch API: bodies with a URL",
		Out:  "bodies as they were, not streamed unless `replay --set stream=true`; ids",
		Open: func(r io.Reader, name string, _ Options) formats.RequestReader { return openaibatch.NewReader(r, name) },
	},
	{
		Name: "aiperfinputs", Kind: formats.AIPerfInputs,
		In:  "aiperf's inputs.json, and genai-perf's: the bodies of each session",
		Out: "bodies as they were, each in one line; conversations",
		Open: func(r io.Reader, name string, _ Options) formats.RequestReader {
			return aiperfinputs.NewReader(r, name)
		},
	},
	{
		Name: "azure", Kind: formats.AzureLLM,
		In:   "Azure LLM inference traces of 2023 and 2024, CSV: times and lengths",
		Out:  "lengths as token ids, none of which are shared; times, lengths",
		Lost: "requests without an answer",
		Open: openLengths,
	},
	{
		Name: "burstgpt", Kind: formats.BurstGPT,
		In:   "BurstGPT, CSV: times and lengths",
		Out:  "lengths as token ids, none of which are shared; times, lengths",
		Lost: "requests without an answer, models, log types and sessions",
		Open: openLengths,
	},
}

// openLengths opens either of its formats, which it tells by the header.
func openLengths(r io.Reader, name string, o Options) formats.RequestReader {
	return lengths.NewReader(r, name, o.Vocab)
}

// trtllmReader gives rows of a dataset as requests.
type trtllmReader struct {
	r   *trtllm.Reader
	row trtllm.Row
}

func (t *trtllmReader) Read(dst *formats.Request) error {
	t.row.IDs = dst.IDs[:0]
	err := t.r.Read(&t.row)
	*dst = formats.Request{Pos: t.row.Pos, IDs: t.row.IDs, Prompt: t.row.Prompt}
	if err != nil {
		return err
	}
	dst.Timing = trace.Timing{ID: t.row.TaskID, OutputTokens: trace.Some(t.row.OutputTokens)}
	if t.row.IDs != nil {
		dst.Timing.InputTokens = trace.Some(int64(len(t.row.IDs)))
	}
	return nil
}

// Names returns the names of the formats that can be converted.
func Names() string {
	var names []string
	for _, c := range Codecs {
		if c.Open != nil {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

// Table returns the table of formats, in Markdown.
func Table() string {
	var b strings.Builder
	b.WriteString("| format | in | out | lost |\n|---|---|---|---|\n")
	for _, c := range Codecs {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, c.In, c.Out, c.Lost)
	}
	return b.String()
}

// ByName finds a codec by its name.
func ByName(name string) (Codec, bool) {
	for _, c := range Codecs {
		if c.Name == name {
			return c, true
		}
	}
	return Codec{}, false
}

// ByKind finds the codec of a sniffed kind.
func ByKind(kind formats.Kind) (Codec, bool) {
	for _, c := range Codecs {
		if c.Kind == kind {
			return c, true
		}
	}
	return Codec{}, false
}
