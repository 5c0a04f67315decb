// Package sharegpt reads conversations as ShareGPT's dumps have them, and
// LMSYS-Chat-1M as JSON: one array, or objects one behind the other (JSON Lines):
//
//	[{"id":"a1","conversations":[{"from":"human","value":"Hello"},{"from":"gpt","value":"Hi!"}]}]
//	{"conversation_id":"b2","model":"vicuna-13b","conversation":[{"content":"Hello","role":"user"}],"turn":1,"language":"English"}
//
// Keys of a conversation:
//
//	conversations  array of turns; some dumps say conversation
//	id             string or integer; may be missing, and need not be unique.
//	               LMSYS-Chat-1M says conversation_id
//
// Keys of a turn, whose order is that of the conversation:
//
//	from   human or user; gpt, chatgpt, bing, bard or assistant; system. Some
//	       dumps say role
//	value  string: what was said. Some dumps say content
//
// Other keys are skipped; a known key twice, or by both of its names, is an error.
//
// Each question, which is the last human turn before an answer or the end,
// becomes a request whose messages are all turns to it, the recorded answers
// among them: so requests do not depend on what the server answers. The requests of
// a conversation with several are its turns; its name is its number in the file, from
// 1. Answers before the first question or system turn are left out, since
// chat templates refuse them; a conversation without a question has no request. Both
// are counted.
//
// How many tokens an answer had is not known without the tokenizer of the
// model that gave it; so it is unknown here.
package sharegpt
