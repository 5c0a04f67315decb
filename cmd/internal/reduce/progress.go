package reduce

import (
	"fmt"
	"sync/atomic"
	"time"
)

// progress counts what was read, in each of the two passes.
type progress struct {
	rows, requests [2]atomic.Int64
	second         atomic.Int64 // when the second pass began, in Unix nanoseconds; 0 is not yet
}

// status is the line that is shown. The second pass has as much to read as the first had.
func (p *progress) status() string {
	pass, begun := 0, p.second.Load()
	if begun != 0 {
		pass = 1
	}
	rows, requests := p.rows[pass].Load(), p.requests[pass].Load()
	line := fmt.Sprintf("pass %d of 2: %d rows, %d requests", pass+1, rows, requests)
	all, done := p.rows[0].Load()+p.requests[0].Load(), rows+requests
	if pass == 1 && done > 0 && all >= done {
		since := time.Since(time.Unix(0, begun))
		left := time.Duration(float64(since) / float64(done) * float64(all-done))
		line += fmt.Sprintf(" (%d %%), %v left", 100*done/all, left.Round(time.Second))
	}
	return line
}
