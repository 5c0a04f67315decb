// Package bodies makes request bodies of what the formats of traces say of requests, and so
// turns any trace into a raw_payload one: convert writes it, replay sends it.
//
// Token ids become a completion, which is exact to the token; texts a chat or a completion;
// a body stays as it is. An answer's length is asked for with max_tokens (OpenAI's API:
// max_completion_tokens), and made exact with min_tokens and ignore_eos where the kind of
// server, the target, knows them: TensorRT-LLM's, vLLM's and SGLang's OpenAI servers do. Fields
// that a row has of its own win over these.
//
// With a tokenizer the prompts that are made for lengths are of its tokens, texts are counted,
// and the answer that a source has gives the length to ask for.
package bodies
