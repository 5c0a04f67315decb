// Package simserver is a simulated LLM server with an OpenAI-compatible
// interface, as an http.Handler: it answers what a real server would answer,
// when a real server would, and makes up the words.
//
// # Endpoints
//
//	POST /v1/completions       prompt: a string, a list of token ids, or a list of one of those
//	POST /v1/chat/completions  messages with text
//	POST /v1/responses         input: a string, or messages with text
//	GET  /v1/models            the one model
//
// Answers are streamed or whole. Of the keys of a body it heeds model, stream,
// stream_options (include_usage, continuous_usage_stats), max_tokens,
// max_completion_tokens (chat), max_output_tokens (responses), min_tokens,
// ignore_eos, tools with a tool_choice that asks for a call (chat), and n, which
// must be 1. It ignores the others, stop strings among them, as far as the
// dialect takes them. Several prompts in one body are refused.
//
// # Dialects
//
// How things are spelled, which keys are taken, what is refused and how, what a
// failure looks like in a stream, and which pages there are beside /v1/models is
// a [Dialect]: health, version, metrics for Prometheus, times of requests.
// testdata/<dialect>.txt shows it, every byte, with what replay makes of it.
//
// # Tokens
//
// A prompt of ids has as many tokens as ids. Text has one token for every four
// bytes begun. A chat adds four tokens for each message and three for the
// opening of the answer. Each token of an answer is one word, and one event
// when it is streamed.
//
// With ignore_eos an answer has exactly max_tokens. Without it, it ends by
// itself after 2 to 511 tokens, the number drawn from the seed and the prompt,
// and not before min_tokens; the last token is then the invisible end of
// sequence. max_tokens is 16 when absent from a completion ([TRTLLM] has no such
// default), and what is left of the context when absent from a chat.
//
// Reasoning, where there is some, is the first tokens of an answer. A call is the
// name of the function, one token, and then a JSON object of words.
//
// # Time
//
// The server batches continuously, as vLLM does: it works in steps, and in each
// step every running sequence gets one token, and prompts are fed with what the
// budget of tokens leaves, in parts if need be, in the order of arrival. A step
// takes a time that is linear in what it does ([Timing]). Steps follow each
// other on an absolute schedule, so that the delays of this process do not add
// up. [Server.Run] is the one goroutine that does all that; it reports each
// step, and each beginning of rest, to Options.OnStep.
package simserver
