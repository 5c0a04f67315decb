package tokenizer

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A text has as many tokens as it should have, whatever its words.
func TestProseIsExact(t *testing.T) {
	for name := range variants {
		_, tok := variant(t, name)
		p, err := NewProse(tok)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rapid.Check(t, func(t *rapid.T) {
			words := rapid.SliceOf(rapid.Int32Range(0, int32(p.Len()-1))).Draw(t, "words")
			text, err := p.Append([]byte("before"), words)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.TrimPrefix(text, []byte("before"))
			ids, err := tok.Append(nil, string(text))
			if err != nil || len(ids) != len(words) || !bytes.Equal(bytes.TrimSpace(text), text) {
				t.Fatalf("%q: %d tokens, want %d, %v", text, len(ids), len(words), err)
			}
		})
	}
}

// A vocabulary of bytes has no words.
func TestProseNeedsWords(t *testing.T) {
	tok, err := Read(strings.NewReader(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"Ġ":2},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}`), "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewProse(tok); err == nil || !strings.Contains(err.Error(), "has 0 words") {
		t.Error(err)
	}
}

// Words that do not stay what they are, here by an added token across two, are made up for.
func TestProseCorrects(t *testing.T) {
	_, tok := variant(t, "llama3")
	p, err := NewProse(tok)
	if err != nil {
		t.Fatal(err)
	}
	two := p.words[7] + p.words[9]
	for _, content := range []string{two, p.words[7][1:] + p.words[9]} {
		data, err := os.ReadFile("testdata/small.json")
		if err != nil {
			t.Fatal(err)
		}
		tok, err := Read(bytes.NewReader(replaced(t, data, map[string]string{"added_tokens": `[{"id":9999,"content":"` + content + `"}]`})), "t")
		if err != nil {
			t.Fatal(err)
		}
		p.t = tok
		for _, n := range []int{1, 2, 3, 50} {
			var words []int32
			for range n {
				words = append(words, 7, 9)
			}
			text, err := p.Append(nil, words)
			if ids := encode(t, tok, string(text)); err != nil || len(ids) != len(words) {
				t.Errorf("%q: %d tokens, want %d, %v", text, len(ids), len(words), err)
			}
			if plain := strings.Repeat(two, n); n > 2 && len(encode(t, tok, plain[1:])) == len(words) {
				t.Error("nothing was to be corrected")
			}
		}
	}
}

func BenchmarkProse(b *testing.B) {
	_, tok := variant(b, "llama3")
	p, err := NewProse(tok)
	if err != nil {
		b.Fatal(err)
	}
	words := make([]int32, 8192)
	for i := range words {
		words[i] = int32(i*i) % int32(p.Len())
	}
	var text []byte
	for b.Loop() {
		if text, err = p.Append(text[:0], words); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(words))*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}
