package telemetry

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// flips is how many bytes are damaged: make flips has 100,000.
func flips(t *testing.T) int {
	if s := os.Getenv("WATTRACE_FLIPS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 400 / hostileStep
}

// TestFlipsOfARealRecording damages a byte of a real GPU's recording again and
// again, half of the time among its metadata, where it hurts most: each time the
// reader refuses with a position, or gives rows that are valid.
func TestFlipsOfARealRecording(t *testing.T) {
	t.Parallel()
	compressed, err := os.ReadFile(filepath.Join("..", "..", "testdata", "h200", "serve-50ms.arrows.zst"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(compressed), zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	file, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	heads := messageHeads(file)
	rng := rand.New(rand.NewPCG(5, 6))
	refused := 0
	for range flips(t) {
		i := rng.IntN(len(file))
		if rng.IntN(2) == 0 {
			i = heads[rng.IntN(len(heads))]
		}
		mask := byte(1) << rng.IntN(8)
		file[i] ^= mask
		if checkHostile(t, file, 64<<20) {
			refused++
		}
		file[i] ^= mask
	}
	t.Logf("%d of %d refused", refused, flips(t))
	if refused == 0 {
		t.Error("no damage was seen")
	}
}

// messageHeads returns the places of all bytes that are in the prefix or the
// metadata of a message.
func messageHeads(file []byte) (places []int) {
	for at := 0; at+8 <= len(file); {
		size := int(uint32(file[at+4]) | uint32(file[at+5])<<8 | uint32(file[at+6])<<16 | uint32(file[at+7])<<24)
		end := min(len(file), at+8+size)
		for i := at; i < end; i++ {
			places = append(places, i)
		}
		// The body's length is in the metadata; the next message begins with
		// the next continuation mark on a multiple of eight.
		next := bytes.Index(file[end:], []byte{0xff, 0xff, 0xff, 0xff})
		if next < 0 {
			break
		}
		at = end + next
	}
	return places
}
