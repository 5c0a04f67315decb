package replay

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"wattrace/trace"
)

// maxMessage bounds an error message in the log, in bytes.
const maxMessage = 512

// staleWithin is how soon the close of a kept connection must be seen for the
// request to have met it: a round trip, and what a busy machine adds. One that
// waited longer was in the server when that went away.
const staleWithin = 200 * time.Millisecond

// fail gives a request the outcome of a failure.
func (x *exchange) fail(r *trace.Request, class trace.ErrorClass, message string) {
	r.Outcome = trace.Failed
	r.Error = trace.RequestError{Class: class, Message: cut(message)}
}

// ended gives a request whose context has ended its outcome: its own time limit
// is a failure, anything else a cancellation.
func (x *exchange) ended(ctx context.Context, r *trace.Request) {
	if context.Cause(ctx) == errTimedOut {
		x.fail(r, trace.ErrTimeout, "no whole answer within "+x.client.opt.Timeout.String())
		return
	}
	r.Outcome = trace.Cancelled
}

// failOr is fail, unless the context has ended, which is the reason then.
func (x *exchange) failOr(ctx context.Context, r *trace.Request, class trace.ErrorClass, message string) {
	if ctx.Err() != nil {
		x.ended(ctx, r)
		return
	}
	x.fail(r, class, message)
}

// cut shortens a message to maxMessage, at a character.
func cut(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage-len("…")], "") + "…"
}

// refused classes a request to which no answer came.
func (x *exchange) refused(ctx context.Context, err error, r *trace.Request) {
	r.Done = x.client.clock.Now()
	var (
		dns  *net.DNSError
		op   *net.OpError
		hand *tlsError
	)
	answered := x.stamps != nil && x.stamps.firstByte.Load() != never
	broken := isBroken(err) || x.stamps != nil && x.stamps.ended.Load() // net/http reports half a head as malformed
	switch {
	case ctx.Err() != nil:
		x.ended(ctx, r)
	case exhausted(err):
		x.fail(r, trace.ErrClient, err.Error())
	case errors.As(err, &dns):
		x.fail(r, trace.ErrDNS, dns.Error())
	case errors.As(err, &hand):
		x.fail(r, trace.ErrTLS, hand.Error())
	case errors.As(err, &op) && op.Op == "dial":
		x.fail(r, trace.ErrConnect, op.Error())
	case answered && !broken:
		x.fail(r, trace.ErrHTTPOther, "the answer is not HTTP")
	case x.reused && !answered && r.Done.Sub(r.Sent) < staleWithin:
		x.fail(r, trace.ErrStale, "a kept connection was closed: "+broke(err))
	default:
		x.fail(r, trace.ErrReset, "no answer: "+broke(err))
	}
}

// exhausted reports whether the client itself ran out of something.
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isBroken reports whether err is the end of a connection.
func isBroken(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}

// broke says how a connection ended. Errors of net/http are not shown: some
// quote what the server sent.
func broke(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset by peer"
	case errors.Is(err, syscall.EPIPE):
		return "the server closed the connection while the request was written"
	case errors.Is(err, syscall.ETIMEDOUT):
		return "connection timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection"
	}
	return "the connection failed"
}

// describe adds to what the server's error object says. Its message may quote
// the prompt; type, code and param are shown where they are names.
func (x *exchange) describe(what string) string {
	f := &x.answer.fault
	for _, s := range []string{f.Type, f.Code, f.Param} {
		if isName(s) {
			what += ", " + s
		}
	}
	if x.client.opt.ServerMessages && f.Message != "" {
		what += ": " + f.Message
	}
	return what
}

// isName reports whether s can be shown: an identifier, not a text.
func isName(s string) bool { return s != "" && printable(s) == s }

// printable returns s if it is a short name or media type, else "unknown": it
// came from the server and may be anything.
func printable(s string) string {
	if s == "" || len(s) > 64 {
		return "unknown"
	}
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return "unknown"
		}
	}
	return s
}

// isNameByte reports whether c can be in a name.
func isNameByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("_-.+/:", c) >= 0
}
