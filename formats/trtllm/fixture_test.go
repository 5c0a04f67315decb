package trtllm

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

const fixture = "../../testdata/trtllm-bench"

// The fixture has the lengths that its README promises.
func TestFixture(t *testing.T) {
	t.Parallel()
	in, err := os.ReadFile(fixture + "/azure200.csv")
	if err != nil {
		t.Fatal(err)
	}
	lengths, err := csv.NewReader(bytes.NewReader(in)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	eighth := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return max(1, n/8)
	}
	f, err := os.Open(fixture + "/azure200.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := NewReader(f, "azure200.jsonl")
	for i := 0; ; i++ {
		var row Row
		err := r.Read(&row)
		if err == io.EOF {
			if i != 200 || len(lengths) != 201 {
				t.Errorf("%d rows, %d lengths", i, len(lengths)-1)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		input, output := eighth(lengths[i+1][1]), eighth(lengths[i+1][2])
		if row.TaskID != strconv.Itoa(i) || row.OutputTokens != int64(output) {
			t.Errorf("row %d: id %s, %d output tokens, want %d", i, row.TaskID, row.OutputTokens, output)
		}
		if i%2 == 1 {
			if len(row.IDs) != input {
				t.Errorf("row %d: %d ids, want %d", i, len(row.IDs), input)
			}
			continue
		}
		var text string
		if err := json.Unmarshal(row.Prompt, &text); err != nil {
			t.Fatal(err)
		}
		if n := len(strings.Fields(text)); n != max(1, input*3/4) {
			t.Errorf("row %d: %d words for %d tokens", i, n, input)
		}
	}
}

// The generator still makes the fixture, byte for byte.
func TestGenerateFixture(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles a program")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command("go", "run", "generate.go", "-")
	cmd.Dir = fixture
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(fixture + "/azure200.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("generate.go makes another file than the one that is there")
	}
}
