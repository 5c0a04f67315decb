// Package dialect knows which request bodies the common servers refuse, so that a
// trace can be checked before a run spoils an hour of a GPU. It says what is sure
// to be refused; what it does not mention may be refused all the same.
//
//	trtllm   trtllm-serve: 400 for any unknown key of a chat or a completion
//	vllm     vLLM ignores unknown keys, and refuses some combinations
//	sglang   SGLang ignores unknown keys, and refuses some combinations
//	openai   the API of OpenAI: 400 for any unknown key
//
// As the servers were in the autumn of 2026.
package dialect
