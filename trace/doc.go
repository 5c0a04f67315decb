// Package trace holds the vocabulary of requests, asked and answered: instants
// and clocks, the turns of a trace, the phases of a plan, and the outcome of
// one request. It reads and writes the raw_payload trace and its timing side
// file. It knows nothing of HTTP, Arrow, flags or compression.
//
// # The raw_payload trace
//
// A trace is JSON Lines: each line is one complete request body, which is sent
// byte for byte. The name and the idea are those of aiperf's raw_payload
// dataset type (ai-dynamo/aiperf, pull request 803); timing never enters the
// body, because trtllm-serve answers 400 to a key that it does not know.
//
//	{"model":"m","messages":[{"role":"user","content":"Hello"}],"max_tokens":16,"stream":true}
//	{"model":"m","prompt":[863,22056,25603],"max_tokens":128,"ignore_eos":true,"stream":true}
//
// Rules:
//
//   - A line ends with LF or CRLF; the last one may end with the file. Neither
//     belongs to the body. A blank line is skipped and counted as a line.
//   - A line is at most MaxLine bytes long (1 GiB). A longer one is an error
//     that names its line, never a truncation.
//   - The body is one JSON object of RFC 8259, nested at most 10,000 deep.
//     Duplicate names and lone surrogate escapes are accepted (the server
//     decides what they mean); invalid UTF-8, and anything after the object,
//     are errors.
//   - One of the top-level keys "messages", "prompt" and "input" says where the
//     body goes: /v1/chat/completions, /v1/completions or /v1/responses. When
//     several are present that order decides. None is an error.
//   - A byte order mark is an error with that name, not silently dropped.
//
// A directory is a trace too: each *.jsonl in it (as in the shell, none whose
// name begins with a dot), in bytewise order of the names, is one conversation
// whose name is the file's without ".jsonl", and its lines are the turns. In a file, each line is a conversation of one turn
// unless the side file says otherwise.
//
// # The timing side file
//
// What cannot go into a body lives beside it, in <path>.timing: trace.jsonl has
// trace.jsonl.timing, the directory dir has dir.timing. It is JSON Lines, one
// object per turn, in the order of the trace:
//
//	{"line":1,"at_seconds":1.25,"delay_seconds":0.5,"conversation":"a","turn":0,"input_tokens":812,"output_tokens":128,"id":"17"}
//
//	line           1-based line of the trace file; absent for a directory
//	conversation   conversation of the turn; with turn, the key for a directory
//	turn           0-based turn in its conversation, of 31 bits; 0 when absent
//	at_seconds     when the turn was asked, since the start of the trace; from 0 to
//	               73 years (2^61 ns)
//	delay_seconds  wait between the previous turn's end and this turn; likewise
//	input_tokens   tokens of the prompt as the source of the trace counted them,
//	               at most 2^53, as the request log says them again
//	output_tokens  tokens that the answer is expected to have, likewise
//	id             the source's own name of the request
//
// Every key is optional but the one that finds the turn: line in a file,
// conversation (with turn) in a directory. In a file, conversation and turn make
// the line a turn of that conversation. A missing value, or a null, is unknown,
// not zero. Unknown keys are skipped, so that later versions can add some; a
// known key twice is an error. A line that names a turn that the trace does not
// have, or one that was named before, is an error with its position. Integers
// are written without point or exponent.
// The file has no header: it grows by keys, and a key never changes meaning.
package trace
