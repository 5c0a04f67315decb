package formats

import (
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// AppendMember appends a member to the object dst, which is empty or lacks its
// closing brace.
func AppendMember(dst []byte, m *trace.Member) []byte {
	sep := byte(',')
	if len(dst) == 0 {
		sep = '{'
	}
	dst, _ = jsontext.AppendQuote(append(dst, sep), m.Name) // fails on what has been found valid
	return append(append(dst, ':'), m.Value...)
}

// AppendIDs appends the token ids of v, which is known to be valid JSON and must be an array of
// integers from 0 to 2^31-1. Where it is not, bad is the offset of what is wrong:
// 0 if v is no array. Else it is -1.
func AppendIDs(dst []int32, v []byte) (ids []int32, bad int) {
	if v[0] != '[' {
		return dst, 0
	}
	for i := 1; ; {
		for between(v[i]) {
			i++
		}
		if v[i] == ']' {
			return dst, -1
		}
		start, id := i, int64(0)
		for ; '0' <= v[i] && v[i] <= '9' && id <= math.MaxInt32; i++ {
			id = 10*id + int64(v[i]-'0')
		}
		// Anything else than digits up to the next delimiter is no token id.
		if id > math.MaxInt32 || !between(v[i]) && v[i] != ']' {
			return dst, start
		}
		dst = append(dst, int32(id))
	}
}

// AppendHashes appends the hashes of v, as AppendIDs does ids: an array of integers
// from 0 to 2^64-1.
func AppendHashes(dst []uint64, v []byte) (hashes []uint64, bad int) {
	if v[0] != '[' {
		return dst, 0
	}
	for i := 1; ; {
		for between(v[i]) {
			i++
		}
		if v[i] == ']' {
			return dst, -1
		}
		start := i
		for '0' <= v[i] && v[i] <= '9' {
			i++
		}
		// Anything else than digits up to the next delimiter is no hash.
		hash, err := strconv.ParseUint(string(v[start:i]), 10, 64)
		if err != nil || !between(v[i]) && v[i] != ']' {
			return dst, start
		}
		dst = append(dst, hash)
	}
}

// between reports whether c stands between the elements of an array.
func between(c byte) bool {
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n'
}
