package tokenizer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "have Python write the expected ids anew")

const (
	llama3   = `"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"`
	o200k    = `"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"`
	deepseek = `"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"`

	bare = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}`
)

func split(pattern string) string {
	return `{"type":"Split","pattern":{"Regex":` + pattern + `},"behavior":"Isolated","invert":false}`
}

func sequence(steps ...string) string {
	return `{"type":"Sequence","pretokenizers":[` + strings.Join(steps, ",") + `]}`
}

// variants are tokenizers of the kinds that models have, all with one vocabulary: members
// of the file that are replaced. "model" is merged.
var variants = map[string]map[string]string{
	"llama3": nil,
	"gpt2": {
		"pre_tokenizer": `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true}`,
		"model":         `{"ignore_merges":false}`,
	},
	"prefix": {"pre_tokenizer": `{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}`},
	"qwen": {
		"normalizer":    `{"type":"NFC"}`,
		"pre_tokenizer": sequence(split(strings.Replace(llama3, "{1,3}", "", 1)), bare),
		"model":         `{"continuing_subword_prefix":"","end_of_word_suffix":"","unk_token":""}`,
	},
	"o200k": {"pre_tokenizer": sequence(strings.Replace(split(o200k), `"Isolated","invert":false`, `"Removed","invert":true`, 1), bare)},
	"deepseek": {
		"normalizer":    `{"type":"Sequence","normalizers":[]}`,
		"pre_tokenizer": sequence(split(`"\\p{N}{1,3}"`), split(`"[一-龥぀-ゟ゠-ヿ]+"`), split(deepseek), bare),
	},
	"starcoder": {"pre_tokenizer": sequence(`{"type":"Digits","individual_digits":true}`, `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`)},
	"kd": {
		"normalizer":    `{"type":"Sequence","normalizers":[{"type":"NFKD"},{"type":"NFKC"}]}`,
		"pre_tokenizer": sequence(`{"type":"Digits","individual_digits":false}`, `{"type":"Split","pattern":{"String":"."},"behavior":"Isolated","invert":false}`, bare),
	},
	"added": {
		"normalizer": `{"type":"NFD"}`,
		"added_tokens": `[
			{"id":0,"content":"<|begin|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
			{"id":1,"content":"<|end|>","single_word":false,"lstrip":true,"rstrip":true,"normalized":false,"special":true},
			{"id":2300,"content":"<|end|>x","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false},
			{"id":2301,"content":"word","single_word":true,"lstrip":false,"rstrip":false,"normalized":true,"special":false},
			{"id":2302,"content":"é","single_word":false,"lstrip":true,"rstrip":false,"normalized":true,"special":false}]`,
	},
}

// variant returns the file of one, and what it says.
func variant(t testing.TB, name string) ([]byte, *Tokenizer) {
	t.Helper()
	data, err := os.ReadFile("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	data = replaced(t, data, variants[name])
	tok, err := Read(bytes.NewReader(data), name)
	if err != nil {
		t.Fatal(err)
	}
	return data, tok
}

func replaced(t testing.TB, data []byte, members map[string]string) []byte {
	t.Helper()
	var f map[string]json.RawMessage
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	for key, value := range members {
		if key != "model" {
			f[key] = json.RawMessage(value)
			continue
		}
		var m, more map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(f[key], &m), json.Unmarshal([]byte(value), &more)); err != nil {
			t.Fatal(err)
		}
		for k, v := range more {
			m[k] = v
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		f[key] = b
	}
	out, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pieces are what texts are made of: what patterns tell apart, what has several
// forms, what is added, and what looks like it.
var pieces = []string{
	" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u0085", "\u2028", "\v", "\x1c", "\u200b", "\ufeff", "\x00",
	"'", "'s", "'S", "'\u017f", "'LL", "'re", "’s", "'d've", "the", " the", "The", " word", "word", "wordy", "energy", "ENERGY", " GPU",
	"1", "12", "123", "1234567", "٣٤", "½", "Ⅷ", "²", "é", "e\u0301", "ﬁ", "Å", "\u212b", "ß", "ŉ", "İ", "ǅ", "ʰ",
	"中文", "日本語テキスト", "ひらがな", "한국어", "\u1112\u1161\u11ab", "नमस्ते", "عربى", "שלום", "ไทย",
	"😀", "👩\u200d👩\u200d👧", "🇩🇪", "\U0001F3FD", "\u0301", "\u0327\u0301", "\u0301\u0327", "\ue000", "\U0010ffff", "\ufffd",
	"<|begin|>", "<|end|>", "<|end|>x", "<|end", "<|", "!", "...", "!?", "//", "\\", "\"", "_", "-", "/", "$^.", "{}", "func ", "\n\n\n", "    ",
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(30) {
		switch r.IntN(8) {
		case 0: // any letter of what all tables know
			b.WriteRune([]rune{0, 0x80, 0x100, 0x370, 0x400, 0x5d0, 0x900, 0x1e00, 0x2000, 0x3040, 0x4e00, 0xac00}[r.IntN(12)] + rune(r.IntN(64)))
		case 1:
			b.WriteString(strings.Repeat(pieces[r.IntN(len(pieces))], r.IntN(5)))
		default:
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
	}
	return b.String()
}

// hostile are texts for which some way of doing it is slow, or wrong.
func hostile() []string {
	return []string{
		"", " ", strings.Repeat("a", 100_000), strings.Repeat(" ", 100_000), strings.Repeat(" ", 100_000) + "x", strings.Repeat("the ", 20_000),
		strings.Repeat("\n ", 20_000), strings.Repeat("<|end", 5_000), strings.Repeat("<|end|>", 5_000), strings.Repeat("1", 10_001),
		"a" + strings.Repeat("\u0301", 100), "q" + strings.Repeat("\u0327\u0301", 40) + "e" + strings.Repeat("\u0301\u0323", 33),
		strings.Repeat("\u0301", 64), "\u1100" + strings.Repeat("\u1161", 40), strings.Repeat("😀", 3_000), strings.Repeat("'s", 3_000),
	}
}

func encode(t testing.TB, tok *Tokenizer, text string) []int32 {
	t.Helper()
	ids, err := tok.Append(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	if ids == nil {
		ids = []int32{}
	}
	return ids
}

// byPython returns the library's ids.
func byPython(t *testing.T, file []byte, texts []string) [][]int32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	var in bytes.Buffer
	for _, s := range texts {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(b, '\n'))
	}
	cmd := exec.Command("python3", "../../testdata/interop/tokens.py", path)
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]int32
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var ids []int32
		if err := d.Decode(&ids); err != nil {
			t.Fatal(err)
		}
		all = append(all, ids)
	}
	if len(all) != len(texts) {
		t.Fatalf("%d answers to %d texts", len(all), len(texts))
	}
	return all
}

func needPython(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("python3", "-c", "import tokenizers").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("left out: %v %s", err, lines[len(lines)-1])
	}
}

// TestInteropTokenizers compares with the library that the format is of, on random
// and on hostile texts. WATTRACE_TOKENIZERS names tokenizer.json files of models,
// parted by colons, that are compared too.
func TestInteropTokenizers(t *testing.T) {
	needPython(t)
	texts := hostile()
	r := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		texts = append(texts, randomText(r))
	}
	for _, path := range []string{"doc.go", "tokenizer_test.go", "../../README.md", "../../go.sum"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	compare := func(t *testing.T, file []byte, tok *Tokenizer) {
		for i, want := range byPython(t, file, texts) {
			got := encode(t, tok, texts[i])
			if !slices.Equal(got, want) {
				t.Fatalf("%q:\ngot  %d\nwant %d", texts[i], got, want)
			}
		}
	}
	for name := range variants {
		t.Run(name, func(t *testing.T) {
			file, tok := variant(t, name)
			compare(t, file, tok)
		})
	}
	for _, path := range filepath.SplitList(os.Getenv("WATTRACE_TOKENIZERS")) {
		t.Run(path, func(t *testing.T) {
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tok, err := Read(bytes.NewReader(file), path)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, file, tok)
		})
	}
}

// An expected line says what the library made of a text.
type expected struct {
	Variant string  `json:"variant"`
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
}

const expectedPath = "testdata/expected.jsonl"

// The ids of the library, as they were written down.
func TestExpected(t *testing.T) {
	if *update {
		needPython(t)
		writeExpected(t)
	}
	f, err := os.Open(expectedPath)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	toks, n := map[string]*Tokenizer{}, 0
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		var e expected
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if toks[e.Variant] == nil {
			_, toks[e.Variant] = variant(t, e.Variant)
		}
		for range 2 { // the second time from the cache
			if got := encode(t, toks[e.Variant], e.Text); !slices.Equal(got, e.IDs) {
				t.Fatalf("%s: %q:\ngot  %d\nwant %d", e.Variant, e.Text, got, e.IDs)
			}
		}
	}
	if n < 500 || len(toks) != len(variants) {
		t.Errorf("%d lines of %d variants", n, len(toks))
	}
}

func writeExpected(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	texts := slices.Clone(pieces)
	for range 60 {
		texts = append(texts, randomText(r))
	}
	var out bytes.Buffer
	var names []string
	for name := range variants {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		file, _ := variant(t, name)
		for i, ids := range byPython(t, file, texts) {
			e := json.NewEncoder(&out)
			e.SetEscapeHTML(false)
			if err := e.Encode(expected{name, texts[i], ids}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(expectedPath, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// What is not supported is refused by its name, and what is broken by its place.
func TestReadErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, value, want string }{
		{"model", `{"type":"Unigram","vocab":[["a",-1.5]]}`, `model: the type "Unigram" is not supported, BPE on bytes is`},
		{"model", `{"type":"WordPiece"}`, `model: the type "WordPiece" is not supported, BPE on bytes is`},
		{"model", `{"vocab":{}}`, ""},
		{"model", `{"dropout":0.1}`, `model: dropout is not supported: the same text would have different tokens`},
		{"model", `{"continuing_subword_prefix":"##"}`, `model: continuing_subword_prefix is not supported`},
		{"model", `{"end_of_word_suffix":"</w>"}`, `model: end_of_word_suffix is not supported`},
		{"model", `{"byte_fallback":true}`, `model: byte_fallback is not supported: bytes must be tokens, by a ByteLevel`},
		{"model", `{"merges":["a b c"]}`, `a merge must be "a b" or ["a","b"]`},
		{"model", `{"merges":[["a"]]}`, `a merge must be "a b" or ["a","b"]`},
		{"model", `{"merges":[7]}`, `a merge must be "a b" or ["a","b"]`},
		{"model", `{"merges":[["zq","qz"]]}`, `model: merge 1 is of or makes a token that the vocabulary lacks`},
		{"model", `{"vocab":{"a":0},"merges":[],"unk_token":"a"}`, `model: an unk_token stands for bytes that the vocabulary lacks, as 0x00: that is not byte-level`},
		{"model", `{"vocab":{"a":-1},"merges":[]}`, `model: an id of -1`},
		{"normalizer", `{"type":"Lowercase"}`, `normalizer: the type "Lowercase" is not supported; NFC, NFD, NFKC, NFKD and a Sequence are`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"Prepend"}]}`, `normalizer: the type "Prepend" is not supported; NFC, NFD, NFKC, NFKD and a Sequence are`},
		{"normalizer", `7`, `normalizer: not an object with a type`},
		{"pre_tokenizer", `null`, `pre_tokenizer: without a ByteLevel at its end: only BPE on bytes is supported`},
		{"pre_tokenizer", `{"type":"Metaspace"}`, `pre_tokenizer: the type "Metaspace" is not supported; ByteLevel, Split, Digits and a Sequence are`},
		{"pre_tokenizer", sequence(bare, split(llama3)), `pre_tokenizer: a ByteLevel that something follows is not supported`},
		{"pre_tokenizer", split(llama3), `pre_tokenizer: without a ByteLevel at its end: only BPE on bytes is supported`},
		{"pre_tokenizer", strings.Replace(split(llama3), "Isolated", "MergedWithNext", 1), `pre_tokenizer: Split: the behavior "MergedWithNext" (invert: false) is not supported`},
		{"pre_tokenizer", `{"type":"Split","pattern":{},"behavior":"Isolated"}`, `pre_tokenizer: Split: neither a Regex nor a String`},
		{"pre_tokenizer", split(`"\\h+"`), `pre_tokenizer: Split: the pattern has the escape \h, which is not known to mean the same everywhere`},
		{"pre_tokenizer", split(`"[a&&[b]]"`), `pre_tokenizer: Split: the pattern has a class within a class`},
		{"pre_tokenizer", split(`"^a"`), `pre_tokenizer: Split: the pattern has '^', which does not mean the same everywhere`},
		{"pre_tokenizer", split(`"(a"`), `pre_tokenizer: Split: the pattern is not understood: `},
		{"pre_tokenizer", split(`"a{2}+"`), `pre_tokenizer: Split: the pattern has "}+", which does not mean the same everywhere`},
		{"added_tokens", `[{"id":-5,"content":"xq"}]`, `added_tokens: an id of -5`},
	} {
		_, err := Read(bytes.NewReader(replaced(t, data, map[string]string{c.key: c.value})), "t.json")
		switch {
		case c.want == "" && err == nil:
		case err == nil || !strings.HasPrefix(err.Error(), "t.json: "+c.want):
			t.Errorf("%s %s: %v, want %s", c.key, c.value, err, c.want)
		}
	}
	for in, want := range map[string]string{
		"":                                      "t.json:1:1: not JSON",
		"[]":                                    `t.json:1:1: "" must not be an array`,
		"{\n\"model\": {]":                      "t.json:2:11: not JSON",
		"{}":                                    "t.json: no model: this is no tokenizer.json",
		`{"model":{"type":"BPE"}}`:              "t.json: model: no vocab",
		"{\n\"added_tokens\":[{\"id\":\"0\"}]}": "t.json:2:",
		`{"task_id":0,"prompt":"x"}`:            "t.json: no model: this is no tokenizer.json",
	} {
		if _, err := Read(strings.NewReader(in), "t.json"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
}

// Whatever a file says, there is an answer; and every text has tokens by what is left.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel"}}`), "ab a b")
	f.Add([]byte(`{"added_tokens":[{"id":7,"content":"x","lstrip":true,"rstrip":true}],"normalizer":{"type":"NFC"},"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":`+sequence(split(llama3), bare)+`}`), "a  x  x e\u0301")
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		tok, err := Read(bytes.NewReader(file), "t")
		if err != nil || !utf8.ValidString(text) {
			return
		}
		ids, err := tok.Append(nil, text)
		if again, err2 := tok.Append(nil, text); err == nil && (err2 != nil || cmp.Diff(ids, again) != "") {
			t.Fatalf("%q: %d, then %d, %v", text, ids, again, err2)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"llama3", "gpt2", "o200k"} {
		b.Run(name, func(b *testing.B) {
			_, tok := variant(b, name)
			var ids []int32
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if ids, err = tok.Append(ids[:0], string(text)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(ids))*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

func ExampleTokenizer_Append() {
	f, err := os.Open("testdata/small.json")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	t, err := Read(f, f.Name())
	if err != nil {
		panic(err)
	}
	ids, err := t.Append(nil, "the energy of a request")
	fmt.Println(len(ids), err)
	// Output: 5 <nil>
}
