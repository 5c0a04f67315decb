// Package weka reads traces of coding agents that say which blocks of a prompt
// were the same, as WEKA's kv-cache-tester and the cc-traces data sets have them: for each
// conversation an object, in an array or one behind the other (JSON Lines):
//
//	{"id":"8712b46f-04e","models":["m"],"block_size":64,"hash_id_scope":"local","tool_tokens":64,"system_tokens":0,"requests":[
//	 {"t":0.0,"type":"s","model":"m","in":150,"out":20,"hash_ids":[1,2],"api_time":2.5,"ttft":0.4},
//	 {"t":4.0,"type":"subagent","agent_id":"a","requests":[{"t":0.0,"type":"n","in":70,"out":9,"hash_ids":[7]}]},
//	 {"t":9.5,"type":"s","model":"m","in":200,"out":5,"hash_ids":[1,2,3],"think_time":1.0}]}
//
// Or the requests of all conversations are objects of their own:
//
//	{"id":"8712b46f-04e","t":0.0,"in":150,"out":20,"hash_ids":[1,2]}
//
// Keys of a conversation:
//
//	id             string or integer: the name of the conversation; that of another is a
//	               fault. Where it is missing it is the number in the file, from 1
//	block_size     integer from 1: tokens of a block; 64 where it is missing
//	hash_id_scope  "local": the same hash means the same block within a conversation
//	               only, as it does where this is missing; or "global"
//	requests       array
//
// Keys of a request:
//
//	in          integer to 2^24: tokens of the prompt
//	out         integer to 2^31-1: tokens of the answer. Requests with 0 are left out and counted
//	hash_ids    array of integers from 0 to 2^64-1: the full blocks of the prompt, and maybe
//	            the last one that is not full. Tokens that no block has are shared with no other row
//	t           seconds since the start of the conversation
//	api_time    seconds that the answer took; may be missing
//	think_time  seconds between the answer before and this request; may be missing
//	type        s, n, or subagent, which is no request but has requests of its own
//	id          of a request that is an object of its own: the conversation's
//
// Requests are the turns of their conversation in the order of the file, those of a
// subagent where it stands. Since the times of a conversation say nothing of others', they
// become delays: think_time, else what is left between the end of the request before it in
// its array and t, if that can be known. Other keys are skipped; a known key twice is an error,
// and a null as good as a missing key.
//
// A reader's memory depends on the longest conversation and on the names of all.
package weka
