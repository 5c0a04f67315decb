package measure

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"hash/fnv"
	"os"
	"strconv"

	"wattrace/formats/summary"
	"wattrace/formats/tokens"
	"wattrace/trace"
)

// writeSynthetic writes a trace of prompts of token ids, exact to the token, and beside it
// the side file that says what is expected of them. The same values give the same bytes.
func writeSynthetic(path string, s *summary.Synthetic) (*summary.Trace, error) {
	sum := sha256.New()
	err := writeWhole(path, func(f *os.File) error {
		w := trace.NewWriter(hashed{f, sum})
		rows := firstRow(s.Seed, s.Run)
		var ids []int32
		var body []byte
		for i := range uint64(s.Requests) {
			ids = tokens.Default.AppendUnique(ids[:0], rows+i, s.InputTokens)
			var err error
			if body, err = appendBody(body[:0], s, ids); err != nil {
				return err
			}
			if err := w.Write(body); err != nil {
				return err
			}
		}
		return w.Flush()
	})
	if err != nil {
		return nil, err
	}
	err = writeWhole(path+trace.TimingSuffix, func(f *os.File) error {
		w := trace.NewTimingWriter(f)
		for line := range s.Requests {
			if err := w.Write(trace.TimingEntry{Line: line + 1, Timing: trace.Timing{
				InputTokens: trace.Some(int64(s.InputTokens)), OutputTokens: trace.Some(int64(s.OutputTokens)),
			}}); err != nil {
				return err
			}
		}
		return w.Flush()
	})
	return &summary.Trace{Path: path, SHA256: hex.EncodeToString(sum.Sum(nil)), Turns: s.Requests, Synthetic: s}, err
}

// hashed writes to a file and a hash.
type hashed struct {
	f   *os.File
	sum hash.Hash
}

func (h hashed) Write(p []byte) (int, error) {
	h.sum.Write(p)
	return h.f.Write(p)
}

// firstRow is the number of a run's first row, from which its prompts follow: far from
// that of any other run and seed.
func firstRow(seed uint64, run int) uint64 {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], seed)
	binary.LittleEndian.PutUint64(b[8:], uint64(run))
	h.Write(b[:])
	return h.Sum64()
}

// appendBody appends a completion of token ids whose answer has an exact length, as far
// as the kind of server can be asked for one.
func appendBody(dst []byte, s *summary.Synthetic, ids []int32) ([]byte, error) {
	model, err := json.Marshal(s.Model)
	if err != nil {
		return nil, err
	}
	dst = append(append(append(dst, `{"model":`...), model...), `,"prompt":[`...)
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(id), 10)
	}
	dst = strconv.AppendInt(append(dst, `],"max_tokens":`...), int64(s.OutputTokens), 10)
	if exact(s.Target) {
		dst = strconv.AppendInt(append(dst, `,"min_tokens":`...), int64(s.OutputTokens), 10)
		dst = append(dst, `,"ignore_eos":true,"temperature":0`...)
	}
	return append(dst, `,"stream":true,"stream_options":{"include_usage":true}}`...), nil
}

// exact reports whether a kind of server knows ignore_eos.
func exact(target string) bool { return target != "openai" }
