package reduce

import (
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	var p progress
	if got := p.status(); got != "pass 1 of 2: 0 rows, 0 requests" {
		t.Error(got)
	}
	p.rows[0].Add(900)
	p.requests[0].Add(100)
	if got := p.status(); got != "pass 1 of 2: 900 rows, 100 requests" {
		t.Error(got)
	}
	p.second.Store(time.Now().Add(-10 * time.Second).UnixNano())
	if got := p.status(); got != "pass 2 of 2: 0 rows, 0 requests" {
		t.Error(got)
	}
	p.rows[1].Add(250)
	if got := p.status(); !strings.HasPrefix(got, "pass 2 of 2: 250 rows, 0 requests (25 %), 3") || !strings.HasSuffix(got, "s left") { // 30 s, and what the test takes
		t.Error(got)
	}
}
