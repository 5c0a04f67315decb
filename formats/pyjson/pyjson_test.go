package pyjson

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``:                         ``,
		`{"a":NaN,"b":-Infinity}`:  `{"a":"" ,"b":""       }`,
		`[Infinity,-1,NaN]`:        `[""      ,-1,"" ]`,
		`["NaN","\"NaN","\\",NaN]`: `["NaN","\"NaN","\\","" ]`,
		`["é NaN",{"NaN":-2}]`:     `["é NaN",{"NaN":-2}]`,
		`[-Inf]`:                   `[-Inf]`,
		`NaN`:                      `"" `,
		`-`:                        `-`,
		`["` + strings.Repeat("x", 200000) + `",NaN]`: `["` + strings.Repeat("x", 200000) + `","" ]`,
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)), "with EOF": iotest.DataErrReader(strings.NewReader(in)),
		} {
			got, err := io.ReadAll(NewReader(r))
			if err != nil || string(got) != want {
				t.Errorf("%.40s (%s): %.60s, %v", in, name, got, err)
			}
		}
	}
	broken := errors.New("broken")
	if got, err := io.ReadAll(NewReader(io.MultiReader(strings.NewReader(`[1,Na`), iotest.ErrReader(broken)))); err != broken || string(got) != `[1,Na` {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	const in = "{\n \"a\":\n1}"
	for offset, want := range map[int64]string{0: "f:1:1", 1: "f:1:2", 2: "f:2:1", 4: "f:2:3", 9: "f:3:2"} {
		if got, err := Position(strings.NewReader(in), "f", offset); err != nil || got.String() != want {
			t.Errorf("%d: %v, %v", offset, got, err)
		}
	}
	if _, err := Position(strings.NewReader(in), "f", 99); err == nil {
		t.Error("an offset past the end")
	}
}

// FuzzReader: the length stays, and nothing changes but a word that is no number.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"a":NaN,"b":[-Infinity,"NaN\\"]}`), 3)
	f.Fuzz(func(t *testing.T, in []byte, _ int) {
		got, err := io.ReadAll(NewReader(strings.NewReader(string(in))))
		if err != nil || len(got) != len(in) {
			t.Fatal(err, len(got), len(in))
		}
		slow, _ := io.ReadAll(NewReader(iotest.OneByteReader(strings.NewReader(string(in)))))
		if string(slow) != string(got) {
			t.Fatalf("%q, in pieces %q", got, slow)
		}
		for i := range in {
			if in[i] != got[i] && !strings.ContainsRune("-InfityNa", rune(in[i])) {
				t.Fatalf("%q became %q", in, got)
			}
		}
	})
}
