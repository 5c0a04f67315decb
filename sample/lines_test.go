package sample

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// TestLines stamps lines when they come, and stops with the pipe.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go func() {
			io.WriteString(w, "a\n\n\v\u00a0\nb \r\n")
			time.Sleep(time.Second)
			io.WriteString(w, "c")
			time.Sleep(time.Second)
			io.WriteString(w, "d\n")
			w.Close()
		}()
		type line struct {
			Text string
			At   time.Duration
		}
		var got []line
		err := Lines(t.Context(), r, "-", bubble().now, func(text []byte, at trace.Time) error {
			got = append(got, line{string(text), at.Sub(0)})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if diff := gocmp.Diff([]line{{"a", 0}, {"b", 0}, {"cd", 2 * time.Second}}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestLinesFail: the first line that cannot be read ends it, with its number.
func TestLinesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]string{
			"a\n\nbad\nbad\n":                  "-:3: bad",
			"a\ncut":                           "-:2: the last line has no end",
			"a\n" + strings.Repeat("x", 70000): "-:2: the line is longer than 64 KiB",
		} {
			err := Lines(t.Context(), strings.NewReader(text), "-", bubble().now, func(line []byte, _ trace.Time) error {
				if string(line) == "bad" {
					return errors.New("bad")
				}
				return nil
			})
			if err == nil || err.Error() != want {
				t.Errorf("%.10q: %v, want %s", text, err, want)
			}
		}
	})
}

// TestLinesEnd: the end of ctx is heard while nothing comes, and one that cut
// a line makes no fault of it.
func TestLinesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, text := range []string{"", "cut"} {
			r, w := io.Pipe()
			go func() {
				io.WriteString(w, text)
				if text != "" {
					w.Close()
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), cutPatience/2)
			if err := Lines(ctx, r, "-", bubble().now, nil); err != nil {
				t.Errorf("%q: %v", text, err)
			}
			cancel()
			r.Close()
		}
	})
}

func TestFromWall(t *testing.T) {
	t.Parallel()
	clock := trace.NewSteadyClock()
	arrived := clock.Now().Add(-time.Minute) // it is looked at later
	wall := time.Unix(0, clock.Clock().Anchor.UnixNanos).Add(arrived.Sub(0))
	for _, c := range []struct{ late, want time.Duration }{
		{0, 0}, {20 * time.Millisecond, 20 * time.Millisecond}, {9 * time.Minute, 9 * time.Minute}, {-900 * time.Millisecond, 0},
	} {
		at, err := FromWall(clock, wall.Add(-c.late), arrived)
		if got := arrived.Sub(at); err != nil || (got-c.want).Abs() > 5*time.Millisecond {
			t.Errorf("%v late: %v, %v", c.late, got, err)
		}
	}
	for late, want := range map[time.Duration]string{
		-2 * time.Hour: "its time is 2h0m0s after the one of this host: it has another time zone (TZ) or clock",
		2 * time.Hour:  "its time is 2h0m0s ago: it has another time zone (TZ) or clock, or is old",
	} {
		if _, err := FromWall(clock, wall.Add(-late), arrived); err == nil || err.Error() != want {
			t.Errorf("%v late: %v", late, err)
		}
	}
}
