package monitor

import (
	"math"
	"unsafe"
)

// second is what a device drew in one second of Unix time: the mean of its readings.
type second struct {
	at    int64   // seconds of Unix time; 0 is empty
	watts float32 // sum
	n     uint32  // readings
}

const secondSize = int64(unsafe.Sizeof(second{}))

// maxHistory is how many bytes the histories of all devices may have together.
const maxHistory = 64 << 20

// history is the latest seconds of a device. Its memory is all taken at the start.
type history struct {
	ring []second // by at modulo its length
}

func newHistory(seconds int) *history { return &history{make([]second, seconds)} }

func (h *history) add(unixNanos int64, watts float64) {
	at := unixNanos / 1e9
	s := &h.ring[at%int64(len(h.ring))]
	if s.at != at {
		*s = second{at: at}
	}
	s.watts += float32(watts)
	s.n++
}

// mean returns the mean of [from, to), seconds of Unix time; NaN where there is no
// reading.
func (h *history) mean(from, to int64) float64 {
	from = max(from, 0)
	if n := int64(len(h.ring)); to-from > n {
		from = to - n
	}
	sum, n := 0.0, 0
	for at := from; at < to; at++ {
		if s := &h.ring[at%int64(len(h.ring))]; s.at == at && s.n > 0 {
			sum += float64(s.watts) / float64(s.n)
			n++
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// series returns the means of n steps from an instant on.
func (h *history) series(from, step int64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		a := from + int64(i)*step
		out[i] = h.mean(a, a+step)
	}
	return out
}
