package tokens

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What other machines and later versions must make, too.
func TestGolden(t *testing.T) {
	t.Parallel()
	if got, want := Default.AppendBlock(nil, 0, 4), []int32{28382, 14377, 1819, 31097}; !slices.Equal(got, want) {
		t.Errorf("block 0: %v, want %v", got, want)
	}
	if got, want := Default.AppendUnique(nil, 1, 4), []int32{16367, 22760, 19713, 16455}; !slices.Equal(got, want) {
		t.Errorf("row 1: %v, want %v", got, want)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := Vocab(rapid.Int32Range(2*First, 1<<31-1).Draw(t, "vocab"))
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		n := rapid.IntRange(16, 600).Draw(t, "n")
		block := v.AppendBlock([]int32{7}, a, n)
		if len(block) != n+1 || block[0] != 7 {
			t.Fatalf("%d ids, the first %d", len(block), block[0])
		}
		block = block[1:]
		for _, id := range block {
			if id < First || id >= int32(v) {
				t.Fatalf("id %d", id)
			}
		}
		if !slices.Equal(block, v.AppendBlock(nil, a, 2*n)[:n]) {
			t.Fatal("a shorter block is not the start of the longer one")
		}
		if a != b && slices.Equal(block[:16], v.AppendBlock(nil, b, 16)) {
			t.Fatal("two hashes, one block")
		}
		if slices.Equal(block[:16], v.AppendUnique(nil, b, 16)) {
			t.Fatal("a row shares a block")
		}
	})
}

// The ids are spread over the whole range.
func TestEven(t *testing.T) {
	t.Parallel()
	var tenths [10]int
	for row := range uint64(100) {
		for _, id := range Vocab(11_000).AppendUnique(nil, row, 1000) {
			tenths[(id-First)/1000]++
		}
	}
	for i, n := range tenths {
		if n < 9_500 || n > 10_500 {
			t.Errorf("tenth %d has %d of 100,000", i, n)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if Vocab(1999).Check() == nil || Vocab(2000).Check() != nil || Default.Check() != nil {
		t.Error("the bound is not 2000")
	}
}
