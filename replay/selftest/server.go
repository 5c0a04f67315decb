package selftest

import (
	"bufio"
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"wattrace/trace"
)

// Load is what one request asks the server for.
type Load struct {
	Chunks int           // events with output of the streamed answer; 0 asks for one that is not streamed
	Gap    time.Duration // between two of them; 0 sends them as fast as the client takes them, 16 to a chunk of HTTP
	Size   int           // of the request's body, in bytes, at least
}

// Body returns a body that asks for a load.
func (l Load) Body() []byte {
	b := []byte(`{"model":"selftest","max_tokens":` + strconv.Itoa(l.Chunks))
	if l.Chunks > 0 {
		b = append(b, `,"stream":true,"gap_micros":`+strconv.FormatInt(l.Gap.Microseconds(), 10)...)
	}
	b = append(b, `,"messages":[{"role":"user","content":"`...)
	const end = `"}]}`
	b = append(b, strings.Repeat("x", max(0, l.Size-len(b)-len(end)))...)
	return append(b, end...)
}

// parseLoad reads a body that Body made.
func parseLoad(body []byte) Load {
	return Load{Chunks: number(body, `"max_tokens":`), Gap: time.Duration(number(body, `"gap_micros":`)) * time.Microsecond}
}

// number returns the number that follows a key, 0 where there is none.
func number(b []byte, key string) (n int) {
	_, after, _ := bytes.Cut(b, []byte(key))
	for _, c := range after {
		if c < '0' || c > '9' || n > 1e9 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// Serve answers requests of this package on l until it is closed. It is no
// server for others: it understands just enough HTTP/1.1, so that it costs less
// than the client that it measures.
func Serve(l net.Listener) error {
	s := &server{epoch: newEpoch(), pacer: pacer{wake: make(chan struct{}, 1)}}
	go s.pacer.run()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go s.serve(conn)
	}
}

// epoch reads the clock that server and client share: the monotonic one, which is
// of the whole machine, or, where there is none, the wall clock.
type epoch struct {
	clock *trace.SteadyClock
	at    int64 // of the clock's anchor, ns
}

func newEpoch() epoch {
	clock := trace.NewSteadyClock()
	return epoch{clock, Epoch(clock.Clock())}
}

// Epoch returns the anchor of a clock on the clock of [SentTimes], in ns.
func Epoch(c trace.Clock) int64 {
	if c.Anchor.MonotonicNanos != 0 {
		return c.Anchor.MonotonicNanos
	}
	return c.Anchor.UnixNanos
}

func (e epoch) now() int64 { return e.at + int64(e.clock.Now()) }

type server struct {
	epoch
	pacer pacer
}

const (
	plainHead  = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	streamEnd  = "0\r\n\r\n"
	doneEvent  = "data: [DONE]\n\n"
	// event is as long as one of vLLM's.
	event = `data: {"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion.chunk","created":1780000000,"model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}` + "\n\n"
	plain = `{"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion","created":1780000000,"model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,"message":{"role":"assistant","content":"one two three four five six seven eight nine ten eleven twelve"},"logprobs":null,"finish_reason":"stop","stop_reason":null}],"usage":{"prompt_tokens":812,"completion_tokens":12,"total_tokens":824},"prompt_logprobs":null}`
)

// inChunk is a chunk of HTTP.
func inChunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

const (
	perChunk = 16 // events that go in one chunk of HTTP, where they are coalesced
	perWrite = 16 // such chunks in one write
)

var (
	plainAnswer = []byte(plainHead + strconv.Itoa(len(plain)) + "\r\n\r\n" + plain)
	oneEvent    = []byte(inChunk(event))
	block       = []byte(strings.Repeat(inChunk(strings.Repeat(event, perChunk)), perWrite))
)

// serve answers the requests of a connection until it ends.
func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	var body []byte
	for {
		length := 0
		for first := true; ; first = false {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 && !first {
				break
			}
			if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
				if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 || length > 64<<20 {
					return
				}
			}
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		body = body[:length]
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if s.answer(conn, parseLoad(body)) != nil {
			return
		}
	}
}

