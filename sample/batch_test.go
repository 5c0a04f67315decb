package sample

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// rowsOf says what the rows hold: equal ones may be in columns of other lengths.
func rowsOf(b *Batch) []string {
	var rows []string
	for i := range b.Len() {
		row := fmt.Sprint(b.Time[i], b.Took[i], b.Device[i], b.Status[i], b.MarkOf(i))
		for id := range NumMetrics {
			if v, ok := b.Float(id, i); ok {
				row += fmt.Sprint(" ", id, v)
			} else if v, ok := b.Uint(id, i); ok {
				row += fmt.Sprint(" ", id, v)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// Rows that are added together are those that are added one by one, whatever
// columns either batch has.
func TestAppendRows(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		together, single := new(Batch), new(Batch)
		for part := range 4 {
			from := new(Batch)
			for i := range r.IntN(6) {
				row := from.Append(r.IntN(3), trace.Time(10*part+i), time.Duration(i))
				if r.IntN(3) == 0 {
					row.Set(PowerWatts, r.Float64())
				}
				if r.IntN(3) == 0 {
					row.SetUint(MemoryUsedBytes, r.Uint64())
				}
				if r.IntN(3) == 0 {
					row.Mark(Mark{MarkNote, "n"})
				}
				if r.IntN(3) == 0 {
					row.Fail(EnergyJoules, "LOST")
				}
			}
			a := r.IntN(from.Len() + 1)
			z := a + r.IntN(from.Len()-a+1)
			together.AppendRows(from, a, z)
			for i := a; i < z; i++ {
				single.AppendFrom(from, i, int(from.Device[i]))
			}
		}
		if diff := cmp.Diff(rowsOf(single), rowsOf(together)); diff != "" {
			t.Fatal(diff)
		}
	}
}
