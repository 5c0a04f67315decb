// Package sglang reads two datasets of SGLang's bench_serving, both JSON Lines.
//
// # The openai dataset
//
// What --dataset-name openai takes are chats, with whatever else belongs into a body:
//
//	{"messages":[{"role":"user","content":"Hello"}],"max_tokens":128,"tools":[],"temperature":0.7}
//
// Keys:
//
//	messages    array that is not empty
//	max_tokens  integer from 1 to 2^31-1: tokens of the answer, exactly, since bench_serving
//	            sends ignore_eos; 256 where it is missing
//
// The keys model, max_completion_tokens, stream and stream_options are left out, since
// whoever makes the body sets what they say; all others go into it as they are, and win
// over what it would have else. A key twice is an error.
//
// Such a line may be a whole body, too: what it is meant for, it does not say.
//
// # The token trace
//
// What --dataset-name token_trace takes:
//
//	{"input_tokens":[863,22056,25603],"num_output_tokens":128,"ts":12.5}
//	{"input_tokens":[863,22056],"output_tokens":[5,6,7],"num_input_tokens":2}
//
// Keys:
//
//	input_tokens       array of token ids, 0 to 2^31-1, not empty
//	num_input_tokens   integer: how many they are; may be missing
//	num_output_tokens  integer from 0 to 2^31-1: tokens of the answer
//	output_tokens      array of the answer's token ids, of which only the number
//	                   counts, where num_output_tokens is missing
//	ts                 number: seconds, of which the first row's is the start of the trace;
//	                   an earlier one is a fault. May be missing
//
// Rows whose answer has no tokens are left out, as SGLang leaves them out. A null is as good as a missing key;
// other keys are skipped; a known key twice is an error.
package sglang
