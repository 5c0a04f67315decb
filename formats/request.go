package formats

import (
	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// Request is what a trace of another tool says of one request, before a body is
// made of it. Exactly one of IDs, Prompt, Messages and Body is set.
type Request struct {
	Pos      trace.Pos
	IDs      []int32        // token ids of the prompt
	Made     bool           // IDs were made for a length: others of its vocabulary do as well
	Prompt   jsontext.Value // what a user says, as a JSON string
	Messages jsontext.Value // a JSON array of chat messages
	Body     []byte         // a whole request body

	Tools jsontext.Value // beside Messages: what the model may call; nil is none
	Media string         // of Messages with parts beside texts: image, video or audio; of several one that is no image
	Extra jsontext.Value // beside IDs, Prompt and Messages: an object, whose members belong into the body and win over what else would be there; nil is none
	Bare  bool           // Body lacks a model and the wish for a stream, which are added where it has none

	Answer jsontext.Value // what was answered then, as a JSON string; nil is not known

	Adapter Adapter

	Conversation string // "" is one of its own
	Turn         int    // 0-based turn of Conversation
	Timing       trace.Timing
}

// Adapter is a LoRA adapter that a request asks for; the zero value is none.
type Adapter struct {
	Name   jsontext.Value // a JSON string
	Object jsontext.Value // lora_request, as trtllm-serve takes it in a body
}

// An Omission is something that a format's rule leaves out.
type Omission struct {
	What string // in the plural
	N    int64
}

// An Omitter is a RequestReader that leaves something out. Omissions are complete at the end
// of the input, and those of nothing may be among them.
type Omitter interface {
	Omissions() []Omission
}

// A RequestReader reads a trace of another tool. The memory of IDs is used
// again; what else Read stores is valid until the next Read. At the end the
// error is io.EOF. A fault of a row is a *trace.SyntaxError and reading goes on
// behind it; any other error is final.
type RequestReader interface {
	Read(*Request) error
}

// A RequestWriter writes requests with a Body in the format of another tool. What
// it cannot say is a *trace.ColumnError, of the body, and nothing is written then;
// any other error is final. Close writes what is left, and the end of the document;
// it does not close the underlying writer.
type RequestWriter interface {
	Write(*Request) error
	Close() error
}
