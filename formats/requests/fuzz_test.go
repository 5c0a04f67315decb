package requests

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wattrace/trace"
)

// draw makes values of fuzzed bytes.
type draw struct{ b []byte }

func (d *draw) byte() byte {
	if len(d.b) == 0 {
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *draw) int64() int64 {
	n := min(int(d.byte()%9), len(d.b))
	var b [8]byte
	copy(b[:], d.b[:n])
	d.b = d.b[n:]
	return int64(binary.LittleEndian.Uint64(b[:]))
}

func (d *draw) count() int64 { return d.int64() & (max53 - 1) }

func (d *draw) duration() time.Duration { return time.Duration(d.count()) }

func (d *draw) text() string {
	n := min(int(d.byte()%16), len(d.b))
	s := string(d.b[:n])
	d.b = d.b[n:]
	return strings.ToValidUTF8(s, "\ufffd")
}

func opt[T any](d *draw, f func() T) trace.Opt[T] {
	if d.byte()%2 == 0 {
		return trace.Opt[T]{}
	}
	return trace.Some(f())
}

func (d *draw) time() trace.Time { return trace.Time(d.int64() % (maxInstant + 1)) }

// request draws a request as the writer may be given it.
func (d *draw) request() trace.Request {
	q := trace.Request{
		Seq: d.count(), Line: 1 + d.count()/2, Phase: d.text(), Slot: int(d.byte()), Target: int(d.byte() % 2),
		Scheduled: d.time(), Sent: d.time() / 4, Done: d.time(),
		Wrote: opt(d, d.time), FirstByte: opt(d, d.time), FirstToken: opt(d, d.time), LastToken: opt(d, d.time),
		Outcome:       []trace.Outcome{trace.Succeeded, trace.Failed, trace.Cancelled}[d.byte()%3],
		Status:        opt(d, func() int { return int(d.byte()) }),
		FinishReason:  d.text(),
		InputTokens:   opt(d, d.count),
		OutputTokens:  opt(d, d.count),
		ExpectedInput: opt(d, d.count), ExpectedOutput: opt(d, d.count),
	}
	if q.Conversation = d.text(); q.Conversation != "" {
		q.Turn = int(d.byte())
	}
	q.Conn, q.BodyBytes = opt(d, d.count), opt(d, d.count)
	q.ConnReused = opt(d, func() bool { return d.byte()%2 == 0 })
	q.ConnIdle = opt(d, func() time.Duration { return time.Duration(d.count()) })
	q.ReadLag = opt(d, func() time.Duration { return time.Duration(d.count()) })
	q.ConnectStart, q.ConnectEnd = opt(d, d.time), opt(d, d.time)
	q.BodyHash = opt(d, func() uint64 { return uint64(d.int64()) })
	q.CacheSalt, q.ResponseID, q.OwnChunkStamps = d.text(), d.text(), d.byte()%2 == 1
	if d.byte()%2 == 1 {
		q.ServerMetrics, _ = json.Marshal(map[string]map[string]int64{d.text(): {d.text(): d.int64()}})
	}
	if q.OutputTokens.OK {
		q.TokenSource = []trace.TokenSource{trace.FromUsage, trace.FromChunks}[d.byte()%2]
	}
	if q.Outcome == trace.Failed {
		q.Error = trace.RequestError{Class: trace.ErrorClass("x" + d.text()), Message: d.text()}
	}
	if d.byte()%2 == 1 {
		q.Usage, _ = json.Marshal(map[string]string{d.text(): d.text()})
	}
	at, sum := q.Sent, int64(0)
	for range d.byte() {
		at += trace.Time(d.int64() & (1<<40 - 1))
		q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: trace.ChunkKind('a' + d.byte()%26)})
	}
	if q.ChunkTokens = len(q.Chunks) > 0 && d.byte()%2 == 1; q.ChunkTokens {
		for i := range q.Chunks {
			q.Chunks[i].Tokens = int32(d.byte() % 4)
			if d.byte() == 0 {
				q.Chunks[i].Tokens = math.MaxInt32
			}
			sum += int64(q.Chunks[i].Tokens)
		}
		q.OutputTokens, q.TokenSource = trace.Some(sum), trace.FromUsage
	}
	return q
}

