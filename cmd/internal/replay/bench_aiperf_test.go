//go:build unix

package replay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wattrace/replay/selftest"
)

// fewStreams is what aiperf can carry on a core: half of its stamps are right to 0.4 ms,
// and it has processor time left.
const fewStreams = 50

// few is what paced is, with as many streams as aiperf carries. What a client needs to
// start, seconds where it is aiperf, is left out.
func (b *bench) few() {
	least := selftest.Load{Chunks: 2, Gap: 20 * time.Millisecond}
	load := selftest.Load{Chunks: 400, Gap: least.Gap}
	chunks := float64(fewStreams*load.Chunks - least.Chunks)
	tell := func(who string, one, all time.Duration, s *seen) {
		b.note("few: us of CPU per chunk, "+who, (all-one).Seconds()*1e6/chunks)
		q := selftest.QuantilesOf(s.late)
		b.note("few: us of stamp lag p50, "+who, q.P50.Seconds()*1e6)
		b.note("few: us of stamp lag p99, "+who, q.P99.Seconds()*1e6)
		for _, claim := range []struct {
			name     string
			claimed  [2]float64 // p50 and p99, ms
			embedded []float64
		}{{"TTFT", s.ttft, s.embeddedTTFT}, {"gap", s.gap, s.embeddedGaps}} {
			for i, p := range []float64{0.5, 0.99} {
				name := fmt.Sprintf("few: ms of %s p%g, ", claim.name, 100*p)
				b.note(name+who, claim.claimed[i])
				b.note(name+who+": by the server", linear(claim.embedded, p))
			}
		}
	}
	streams := fmt.Sprint(fewStreams)
	flags := func(n string) []string { return []string{"--concurrency", n, "--requests", n} }
	one := b.replay(least, flags("1")...)
	all := b.replay(load, flags(streams)...)
	tell("replay", one.cpu, all.cpu, all.seen())

	if python := b.find("aiohttp/bin/python"); python != "" {
		run := func(l selftest.Load, n string) (got struct{ Chunks, P50, P99 float64 }, cpu time.Duration) {
			out, cpu, _ := b.client(python, "../../../testdata/bench-aiohttp.py", b.url+"/v1/chat/completions", b.body(l), n, "0.02")
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				b.t.Fatal(err, out)
			}
			return got, cpu
		}
		_, one := run(least, "1")
		got, all := run(load, streams)
		b.note("few: us of CPU per chunk, aiohttp", (all-one).Seconds()*1e6/chunks)
		b.note("few: us of stamp lag p50, aiohttp", got.P50/1e3)
		b.note("few: us of stamp lag p99, aiohttp", got.P99/1e3)
	}
	if aiperf := b.find("aiperf/bin/aiperf"); aiperf != "" {
		_, one, err := b.aiperf(aiperf, least, "1", "records")
		if err != nil {
			b.t.Log("aiperf: ", err)
			return
		}
		_, all, err := b.aiperf(aiperf, load, streams, "records") // what it writes by itself
		if err != nil {
			b.t.Log("aiperf: ", err)
			return
		}
		s, _, err := b.aiperf(aiperf, load, streams, "raw") // with the stamps of all events
		if err != nil {
			b.t.Log("aiperf: ", err)
			return
		}
		tell("aiperf", one, all, s)
	}
}

// seen is what a client says of a run's streams, and what the server embedded in them.
type seen struct {
	late                       []time.Duration // stamps after the sending
	ttft, gap                  [2]float64      // p50 and p99, ms
	embeddedTTFT, embeddedGaps []float64       // ms
}

// add takes a stream: when the client sent the request, and when it stamped and the
// server sent the events, in nanoseconds of one clock.
func (s *seen) add(start int64, stamps, sent []int64) error {
	if len(stamps) != len(sent) || len(sent) == 0 {
		return fmt.Errorf("%d events, of which the server sent %d", len(stamps), len(sent))
	}
	s.embeddedTTFT = append(s.embeddedTTFT, float64(sent[0]-start)/1e6)
	for i, at := range sent {
		s.late = append(s.late, time.Duration(stamps[i]-at))
		if i > 0 {
			s.embeddedGaps = append(s.embeddedGaps, float64(at-sent[i-1])/1e6)
		}
	}
	return nil
}

