// Package prompts reads datasets of texts, one a line of JSON Lines, that may say
// how long the answer is: the custom dataset of vLLM, the questions of MT-Bench and SpecBench, and datasets of guidellm.
// In all of them a null is as good as a missing key, and a key twice is an error.
//
// # The custom dataset of vLLM
//
// What `vllm bench serve --dataset-name custom` takes:
//
//	{"prompt":"Hello","output_tokens":10}
//	{"prompt":"Hello again"}
//
// Keys:
//
//	prompt         string: what the user says
//	output_tokens  integer from 1 to 2^31-1: tokens of the answer; may be missing
//
// Others are skipped.
//
// # Questions of MT-Bench and SpecBench
//
//	{"question_id":81,"category":"writing","turns":["Write a poem.","Now in prose."],"reference":[]}
//
// Keys:
//
//	turns        array of strings, not empty: what the user says, one after the other
//	question_id  integer or string that is not empty: the request's name; may be missing
//
// Others are skipped. What the answers between the turns were is not known.
//
// # Datasets of guidellm
//
//	{"prompt":"Hello","prompt_tokens_count":1,"output_tokens_count":128}
//
// Columns have several names, of which the first that is there counts for the
// whole file, as with guidellm; also in capitals, and with an s or es at the end:
//
//	prompt, instruction, question, input, context, content, conversation, turn, text
//	                     string: what the user says
//	messages, chat_messages
//	                     array, instead of a text: the messages of a chat
//	system_prompt, system, prefix
//	                     string: of the system's message before it
//	prompt_tokens_count, input_tokens_count
//	                     integer from 0: what the source counted
//	output_tokens_count, completion_tokens_count
//	                     integer from 1 to 2^31-1: tokens of the answer; may be missing
//	relative_timestamp   number, not negative: seconds since the start of the trace
//
// Images, videos, sounds, tools and answers of tools, which guidellm knows by image,
// video, audio, tools and other names, are refused, and so are columns that are turns by
// a number (prompt_1). Others are skipped.
package prompts
