// Package trtllm reads and writes the datasets of TensorRT-LLM: of trtllm-bench, in all of
// its forms, and trtllm_custom of benchmark_serving. They have no arrival times, no
// model and, but for trtllm_custom, no sampling parameters: both are driven by concurrency.
//
// # The dataset of trtllm-bench
//
// The file is JSON Lines, whatever its name says (preprocessed_dataset.json is
// the default of prepare-dataset; .txt and .jsonl are common too), one request
// a line:
//
//	{"task_id":0,"prompt":"Write an endless story.","output_tokens":1000}
//	{"task_id":1,"input_ids":[863,22056,25603,11943],"output_tokens":128}
//	{"task_id":2,"logits":[863,22056,25603],"output_tokens":128}
//	{"task_id":3,"input_ids":[1,2],"output_tokens":64,"lora_request":{"lora_name":"a","lora_int_id":3,"lora_path":"/l/3"}}
//	{"task_id":4,"turns":["Write a poem.","Now in prose."],"output_tokens":256,"question_id":81}
//	{"task_id":5,"prompt":"Describe it.","media_paths":["/data/a.jpg"],"output_tokens":100}
//
// Or it is one JSON document, as prepare_dataset.py writes without --stdout, for the
// benchmark in C++; or a bare array of its samples, which is older still:
//
//	{"metadata":{"workload_type":"token-norm-dist"},"samples":[{"input_len":3,"input_ids":[1,2,3],"output_len":128,"task_id":-1}]}
//	[{"input_ids":[1,2,3],"output_len":128}]
//
// Keys:
//
//	task_id        integer or string: the request's name. prepare-dataset
//	               writes -1 for all unless told otherwise. May be missing
//	input_ids      array of token ids, 0 to 2^31-1, sent as they are: no
//	               template, nothing added
//	logits         the older name of input_ids. Both at once are an error
//	prompt         string: the text, not used when there are ids or turns
//	turns          array of strings: what the user says in a conversation (MT-Bench,
//	               SpecBench). Ids beside it are those of the first only
//	media_paths    array of strings: images and so on that belong to prompt, as files.
//	               Ids are not used then. Not beside turns
//	lora_request   object: an adapter, which must have a lora_name
//	output_tokens  integer from 1 to 2^31-1: the answer has exactly so many, because
//	               trtllm-bench switches the end-of-sequence token off
//	output_len     the same, in a document
//	input_len      integer, in a document: how many input_ids there are
//
// A null, and an empty turns, media_paths or lora_request, is as good as a
// missing key. Other keys (category, question_id, metadata, ...) are skipped, as
// trtllm-bench itself skips them. A known key twice is an error.
//
// # trtllm_custom
//
// JSON Lines, each a chat body without a model, which [CustomReader] keeps byte for byte:
//
//	{"input":{"messages":[{"role":"system","content":""},{"role":"user","content":"Hello"}],"max_tokens":2048}}
//
// Other keys are skipped; input twice is an error. Benchmark_serving itself uses only
// the second message, and max_tokens, in an order of its own.
package trtllm
