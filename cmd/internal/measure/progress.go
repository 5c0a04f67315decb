package measure

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// progress is the line that is shown while a run goes on: the phase by the end of the
// request log, which replay writes every second, and what the GPUs draw by record.
func (r *run) progress() string {
	r.mu.Lock()
	stage, since, rec := r.stage, r.since, r.rec
	r.mu.Unlock()
	var b strings.Builder
	b.WriteString(r.what)
	phase, requests := lastInLog(r.path("requests.jsonl"))
	if stage == "load" && phase != "" {
		fmt.Fprintf(&b, "%s, %d requests sent", phase, requests)
	} else {
		b.WriteString(stage)
	}
	fmt.Fprintf(&b, ", %v", time.Since(since).Round(time.Second))
	if rec != nil {
		if w, ok := rec.watts(); ok {
			fmt.Fprintf(&b, ", %.0f W", w)
		}
	}
	return b.String()
}

var (
	inPhase = regexp.MustCompile(`"phase":"((?:[^"\\]|\\.)*)"`)
	inSent  = regexp.MustCompile(`^{"type":"sent","seq":(\d+)`)
)

// lastInLog reads the end of a request log: the phase that it is in, and how many requests
// were sent. Lines are kilobytes at most but for long answers: what is further up is as it
// was a second before.
func lastInLog(path string) (phase string, requests int64) {
	const most = 128 << 10
	f, err := os.Open(path)
	if err != nil {
		return "", 0
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", 0
	}
	b := make([]byte, min(size, most))
	n, _ := f.ReadAt(b, size-int64(len(b)))
	for line := range bytes.Lines(b[:n]) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		if m := inPhase.FindSubmatch(line); m != nil && bytes.HasPrefix(line, []byte(`{"type":"`)) && !bytes.HasPrefix(line, []byte(`{"type":"request"`)) {
			phase = string(m[1])
		}
		if m := inSent.FindSubmatch(line); m != nil {
			if seq, err := strconv.ParseInt(string(m[1]), 10, 64); err == nil {
				requests = max(requests, seq+1)
			}
		}
	}
	return phase, requests
}
