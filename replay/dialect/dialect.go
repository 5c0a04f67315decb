package dialect

import (
	"bytes"
	"strings"

	"wattrace/trace"
)

// Dialect names a kind of server.
type Dialect string

// The dialects.
const (
	TRTLLM Dialect = "trtllm"
	VLLM   Dialect = "vllm"
	SGLang Dialect = "sglang"
	OpenAI Dialect = "openai"
)

// All lists the dialects.
var All = []Dialect{TRTLLM, VLLM, SGLang, OpenAI}

// Refusal is a reason for which a server would refuse a body.
type Refusal struct {
	Key string // top-level key that it is about
	Why string // the same for all bodies with the same fault; quotes no value
}

// keys are the top-level keys that a strict server knows, by endpoint; an
// endpoint without any takes every key.
type keys map[trace.Endpoint]map[string]bool

func set(names string) map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(names) {
		m[name] = true
	}
	return m
}

// strict holds the servers that refuse keys that they do not know.
var strict = map[Dialect]keys{
	TRTLLM: {
		trace.Chat: set(`messages prompt_token_ids prompt_token_ids_b64 model frequency_penalty logit_bias logprobs
			top_logprobs max_completion_tokens max_tokens n presence_penalty response_format seed stop stream
			stream_options temperature top_p tools tool_choice parallel_tool_calls user reasoning_effort thinking
			thinking_token_budget prompt_ignore_length best_of use_beam_search top_k top_p_min min_p
			repetition_penalty length_penalty early_stopping stop_token_ids include_stop_str_in_output ignore_eos
			min_tokens skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens lora_request echo
			add_generation_prompt add_special_tokens documents chat_template chat_template_kwargs
			injected_chat_template_kwargs media_io_kwargs disaggregated_params conversation_params cache_salt
			priority agent_hierarchy mm_processor_kwargs`),
		trace.Completions: set(`model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n
			presence_penalty seed stop stream stream_options suffix temperature top_p user lora_request
			prompt_ignore_length use_beam_search top_k top_p_min min_p repetition_penalty length_penalty
			early_stopping stop_token_ids include_stop_str_in_output ignore_eos min_tokens skip_special_tokens
			spaces_between_special_tokens truncate_prompt_tokens return_context_logits detokenize
			thinking_token_budget add_special_tokens response_format disaggregated_params priority
			conversation_params`),
	},
	OpenAI: {
		trace.Chat: set(`messages model audio frequency_penalty function_call functions logit_bias logprobs
			max_completion_tokens max_tokens metadata modalities n parallel_tool_calls prediction presence_penalty
			prompt_cache_key prompt_cache_retention reasoning_effort response_format safety_identifier seed
			service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user
			verbosity web_search_options`),
		trace.Completions: set(`model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n
			presence_penalty seed stop stream stream_options suffix temperature top_p user`),
		trace.Responses: set(`background conversation include input instructions max_output_tokens max_tool_calls
			metadata model parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention
			reasoning safety_identifier service_tier store stream stream_options temperature text tool_choice tools
			top_logprobs top_p truncation user`),
	},
}

// Check returns why a server of dialect d would refuse body, a JSON object that
// goes to endpoint; the order is that of the keys. nil is that nothing is known
// against it.
func (d Dialect) Check(endpoint trace.Endpoint, body []byte) []Refusal {
	var all []Refusal
	refuse := func(key, why string) { all = append(all, Refusal{key, why}) }
	known := strict[d][endpoint]
	have := map[string][]byte{}
	trace.WalkObject(body, func(m trace.Member) error { // the body is known to be an object
		if _, again := have[string(m.Name)]; !again && known != nil && !known[string(m.Name)] {
			refuse(string(m.Name), "unknown key")
		}
		have[string(m.Name)] = m.Value // of several the last counts
		return nil
	})
	given := func(key string) bool { v, ok := have[key]; return ok && string(v) != "null" }
	is := func(key, value string) bool { return string(have[key]) == value }

	if (d == TRTLLM || d == OpenAI) && !given("model") {
		refuse("model", "the model is missing")
	}
	if d != SGLang && given("stream_options") && !is("stream", "true") && endpoint != trace.Responses {
		refuse("stream_options", "stream_options without stream")
	}
	if (d == TRTLLM || d == VLLM) && given("suffix") && !is("suffix", `""`) {
		refuse("suffix", "suffix is not supported")
	}
	if endpoint == trace.Chat {
		if d != SGLang && given("top_logprobs") && !is("logprobs", "true") {
			refuse("top_logprobs", "top_logprobs without logprobs")
		}
		if isEmpty(have["messages"]) {
			refuse("messages", "there are no messages")
		}
		if given("tool_choice") && !is("tool_choice", `"none"`) && !is("tool_choice", `"auto"`) && (!given("tools") || isEmpty(have["tools"])) && d != OpenAI {
			refuse("tool_choice", "tool_choice without tools")
		}
	}
	if d != OpenAI && given("cache_salt") && (have["cache_salt"][0] != '"' || is("cache_salt", `""`)) && (known == nil || known["cache_salt"]) {
		refuse("cache_salt", "cache_salt is not a text that is not empty")
	}
	return all
}

// isEmpty reports whether a value is an array without an element.
func isEmpty(v []byte) bool {
	return len(v) >= 2 && v[0] == '[' && len(bytes.TrimSpace(v[1:len(v)-1])) == 0
}
