// Package tokens makes prompts of token ids for traces that have only lengths,
// and hashes of their parts: what has one hash has the same ids, so that a
// server's prefix cache meets what it met when the trace was taken.
//
// The ids are a pure function of the vocabulary's size, the hash and the
// place in the block. They never depend on the machine, a seed or other rows.
//
// # Vocabulary
//
// Ids are from 1,000 to N-1, evenly. Below 1,000 are the control tokens, the
// bytes and the unused entries of the usual vocabularies (Llama, Mistral, Qwen,
// Gemma, DeepSeek); the default, N = 32,000, is the smallest of these
// vocabularies, whose special tokens are no higher unless they have more entries.
// What the ids say is no text of any language: an answer to it has no meaning,
// and its length must be asked for.
package tokens

import "fmt"

// First is the lowest id that is made.
const First = 1000

// Default is the vocabulary that fits the usual models.
const Default Vocab = 32000

// Vocab is a number of entries; ids are made from First to it.
type Vocab int32

// Check refuses a vocabulary that is too small to tell blocks apart.
func (v Vocab) Check() error {
	if v < 2*First {
		return fmt.Errorf("a vocabulary of %d entries: want at least %d, since none below %d is used", v, 2*First, First)
	}
	return nil
}

// AppendBlock appends the first n ids of the block with a hash.
func (v Vocab) AppendBlock(dst []int32, hash uint64, n int) []int32 {
	return v.fill(dst, mix(hash), n)
}

// AppendUnique appends the n ids of a prompt that shares no block with others,
// by the number of its row.
func (v Vocab) AppendUnique(dst []int32, row uint64, n int) []int32 {
	return v.fill(dst, ^mix(row), n)
}

// fill is SplitMix64, whose states are its counter's: any seed is a good one.
func (v Vocab) fill(dst []int32, state uint64, n int) []int32 {
	for range n {
		state += 0x9e3779b97f4a7c15
		// The high half times the range: no division, and a bias below 2^-15.
		dst = append(dst, First+int32(mix(state)>>32*uint64(v-First)>>32))
	}
	return dst
}

// mix is the finaliser of SplitMix64, a bijection.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
