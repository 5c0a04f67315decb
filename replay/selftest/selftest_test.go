package selftest

import (
	"net"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/replay"
)

func listen(t *testing.T) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error)
	go func() { over <- Serve(l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	target, err := replay.ParseTarget("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return &Client{Target: target}
}

// Every event arrives after it was sent, and all of them are counted.
func TestStamps(t *testing.T) {
	t.Parallel()
	c := listen(t)
	s, err := c.Stamps(t.Context(), 3, 100, 200*time.Millisecond, false)
	if err != nil {
		t.Fatal(err)
	}
	if s.Chunks != 3*20 || s.Error.P50 <= 0 || s.Error.P99 < s.Error.P50 || s.Error.Max < s.Error.P99 || s.ShareOfGap != float64(s.Error.P99)/1e7 {
		t.Errorf("%+v", s)
	}
}

func TestCoalesced(t *testing.T) {
	t.Parallel()
	c := listen(t)
	got, err := c.Coalesced(t.Context(), 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got.Chunks == 0 || got.Chunks%(64<<10) != 0 || got.PerCore <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestLateness(t *testing.T) {
	t.Parallel()
	c := listen(t)
	got, err := c.Lateness(t.Context(), 500, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got.Sent == 0 || got.Send.P50 < 0 || got.Wrote.P50 < got.Send.P50 {
		t.Errorf("%+v", got)
	}
}

func TestLoadIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := Load{Chunks: rapid.IntRange(0, 1e6).Draw(t, "chunks"), Size: rapid.IntRange(0, 5000).Draw(t, "size")}
		if l.Chunks > 0 {
			l.Gap = time.Duration(rapid.IntRange(0, 1e6).Draw(t, "gap")) * time.Microsecond
		}
		b := l.Body()
		if len(b) < l.Size {
			t.Fatalf("%d bytes instead of %d", len(b), l.Size)
		}
		l.Size = 0
		if got := parseLoad(b); got != l {
			t.Fatalf("%+v instead of %+v", got, l)
		}
	})
}

func TestSentTimes(t *testing.T) {
	t.Parallel()
	if got := SentTimes([]byte(`{"a":1,"sent_nanos":[100,5,7]}`)); len(got) != 3 || got[2] != 112 {
		t.Error(got)
	}
	for _, bad := range []string{``, `{}`, `"sent_nanos":[]`, `"sent_nanos":[1`, `"sent_nanos":[1,x]`} {
		if got := SentTimes([]byte(bad)); got != nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}
