package replaytest

import (
	"context"
	"fmt"
	"io"
	"net"
)

// Answer writes one answer, byte by byte as it is told.
type Answer struct {
	Head   []byte // the first 256 bytes of the request's body
	conn   net.Conn
	closed context.Context // ends with the test
	rest   io.Reader       // of the request's body
	over   bool            // the connection takes no further request
	given  func()          // tells those that wait for it that the fault has happened
	fault  <-chan struct{} // closed once a fault has happened, in any answer of the server
}

// ReadSome reads a part of the rest of the request's body.
func (a *Answer) ReadSome(n int64) { io.CopyN(io.Discard, a.rest, n) }

// ReadBody reads the request to its end.
func (a *Answer) ReadBody() { io.Copy(io.Discard, a.rest) }

// Raw writes bytes. That the client has gone is its right.
func (a *Answer) Raw(s string) { io.WriteString(a.conn, s) }

// Status writes a whole answer that is not streamed. Fields of the head may
// follow, each "Name: value".
func (a *Answer) Status(code int, text, media, body string, fields ...string) {
	a.ReadBody()
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", code, text, len(body))
	if media != "" {
		head += "Content-Type: " + media + "\r\n"
	}
	for _, f := range fields {
		head += f + "\r\n"
	}
	a.Raw(head + "\r\n" + body)
}

// Begin writes the head of a chunked answer.
func (a *Answer) Begin(media string, fields ...string) {
	a.ReadBody()
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: " + media + "\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	a.Raw(head + "\r\n")
}

// Chunk writes one chunk of the transfer encoding.
func (a *Answer) Chunk(s string) { a.Raw(fmt.Sprintf("%x\r\n%s\r\n", len(s), s)) }

// Events writes events, each in a chunk of its own.
func (a *Answer) Events(all ...string) {
	for _, data := range all {
		a.Chunk("data: " + data + "\n\n")
	}
}

// End writes the last chunk.
func (a *Answer) End() { a.Raw("0\r\n\r\n") }

// AwaitFault waits until another request has got its fault, or for the end of
// the test.
func (a *Answer) AwaitFault() {
	select {
	case <-a.fault:
	case <-a.closed.Done():
	}
}

// Stall waits for the end of the test.
func (a *Answer) Stall() {
	a.over = true
	a.given()
	<-a.closed.Done()
}

// Reset closes the connection with a RST.
func (a *Answer) Reset() {
	a.over = true
	reset(a.conn)
}

// Close closes the connection.
func (a *Answer) Close() {
	a.over = true
	a.conn.Close()
}

// HalfClose closes the sending side and waits for the end of the test.
func (a *Answer) HalfClose() {
	if tcp, ok := a.conn.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	a.Stall()
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
