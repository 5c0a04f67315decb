package trace

// Endpoint is the path of the server that a body goes to.
type Endpoint string

// The endpoints that a body's shape can choose.
const (
	Chat        Endpoint = "/v1/chat/completions" // the body has "messages"
	Completions Endpoint = "/v1/completions"      // the body has "prompt"
	Responses   Endpoint = "/v1/responses"        // the body has "input"
)

// Turn is one request of a trace: the body, and what the side file knows of it.
type Turn struct {
	Payload  []byte   // the request body, verbatim, without its line ending
	Endpoint Endpoint // chosen by the body's shape
	Pos      Pos      // where the body stands

	Conversation string // "" in a file: a conversation of its own
	Index        int    // 0-based turn of its conversation
	Timing       Timing
}

// Timing is what the side file says of one turn. The fields are its keys.
type Timing struct {
	AtSeconds    Opt[float64] // since the start of the trace
	DelaySeconds Opt[float64] // after the end of the previous turn
	InputTokens  Opt[int64]   // of the prompt, as the trace's source counted
	OutputTokens Opt[int64]   // that the answer is expected to have
	ID           string       // the source's own name of the request; "" is none
}
