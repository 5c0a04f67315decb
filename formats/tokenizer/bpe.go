package tokenizer

import (
	"container/heap"
	"fmt"
	"strings"
)

// alphabet is the character that stands for each byte in vocabularies: itself
// where it is printed, else the next of those from U+0100 on.
var alphabet, bytesOf = func() (chars [256]rune, back map[rune]byte) {
	back = map[rune]byte{}
	next := rune(0x100)
	for b := range 256 {
		c := rune(b)
		if !('!' <= c && c <= '~' || 0xa1 <= c && c <= 0xac || 0xae <= c && c <= 0xff) {
			c = next
			next++
		}
		chars[b], back[c] = c, byte(b)
	}
	return chars, back
}()

// spelled returns the bytes that an entry of a vocabulary stands for.
func spelled(entry string) (string, bool) {
	var b strings.Builder
	for _, c := range entry {
		x, ok := bytesOf[c]
		if !ok {
			return "", false
		}
		b.WriteByte(x)
	}
	return b.String(), true
}

// A pair is two tokens beside each other, left in the high half.
type pair uint64

func pairOf(left, right int32) pair { return pair(uint32(left))<<32 | pair(uint32(right)) }

// A merge is what becomes of a pair, and when.
type merge struct {
	rank, id int32
}

// bpe merges the bytes of a word, the pair of the lowest rank first.
type bpe struct {
	bytes  [256]int32 // id of each byte; -1 is none
	merges map[pair]merge
	whole  map[string]int32 // words that are tokens without merging; nil merges all

	cache map[string][]int32
	nodes []node
	queue queue
}

const (
	maxCached     = 1 << 16 // words
	maxCachedWord = 64      // bytes
)

// appendWord appends the ids of a word.
func (m *bpe) appendWord(dst []int32, word string) []int32 {
	if ids, ok := m.cache[word]; ok {
		return append(dst, ids...)
	}
	if id, ok := m.whole[word]; ok {
		return append(dst, id)
	}
	start := len(dst)
	dst = m.merge(dst, word)
	if len(word) <= maxCachedWord {
		if len(m.cache) >= maxCached {
			clear(m.cache)
		}
		m.cache[strings.Clone(word)] = append([]int32(nil), dst[start:]...)
	}
	return dst
}

// A node is a token of the word that is merged.
type node struct {
	id         int32
	prev, next int32 // -1 is none
}

// A candidate is a pair that may be merged, as it was when it was found.
type candidate struct {
	rank, at    int32
	left, right int32
	id          int32
}

type queue []candidate

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}

func (m *bpe) merge(dst []int32, word string) []int32 {
	m.nodes, m.queue = m.nodes[:0], m.queue[:0]
	for i := range len(word) {
		if id := m.bytes[word[i]]; id >= 0 {
			n := int32(len(m.nodes))
			m.nodes = append(m.nodes, node{id, n - 1, n + 1})
		}
	}
	if len(m.nodes) == 0 {
		return dst
	}
	m.nodes[len(m.nodes)-1].next = -1
	for i := range m.nodes {
		if c, ok := m.candidate(int32(i)); ok {
			m.queue = append(m.queue, c)
		}
	}
	heap.Init(&m.queue)
	for len(m.queue) > 0 {
		c := heap.Pop(&m.queue).(candidate)
		left := &m.nodes[c.at]
		// A merge takes the right node away, and each changes an id.
		if left.id != c.left || left.next < 0 || m.nodes[left.next].id != c.right {
			continue
		}
		right := &m.nodes[left.next]
		left.id, left.next = c.id, right.next
		right.id = -1
		if left.next >= 0 {
			m.nodes[left.next].prev = c.at
		}
		for _, at := range []int32{left.prev, c.at} {
			if c, ok := m.candidate(at); ok {
				heap.Push(&m.queue, c)
			}
		}
	}
	for at := int32(0); at >= 0; at = m.nodes[at].next {
		dst = append(dst, m.nodes[at].id)
	}
	return dst
}

// candidate is the pair that begins at a node, if it may be merged.
func (m *bpe) candidate(at int32) (candidate, bool) {
	if at < 0 || m.nodes[at].next < 0 {
		return candidate{}, false
	}
	left, right := m.nodes[at].id, m.nodes[m.nodes[at].next].id
	to, ok := m.merges[pairOf(left, right)]
	return candidate{to.rank, at, left, right, to.id}, ok
}

// newBPE builds the model.
func newBPE(f *model) (*bpe, error) {
	m := &bpe{merges: make(map[pair]merge, len(f.Merges)), cache: map[string][]int32{}}
	for b := range m.bytes {
		m.bytes[b] = -1
		if id, ok := f.Vocab[string(alphabet[b])]; ok {
			m.bytes[b] = id
		} else if f.UnkToken != nil && *f.UnkToken != "" {
			return nil, fmt.Errorf("model: an unk_token stands for bytes that the vocabulary lacks, as 0x%02x: that is not byte-level", b)
		}
	}
	for i, two := range f.Merges {
		left, ok := f.Vocab[two.left]
		right, ok2 := f.Vocab[two.right]
		id, ok3 := f.Vocab[two.left+two.right]
		if !ok || !ok2 || !ok3 {
			return nil, fmt.Errorf("model: merge %d is of or makes a token that the vocabulary lacks", i+1)
		}
		m.merges[pairOf(left, right)] = merge{int32(i), id}
	}
	if f.IgnoreMerges {
		m.whole = make(map[string]int32, len(f.Vocab))
		for entry, id := range f.Vocab {
			if word, ok := spelled(entry); ok {
				m.whole[word] = id
			}
		}
	}
	return m, nil
}
