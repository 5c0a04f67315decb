// Package tokenizer reads a tokenizer.json, as Hugging Face's tokenizers library
// writes it, and splits texts into the ids that the library's encode without
// special tokens gives. It knows byte-level BPE, which is what GPT-2, Llama 3, Qwen,
// Mistral-Nemo, DeepSeek and others use:
//
//	{"added_tokens":[{"id":256,"content":"<|end|>","special":true,...}],
//	 "normalizer":null,
//	 "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
//	 "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}
//
// What is read, in the order in which it is applied to a text:
//
//	added_tokens   found wherever they stand, the longest first, special or not;
//	               single_word, lstrip, rstrip and normalized are heeded
//	normalizer     null, NFC, NFD, NFKC, NFKD, or a Sequence of them
//	pre_tokenizer  ByteLevel, or a Sequence that ends with one, of
//	                 Split   with a Regex or a String; Isolated, or Removed and invert
//	                 Digits  one by one or together
//	model          BPE: vocab, merges (as "a b" or as ["a","b"]), ignore_merges.
//	               dropout, continuing_subword_prefix, end_of_word_suffix and
//	               byte_fallback must be off
//
// Any other type is refused by its name. truncation, padding, the post_processor
// (which adds special tokens) and the decoder do not matter here and are skipped. A
// byte that the vocabulary lacks has no token, as in the library, unless there is an
// unk_token, which is refused.
//
// The library's regular expressions are Oniguruma's. Patterns are taken as far as they mean
// the same to regexp2, and else refused: of escapes \s \S \d \D \w \W \p \P \r \n \t
// and those of signs, no anchors and no dot, no class within a class. Both have Unicode tables of their own, which
// differ in characters that are newer than the older of them.
package tokenizer
