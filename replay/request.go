package replay

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
)

// request builds the HTTP request ahead of its time, so that only the call is
// left. GetBody stays nil: with it, net/http would send a request again by
// itself.
func (x *exchange) request(ctx context.Context, u *url.URL, payload []byte) *http.Request {
	req := &http.Request{
		Method: http.MethodPost, URL: u, Host: x.client.host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        x.client.header,
		Body:          io.NopCloser(bytes.NewReader(payload)), // a type that net/http sends in one piece with the head
		ContentLength: int64(len(payload)),
	}
	return req.WithContext(httptrace.WithClientTrace(ctx, &x.trace))
}

// asksForStream reports whether a body has a top-level "stream": true. The last
// of several decides.
func asksForStream(payload []byte) bool {
	if !bytes.Contains(payload, []byte(`"stream"`)) && !bytes.Contains(payload, []byte(`\u`)) {
		return false // as most bodies whose answer is not streamed
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	stream := false
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return stream
		}
		hit := name.String() == "stream"
		if hit {
			stream = dec.PeekKind() == 't'
		}
		if dec.SkipValue() != nil {
			return stream
		}
	}
	return stream
}
