package traces

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"wattrace/formats"
	"wattrace/formats/aiperfinputs"
	"wattrace/formats/lengths"
	"wattrace/formats/media"
	"wattrace/formats/mooncake"
	"wattrace/formats/openaibatch"
	"wattrace/formats/prompts"
	"wattrace/formats/sglang"
	"wattrace/formats/sharegpt"
	"wattrace/formats/tokens"
	"wattrace/formats/trtllm"
	"wattrace/formats/turns"
	"wattrace/formats/weka"
	"wattrace/trace"
)

// A Codec is a format that requests can come in.
type Codec struct {
	Name  string         // as convert --from takes it
	Kind  formats.Kind   // what formats.Sniff calls it, if its looks tell
	Alike []formats.Kind // what formats.Sniff calls it, too, so that someone has to say what it is
	In    string         // what a row is
	Out   string         // what becomes of it
	Lost  string         // what does not get into the trace; "" is nothing
	Omits string         // what of some rows does not, and is counted (formats.Omitter); "" is nothing
	Turns bool           // heeds Options.AllTurns

	// Open returns a reader of what has the given name in positions. It is nil
	// for raw_payload, which is what the others become.
	Open func(r io.Reader, name string, o Options) formats.RequestReader
}

// Options are what some formats do not say of themselves.
type Options struct {
	BlockTokens int          // tokens of a hash's block; 0 is the format's own
	Vocab       tokens.Vocab // of the prompts that are made for lengths
	AllTurns    bool         // of conversations whose answers are not known: all questions, not only the first
}

// Codecs lists every trace format once.
var Codecs = []Codec{
	{
		Name: "raw_payload", Kind: formats.RawPayload,
		In: "request bodies, one a line", Out: "sent as they are",
	},
	{
		Name: "trtllm", Kind: formats.TRTLLM, Turns: true,
		In:    "trtllm-bench dataset (vLLM's custom dataset with lengths too), as lines or one document: prompts, token ids, turns, media, adapters",
		Out:   "texts and media as chats, token ids as completions; adapters by name or as the server takes them; ids, lengths",
		Omits: "questions after the first of a conversation (--turns user-only keeps them), paths of adapters where the server goes by names",
		Open: func(r io.Reader, name string, o Options) formats.RequestReader {
			return &trtllmReader{r: trtllm.NewReader(r, name), Queue: turns.Queue{All: o.AllTurns}}
		},
	},
	{
		Name: "trtllmcustom", Kind: formats.TRTLLMCustom,
		In:  "trtllm_custom dataset of TensorRT-LLM's benchmark_serving: chat bodies without a model",
		Out: "bodies as they were, with model and stream where they have none",
		Open: func(r io.Reader, name string, _ Options) formats.RequestReader {
			return trtllm.NewCustomReader(r, name)
		},
	},
	{
		Name: "vllmcustom", Kind: formats.VLLMCustom, Alike: []formats.Kind{formats.RawPayload, formats.TRTLLM},
		In:   "vLLM's custom dataset, whose rows need no length: prompts",
		Out:  "texts as chats; lengths",
		Open: openPrompts(prompts.VLLM),
	},
	{
		Name: "questions", Kind: formats.Questions, Turns: true,
		In:    "question files of MT-Bench and SpecBench: the turns of a user",
		Out:   "the first question as a chat; ids",
		Lost:  "categories and reference answers",
		Omits: "questions after the first of a conversation (--turns user-only keeps them)",
		Open:  openPrompts(prompts.Questions),
	},
	{
		Name: "guidellm", Kind: formats.GuideLLM, Alike: []formats.Kind{formats.RawPayload},
		In:   "guidellm dataset, JSON Lines: prompts or messages in columns of its names",
		Out:  "texts as chats, after the system's prompt; times, lengths",
		Lost: "models",
		Open: openPrompts(prompts.GuideLLM),
	},
	{
		Name: "guidellmtrace", Kind: formats.GuideLLMTrace, Alike: []formats.Kind{formats.Lengths},
		In:  "guidellm trace, JSON Lines: times in seconds and lengths, maybe with hashes of blocks",
		Out: "lengths as token ids, the same for the same hash; times, lengths",
		Open: func(r io.Reader, name string, o Options) formats.RequestReader {
			return mooncake.NewReader(r, name, mooncake.Options{BlockTokens: o.BlockTokens, Vocab: o.Vocab, Seconds: true})
		},
	},
	{
		Name: "sglangopenai", Kind: formats.SGLangOpenAI, Alike: []formats.Kind{formats.RawPayload},
		In:   "SGLang's openai dataset: chats with fields of a body",
		Out:  "chats with all other fields as they were; lengths",
		Lost: "models, and whether a stream was asked for",
		Open: func(r io.Reader, name string, _ Options) formats.RequestReader {
			return sglang.NewOpenAIReader(r, name)
		},
	},
	{
		Name: "tokentrace", Kind: formats.TokenTrace,
		In:    "SGLang's token trace: token ids, times and lengths",
		Out:   "token ids as completions; times, lengths",
		Lost:  "the token ids of answers",
		Omits: "requests without an answer",
		Open: func(r io.Reader, name string, _ Options) formats.RequestReader {
			return sglang.NewTokenTraceReader(r, name)
		},
	},
	{
		Name: "mooncake", Kind: formats.Mooncake, Alike: []formats.Kind{formats.Lengths},
		In:   "Mooncake trace, as aiperf extends it; Bailian: lengths with hashes of blocks, texts, messages or bodies",
		Out:  "lengths as token ids, the same for the same hash; times, sessions, lengths",
		Lost: "priorities, and which chat of Bailian goes on with which",
		Open: func(r io.Reader, name string, o Options) formats.RequestReader {
			return mooncake.NewReader(r, name, mooncake.Options{BlockTokens: o.BlockTokens, Vocab: o.Vocab})
		},
	},
	{
		Name: "genaiperf", Kind: formats.GenAIPerf,
		In:  "genai-perf's payload file: times in milliseconds with texts, messages, prompts or lengths, and fields of a body",
		Out: "chats or completions with all other fields as they were; times, sessions, lengths",
		Open: func(r io.Reader, name string, o Options) formats.RequestReader {
			return mooncake.NewReader(r, name, mooncake.Options{BlockTokens: o.BlockTokens, Vocab: o.Vocab, Fields: true})
		},
	},
	{
		Name: "weka", Kind: formats.WEKA,
		In:    "WEKA trace, cc-traces: conversations of requests with lengths and hashes of blocks",
		Out:   "lengths as token ids, the same for the same hash in a conversation; conversations, delays, lengths",
		Lost:  "times since the start of a conversation but for delays, that subagents ran beside each other, models",
		Omits: "requests without an answer",
		Open: func(r io.Reader, name string, o Options) formats.RequestReader {
			return weka.NewReader(r, name, weka.Options{BlockTokens: o.BlockTokens, Vocab: o.Vocab})
		},
	},
	{
		Name: "sharegpt", Kind: formats.ShareGPT,
		In:    "ShareGPT dump, LMSYS-Chat-1M as JSON: conversations, as one array or one a line",
		Out:   "each question as a chat with all that was said before it; ids, conversations",
		Lost:  "how many tokens an answer had, unless --tokenizer counts them (--output-tokens asks for a number), models",
		Omits: "answers before the first question, conversations without a question",
		Open:  func(r io.Reader, name string, _ Options) formats.RequestReader { return sharegpt.NewReader(r, name) },
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
		In:    "Azure LLM inference traces of 2023 and 2024, CSV: times and lengths",
		Out:   "lengths as token ids, none of which are shared; times, lengths",
		Omits: "requests without an answer",
		Open:  openLengths,
	},
	{
		Name: "burstgpt", Kind: formats.BurstGPT,
		In:    "BurstGPT, CSV: times and lengths",
		Out:   "lengths as token ids, none of which are shared; times, lengths",
		Lost:  "models, log types and sessions",
		Omits: "requests without an answer",
		Open:  openLengths,
	},
}