// FuzzWriteReadRoundTrip checks that what is written is read back, chunks to
// the microsecond.
func FuzzWriteReadRoundTrip(f *testing.F) {
	f.Add([]byte("\x05hello\x01\x02\x03"), 0.31)
	f.Add(bytes.Repeat([]byte{0xff, 8, 1, 3}, 200), 1e300)
	f.Fuzz(func(t *testing.T, b []byte, cpu float64) {
		d := &draw{b}
		log := exampleLog()
		log[0].Run.Producer, log[0].Run.Clock.Host = d.text(), d.text()
		log[0].Run.Targets = append(log[0].Run.Targets, d.text())
		log[0].Run.Overlays = append(log[0].Run.Overlays, d.text())
		log[0].Run.Servers = append(log[0].Run.Servers, Server{d.text(), d.text()})
		log[0].Run.Seed = opt(d, d.int64)
		log[0].Run.ChunkClock = []ChunkClock{"", UserClock, KernelClock}[d.byte()%3]
		log[0].Run.Connections = Connections{
			Balance: d.text(), KeepAlive: time.Duration(d.int64()&(1<<40-1)) * time.Microsecond, Preconnect: int(d.byte()),
			SourceAddresses: int(d.byte()), Insecure: d.byte()%2 == 1, CacheSaltSeed: opt(d, d.int64),
		}
		log[0].Run.Clock.Anchor.UnixNanos = d.int64() | 1
		log[1].Phase.Phase, log[1].Phase.At = d.text(), d.time()
		log[2].Sent = Sent{Seq: d.count(), Line: 1 + d.count()/2, Phase: d.text(), At: d.time()}
		log[6].Clock = trace.ClockSnapshot{At: d.time(), BootNanos: d.int64(), MonotonicNanos: d.int64(), UnixNanos: d.int64() | 1, Spread: time.Duration(d.count())}
		if cpu-cpu == 0 { // finite
			log[7].Client = Client{At: d.time(), CPUSeconds: trace.Some(cpu), InFlight: int(d.byte()), LatenessP99: opt(d, d.duration), GCPause: opt(d, d.duration), Queue: trace.Some(int(d.byte())), LogBlocked: opt(d, d.duration), Goroutines: trace.Some(int(d.byte()))}
		}
		log[9].Close = Close{At: d.time(), Sent: d.count(), Succeeded: d.count(), Failed: d.count(), Cancelled: d.count(), Clean: d.byte()%2 == 0}
		if v := d.text(); v != "" {
			log[9].Close.Client = Judgement{Verdict: Verdict(v), LatenessMax: opt(d, d.duration), MeanGap: opt(d, d.duration), Held: opt(d, d.count)}
		}
		log[0].Run.Machine = Machine{GOMAXPROCS: 1 + int(d.byte()), CPUs: trace.Some(1 + int(d.byte())), CPUModel: d.text(), Governor: d.text()}
		log[3].Request, log[5].Request = d.request(), d.request()
		for _, i := range []int{3, 5} {
			q := &log[i].Request
			if inRange := func(v int64) bool { return v > -1<<62 && v < 1<<62 }; len(q.Chunks) > 0 && !inRange(int64(q.Chunks[len(q.Chunks)-1].At)) {
				q.Chunks, q.ChunkTokens = nil, false
			}
		}
		text := encode(t, log...)
		if !json.Valid(bytes.Split(text, []byte("\n"))[3]) {
			t.Fatalf("not JSON: %q", text)
		}
		got, _, err := decode(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if want := floored(log); !reflect.DeepEqual(want, got) { // cmp is slow
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
	})
}

// FuzzReadHostile checks that no input makes the Reader panic or loop, that what
// it accepts is valid JSON, and that what it read is written and read again as
// the same.
func FuzzReadHostile(f *testing.F) {
	b := encode(f, exampleLog()...)
	f.Add(b)
	for line := range bytes.Lines(b) {
		f.Add(append(bytes.SplitAfter(b, []byte("\n"))[0], line...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rd := NewReader(bytes.NewReader(b), "log")
		all := bytes.Split(b, []byte("\n"))
		for range len(all) + 1 {
			var rec Record
			err := rd.Read(&rec)
			if err == io.EOF {
				return
			}
			if err != nil {
				continue
			}
			if line := all[rec.Pos.Line-1]; !json.Valid(line) {
				t.Fatalf("accepted, but no JSON: %q", line)
			}
			if rec.Type == TypeRequest || rec.Type == TypeSent {
				head := exampleLog()[0]
				head.Run.Targets = make([]string, 1+rec.Request.Target)
				again, _, err := decode(bytes.NewReader(encode(t, head, rec)))
				if err != nil {
					t.Fatalf("written again: %v", err)
				}
				rec.Pos = trace.Pos{}
				if rec.Request.Conversation == "" {
					rec.Request.Turn = 0
				}
				if rec.Request.Error.Class == "" {
					rec.Request.Error.Message = ""
				}
				if diff := cmp.Diff(rec, again[1], cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("(-first +again)\n%s", diff)
				}
			}
		}
		t.Fatal("more records than lines")
	})
}