// seen looks at the log's streams.
func (r *result) seen() *seen {
	var s seen
	var ttft, gaps []float64
	for i := range r.requests {
		q := &r.requests[i]
		sent := selftest.SentTimes(q.Usage)
		if len(sent) == 0 {
			continue
		}
		s.late = selftest.StampErrors(s.late, q, r.epoch)
		s.embeddedTTFT = append(s.embeddedTTFT, float64(sent[0]-r.epoch-int64(q.Sent))/1e6)
		ttft = append(ttft, float64(q.FirstToken.V-q.Sent)/1e6)
		outputs := q.Outputs()
		for i := 1; i < len(sent) && i < len(outputs); i++ {
			s.embeddedGaps = append(s.embeddedGaps, float64(sent[i]-sent[i-1])/1e6)
			gaps = append(gaps, float64(outputs[i].At-outputs[i-1].At)/1e6)
		}
	}
	s.ttft = [2]float64{linear(ttft, 0.5), linear(ttft, 0.99)}
	s.gap = [2]float64{linear(gaps, 0.5), linear(gaps, 0.99)}
	return &s
}

// linear is numpy's percentile, as aiperf takes it.
func linear(all []float64, p float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	at := p * float64(len(all)-1)
	i := int(at)
	return all[i] + (at-float64(i))*(all[min(i+1, len(all)-1)]-all[i])
}

// aiperf runs aiperf with so many streams at once, each once. Of level "raw", which has
// its stamps, it returns what was seen.
func (b *bench) aiperf(program string, l selftest.Load, streams, level string) (*seen, time.Duration, error) {
	dir := filepath.Join(b.dir, "aiperf")
	if err := os.RemoveAll(dir); err != nil {
		return nil, 0, err
	}
	_, cpu, _, err := b.try(program, "profile", "--model", "selftest", "--url", b.url, "--endpoint-type", "chat", "--streaming",
		"--concurrency", streams, "--request-count", streams, "--workers-max", "1", "--record-processors", "1",
		"--custom-dataset-type", "raw-payload", "--input-file", b.body(l), "--tokenizer", b.tokenizer(), "--use-server-token-count",
		"--ui", "none", "--no-gpu-telemetry", "--no-server-metrics", "--export-level", level, "--artifact-dir", dir)
	if err != nil || level != "raw" {
		return nil, cpu, err
	}
	s := new(seen)
	text, err := os.ReadFile(filepath.Join(dir, "profile_export_aiperf.json"))
	if err != nil {
		return nil, cpu, err
	}
	var claims struct {
		TTFT struct{ P50, P99 float64 } `json:"time_to_first_token"`
		Gap  struct{ P50, P99 float64 } `json:"inter_chunk_latency"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return nil, cpu, err
	}
	s.ttft = [2]float64{claims.TTFT.P50, claims.TTFT.P99}
	s.gap = [2]float64{claims.Gap.P50, claims.Gap.P99}
	return s, cpu, s.readRaw(filepath.Join(dir, "profile_export_raw.jsonl"))
}

// readRaw reads aiperf's raw records, whose perf_ns is the monotonic clock on Linux.
func (s *seen) readRaw(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Buffer(nil, 64<<20); lines.Scan(); {
		var record struct {
			Start     int64 `json:"start_perf_ns"`
			Responses []struct {
				At      int64 `json:"perf_ns"`
				Packets []struct{ Value string }
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			return err
		}
		var stamps, sent []int64
		for _, r := range record.Responses {
			for _, p := range r.Packets {
				if strings.Contains(p.Value, `"content":`) {
					stamps = append(stamps, r.At)
				} else if all := selftest.SentTimes([]byte(p.Value)); all != nil {
					sent = all
				}
			}
		}
		if err := s.add(record.Start, stamps, sent); err != nil {
			return err
		}
	}
	return lines.Err()
}

// tokenizer writes a tokenizer of one word: aiperf wants one even where it counts no
// tokens, and would download it.
func (b *bench) tokenizer() string {
	dir := filepath.Join(b.dir, "tokenizer")
	for name, text := range map[string]string{
		"tokenizer.json": `{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Whitespace"},` +
			`"post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"[UNK]":0,"token":1},"unk_token":"[UNK]"}}`,
		"tokenizer_config.json": `{"tokenizer_class":"PreTrainedTokenizerFast","unk_token":"[UNK]"}`,
	} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			b.t.Fatal(err)
		}
	}
	return dir
}