// openLengths opens either of its formats, which it tells by the header.
func openLengths(r io.Reader, name string, o Options) formats.RequestReader {
	return lengths.NewReader(r, name, o.Vocab)
}

// openPrompts opens a format of formats/prompts.
func openPrompts(f prompts.Format) func(io.Reader, string, Options) formats.RequestReader {
	return func(r io.Reader, name string, o Options) formats.RequestReader {
		p := prompts.NewReader(r, name, f)
		p.All = o.AllTurns
		return p
	}
}

// trtllmReader gives rows of a dataset as requests.
type trtllmReader struct {
	turns.Queue
	r    *trtllm.Reader
	row  trtllm.Row
	rows int // that were read, bad ones too
	made []byte
}

func (t *trtllmReader) Read(dst *formats.Request) error {
	if t.Next(dst) {
		return nil
	}
	t.row.IDs = dst.IDs[:0]
	err := t.r.Read(&t.row)
	*dst = formats.Request{Pos: t.row.Pos, IDs: t.row.IDs, Prompt: t.row.Prompt}
	t.rows++
	if err != nil {
		return err
	}
	dst.Adapter = t.row.Adapter
	dst.Timing = trace.Timing{ID: t.row.TaskID, OutputTokens: trace.Some(t.row.OutputTokens)}
	switch {
	case len(t.row.Media) > 0:
		return t.media(dst)
	case len(t.row.Turns) > 0 && (t.row.IDs == nil || t.All):
		row := *dst
		row.IDs, row.Conversation = nil, strconv.Itoa(t.rows)
		t.Set(row, t.row.Turns)
		t.Next(dst)
	case len(t.row.Turns) > 0:
		t.Set(formats.Request{}, t.row.Turns) // to count them
		t.Next(new(formats.Request))
	}
	if dst.IDs != nil {
		dst.Timing.InputTokens = trace.Some(int64(len(dst.IDs)))
	}
	return nil
}

// media makes a message of a row's text and the files that belong to it.
func (t *trtllmReader) media(dst *formats.Request) error {
	t.made = append(append(append(t.made[:0], `[{"role":"user","content":[{"type":"text","text":`...), dst.Prompt...), '}')
	for i := range t.row.Media {
		m := &t.row.Media[i]
		path, err := m.Text()
		var kind string
		if err == nil {
			if t.made, kind, err = media.AppendPart(append(t.made, ','), path); err != nil {
				err = m.Errorf("%w", err)
			}
		}
		if err != nil {
			pos := dst.Pos
			*dst = formats.Request{Pos: pos}
			return t.r.ErrorAt(pos, err)
		}
		if dst.Media == "" || dst.Media == "image" {
			dst.Media = kind
		}
	}
	t.made = append(t.made, `]}]`...)
	dst.Messages, dst.Prompt, dst.IDs = t.made, nil, nil
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

// Alike returns the names of the formats that may look like a kind, so that someone
// has to say which it is.
func Alike(kind formats.Kind) []string {
	var names []string
	for _, c := range Codecs {
		if slices.Contains(c.Alike, kind) {
			names = append(names, c.Name)
		}
	}
	return names
}
