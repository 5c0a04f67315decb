// Package trtllm reads and writes the dataset of trtllm-bench (NVIDIA TensorRT-LLM): the
// requests that it is told to run, by --dataset. It has no arrival times, no
// model and no sampling parameters: trtllm-bench is driven by concurrency.
//
// The file is JSON Lines, whatever its name says (preprocessed_dataset.json is
// the default of prepare-dataset; .txt and .jsonl are common too), one request
// a line:
//
//	{"task_id":0,"prompt":"Write an endless story.","output_tokens":1000}
//	{"task_id":1,"input_ids":[863,22056,25603,11943],"output_tokens":128}
//	{"task_id":2,"logits":[863,22056,25603],"output_tokens":128}
//
// Keys:
//
//	task_id        integer or string: the request's name. prepare-dataset
//	               writes -1 for all unless told otherwise. May be missing
//	input_ids      array of token ids, 0 to 2^31-1, sent as they are: no
//	               template, nothing added
//	logits         the older name of input_ids. Both at once are an error
//	prompt         string: the text, not used when there are ids
//	output_tokens  integer >= 1: the answer has exactly so many, because
//	               trtllm-bench switches the end-of-sequence token off
//	turns          array of strings: a conversation (MT-Bench)
//	media_paths    array of strings: images and so on, as files
//	lora_request   object: an adapter
//
// A null, and an empty turns, media_paths or lora_request, is as good as a
// missing key. Other keys (category, question_id, ...) are skipped, as
// trtllm-bench itself skips them. A known key twice is an error.
//
// Not read now, and refused rather than read wrongly: turns (each needs the
// answer before it), media_paths and lora_request (neither has one way into a
// request body); and the whole-file JSON of prepare_dataset.py without
// --stdout, {"metadata":...,"samples":[...]}, and its older form, a bare array.
package trtllm
