// Package mooncake reads and writes the traces of Mooncake (kvcache-ai/Mooncake, FAST '25),
// what genai-perf and aiperf added to them, and the like traces of Alibaba
// (Bailian). They are JSON Lines, one request a line:
//
//	{"timestamp":27482,"input_length":6955,"output_length":52,"hash_ids":[46,47,2353,2354]}
//	{"timestamp":0,"session_id":"a","messages":[{"role":"user","content":"Hello"}],"output_length":9}
//	{"delay":500,"session_id":"a","text_input":"And then?","output_length":9}
//	{"timestamp":10.5,"payload":{"model":"m","prompt":"Hello","max_tokens":9}}
//	{"chat_id":159,"parent_chat_id":-1,"timestamp":61.114,"input_length":21,"output_length":13,"type":"text","turn":1,"hash_ids":[1089,1090]}
//
// A row says what is asked by exactly one of these, or by input_length alone:
//
//	text_input   string: what the user says
//	messages     array that is not empty: the messages of a chat
//	payload      object: a whole request body, which is kept byte for byte
//
// Beside them:
//
//	input_length   integer from 1 to 2^24: tokens of the prompt. Beside a text it
//	               is what the source counted
//	hash_ids       array of integers from 0 to 2^64-1, of input_length alone: a
//	               hash for each block of 512 tokens (Bailian: 16) of the prompt,
//	               the last of which may be shorter. What has the same hash begins
//	               with the same tokens. Without hashes no other row shares any
//	output_length  integer from 1 to 2^31-1: tokens of the answer. Needed where
//	               input_length is alone
//	timestamp      number: milliseconds since the start of the trace, in any
//	               order, ties too. In a row with chat_id: seconds
//	delay          number: milliseconds between the end of the answer before and
//	               this request
//	session_id     string: rows with the same are the turns of a conversation, in
//	               the order of the file
//	tools          array, beside messages: kept as it is
//	message_mode   "history": messages hold all turns before. Others are refused,
//	               since they need the answers
//	chat_id        integer: the request's name, of a Bailian trace
//
// A null is as good as a missing key, and so is an empty extra. Other keys
// (priority, type, turn, parent_chat_id, ...) are skipped; extra, which would change
// the body, is refused, and so are the fields of bodies (temperature, max_tokens, ...).
// A known key twice is an error.
//
// # Payload files of genai-perf
//
// With [Options].Fields, for genai-perf's --input-file payload:FILE, every key but timestamp,
// delay, session_id, input_length, output_length, hash_ids, text_input (which may be
// called text), messages and payload is a field of the body, and goes into it as it is:
//
//	{"timestamp":0,"text_input":"Hello","temperature":0.5,"output_length":20}
//	{"timestamp":500,"prompt":"Once","max_tokens":9}
//
// With prompt a row is a body for completions that lacks a model. A limit of the answer
// beside output_length, and fields beside a payload, are errors.
//
// # Traces of guidellm
//
// With [Options].Seconds timestamps are seconds, as guidellm reads the same keys. The
// first row's is the start of the trace, and an earlier one a fault. A row does not say
// which it means.
//
// The prompt of input_length alone is made of token ids (wattrace/formats/tokens), of which
// it has exactly so many.
//
// A reader's memory depends on the longest row and on the number of sessions,
// whose turns it counts.
package mooncake
