package nvidiasmi

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

const liveHeader = "timestamp, index, power.draw [W], utilization.gpu [%]\n"

// stamp is what nvidia-smi writes at a time.
func stamp(t time.Time) string { return t.Local().Format("2006/01/02 15:04:05.000") }

// TestFeed has two GPUs every 60 ms whose rows all come 5 s late, as out of a
// buffer, and one that comes at once.
func TestFeed(t *testing.T) {
	t.Parallel()
	clock := trace.NewSteadyClock()
	anchor := time.Unix(0, clock.Clock().Anchor.UnixNanos)
	first := anchor.Add(-5 * time.Second).Truncate(time.Millisecond)
	text := liveHeader
	for i := range 3 {
		at := stamp(first.Add(time.Duration(i) * 60 * time.Millisecond))
		text += fmt.Sprintf("%s, 0, %d.50 W, 40 %%\n%s, 1, [N/A], 0 %%\n", at, 300+i, at)
	}
	text += liveHeader + stamp(time.Now()) + ", 0, 500.00 W, 100 %\n"
	f := NewFeed(io.NopCloser(strings.NewReader(text)), "-", clock)
	var in sample.Inbox
	if err := f.Run(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	b := in.Collect()
	host, _ := os.Hostname()
	want := []sample.Device{
		{ID: "nvidia-smi:" + host + ":0", Host: host, Source: sample.NVIDIASMI, Scope: sample.ScopeGPU},
		{ID: "nvidia-smi:" + host + ":1", Host: host, Index: 1, Source: sample.NVIDIASMI, Scope: sample.ScopeGPU},
	}
	if diff := cmp.Diff(want, b.Devices); diff != "" {
		t.Error(diff)
	}
	if b.Len() != 7 {
		t.Fatalf("%d rows", b.Len())
	}
	for i := range 7 { // the rows of GPU 0 come one row later, and the last of both at the end
		device, k := int(b.Device[i]), 0
		for _, d := range b.Device[:i] {
			if int(d) == device {
				k++
			}
		}
		w, ok := b.Float(sample.PowerWatts, i)
		if device == 0 && k == 3 {
			if took := b.Took[i]; took < time.Millisecond || took > time.Second || w != 500 {
				t.Errorf("the row that came at once: %v W, took %v", w, took)
			}
			continue
		}
		at := trace.Time(first.Sub(anchor)) + trace.Time(k*60*int(time.Millisecond))
		if off := b.Time[i].Sub(at).Abs(); off > 5*time.Millisecond {
			t.Errorf("row %d: at %v, %v off", i, b.Time[i], off)
		}
		if ok != (device == 0) || ok && w != 300.5+float64(k) {
			t.Errorf("row %d: %v, %v", i, w, ok)
		}
		least, most := 55*time.Millisecond, 65*time.Millisecond
		if device == 0 && k == 2 { // the next row came seconds later
			least, most = longestRow, longestRow
		}
		if took := b.Took[i]; took < least || took > most {
			t.Errorf("row %d: took %v", i, took)
		}
	}
	if b.Status[6] != "power_watts=NOT_SUPPORTED" {
		t.Error(b.Status[6])
	}
	if u, _ := b.Float(sample.GPUUtilization, 5); u != 1 {
		t.Errorf("utilisation %v", u)
	}
}

// TestFeedFails: a line that cannot be read ends the feed, after the rows
// before it.
func TestFeedFails(t *testing.T) {
	t.Parallel()
	good := stamp(time.Now()) + ", 0, 300.00 W, 40 %\n"
	for _, c := range []struct {
		text, want string
		rows       int
	}{
		{liveHeader, "", 0},
		{"", "", 0},
		{good, "-:1: the log has no header that says what its columns are", 0},
		{liveHeader + good + strings.Replace(good, " W", " mW", 1) + good, "-:3:29: not in the unit of its metric", 1},
		{liveHeader + good + "\n" + good[:40], "-:4: the last line has no end", 1},
		{liveHeader + stamp(time.Now().Add(3*time.Hour)) + ", 0, 1 W, 4 %\n", "-:2: its time is 3h0m0s after the one of this host: it has another time zone (TZ) or clock", 0},
		{liveHeader + "2023/07/20 08:50:40.403, 0, 1 W, 4 %\n", "or is old", 0},
	} {
		var in sample.Inbox
		err := NewFeed(io.NopCloser(strings.NewReader(c.text)), "-", trace.NewSteadyClock()).Run(t.Context(), &in)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
		if n := in.Collect().Len(); n != c.rows {
			t.Errorf("%q: %d rows, want %d", c.text, n, c.rows)
		}
	}
}