func (s *server) answer(conn net.Conn, load Load) error {
	if load.Chunks == 0 {
		_, err := conn.Write(plainAnswer)
		return err
	}
	if _, err := conn.Write([]byte(streamHead)); err != nil {
		return err
	}
	var sent []byte
	if load.Gap > 0 {
		st := &stream{
			epoch: s.epoch, conn: conn, gap: load.Gap, left: load.Chunks, sent: make([]byte, 0, 8*load.Chunks),
			due: time.Now().Add(load.Gap), over: make(chan error, 1),
		}
		s.pacer.add(st)
		if err := <-st.over; err != nil {
			return err
		}
		sent = st.sent
	} else {
		for n := load.Chunks; n > 0; n -= perChunk * perWrite {
			part := block
			if n < perChunk*perWrite {
				part = bytes.Repeat(oneEvent, n)
			}
			if _, err := conn.Write(part); err != nil {
				return err
			}
		}
	}
	usage := `data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":` + strconv.Itoa(load.Chunks) + `,"sent_nanos":[` + string(sent) + "]}}\n\n"
	_, err := conn.Write([]byte(inChunk(usage+doneEvent) + streamEnd))
	return err
}

// SentTimes returns when the server sent the events with output of an answer,
// by the usage object that it ended with: ns of the clock of [Epoch]. Nil if it
// does not tell.
func SentTimes(usage []byte) []int64 {
	_, list, ok := bytes.Cut(usage, []byte(`"sent_nanos":[`))
	list, _, closed := bytes.Cut(list, []byte("]"))
	if !ok || !closed || len(list) == 0 {
		return nil
	}
	var all []int64
	at := int64(0)
	for v := range bytes.SplitSeq(list, []byte(",")) {
		d, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return nil
		}
		at += d
		all = append(all, at)
	}
	return all
}

// stream is a paced answer under way.
type stream struct {
	epoch
	conn net.Conn
	gap  time.Duration
	due  time.Time // of the next event
	left int
	sent []byte // the times of those that were sent, as differences
	last int64
	over chan error
}

// next sends an event and reports whether another follows.
func (s *stream) next() bool {
	now := s.now()
	if len(s.sent) > 0 {
		s.sent = append(s.sent, ',')
	}
	s.sent = strconv.AppendInt(s.sent, now-s.last, 10)
	s.last = now
	_, err := s.conn.Write(oneEvent)
	s.left--
	if err != nil || s.left == 0 {
		s.over <- err
		return false
	}
	s.due = s.due.Add(s.gap)
	return true
}

// pacer sends the events of all streams, each at its time, from one thread: they
// come one by one, as they would from many servers, and each costs the client a
// wake-up.
type pacer struct {
	mu      sync.Mutex
	streams streams
	wake    chan struct{} // has a token when a stream was added
}

func (p *pacer) add(s *stream) {
	p.mu.Lock()
	heap.Push(&p.streams, s)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pacer) run() {
	lockNap()
	for {
		p.mu.Lock()
		if len(p.streams) == 0 {
			p.mu.Unlock()
			<-p.wake
			continue
		}
		s := p.streams[0]
		wait := time.Until(s.due)
		if wait <= 0 {
			if s.next() {
				heap.Fix(&p.streams, 0)
			} else {
				heap.Pop(&p.streams)
			}
		}
		p.mu.Unlock()
		if wait > 0 {
			nap(min(wait, time.Millisecond)) // one that is added may be due before
		}
	}
}

// streams is a heap by due (container/heap).
type streams []*stream

func (s streams) Len() int           { return len(s) }
func (s streams) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s streams) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *streams) Push(x any)        { *s = append(*s, x.(*stream)) }
func (s *streams) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
