// Package scrape fetches pages of metrics in the text format of Prometheus, for
// the sources that are such pages.
package scrape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// DefaultInterval is the time between two fetches if nothing is said.
const DefaultInterval = time.Second

// maxPage is the longest page that is read: that of an exporter of 16 GPUs
// with every field is a thousandth of it.
const maxPage = 64 << 20

// ParseURL reads what a user names a page by: http:// goes without saying, and
// so does the path.
func ParseURL(text, path string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	var parse *url.Error
	switch {
	case errors.As(err, &parse): // its text has the URL, which may hold a password
		return nil, fmt.Errorf("cannot be: %w", parse.Err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s: want http or https", u.Redacted())
	case u.Hostname() == "":
		return nil, errors.New("names no host")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = path
	}
	return u, nil
}

// Host returns the host that a page is of, as far as its URL says: this one for
// localhost.
func Host(u *url.URL) string {
	host := u.Hostname()
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	return host
}

// Port returns the port of a URL, the usual one if it names none.
func Port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// Client fetches pages.
type Client struct{ http *http.Client }

// NewClient returns a client for pages that are fetched every interval. A fetch
// is given up after that, or after a second if that is longer: pages of a busy
// server take their time.
func NewClient(interval time.Duration) *Client {
	return &Client{&http.Client{
		Timeout:   min(max(interval, time.Second), 10*time.Second),
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
	}}
}

// Close closes the connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is an answer that is no page.
type StatusError int

func (e StatusError) Error() string {
	return fmt.Sprintf("HTTP %d %s", int(e), http.StatusText(int(e)))
}

// ErrBadPage says that a page has no such format.
var ErrBadPage = errors.New("the page cannot be read")

// Fetch returns the body of a page.
func (c *Client) Fetch(ctx context.Context, u *url.URL, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "wattrace")
	resp, err := c.http.Do(req)
	if err != nil {
		var outer *url.Error // repeats the URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, c.late(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, StatusError(resp.StatusCode)
	case err != nil:
		return nil, c.late(err)
	case len(body) > maxPage:
		return nil, fmt.Errorf("%w: it is longer than %d MiB", ErrBadPage, maxPage>>20)
	}
	return body, nil
}

// late says of a timeout how long was waited.
func (c *Client) late(err error) error {
	var timeout interface{ Timeout() bool }
	var lookup *net.DNSError
	if errors.As(err, &timeout) && timeout.Timeout() && !errors.As(err, &lookup) {
		return &lateError{c.http.Timeout}
	}
	return err
}

type lateError struct{ after time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("no whole page within %v", e.after) }
func (*lateError) Timeout() bool   { return true }

// Text is what Fetch accepts where the page is Prometheus's.
const Text = "text/plain;version=0.0.4,text/plain;q=0.9,*/*;q=0.1"

// Page is the samples of a page by the names of their metrics.
type Page map[string][]Sample

// Sample is one line of a page.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Parse reads a page. Comments are left out before: exporters repeat the HELP
// and TYPE of a metric that several of their collectors have, which the parser
// refuses, and what they say is in the mapping of each source anyhow. Values that
// are no finite number are left out, too.
func Parse(body []byte) (Page, error) {
	if !whole(body) {
		return nil, fmt.Errorf("%w: its last line has no end", ErrBadPage)
	}
	var plain bytes.Buffer
	for line := range bytes.Lines(body) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 && line[0] != '#' {
			plain.Write(line)
			plain.WriteByte('\n')
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation) // the zero parser panics
	families, err := parser.TextToMetricFamilies(&plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadPage, err)
	}
	page := Page{}
	for name, family := range families {
		for _, m := range family.Metric {
			v := value(m)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			labels := make(map[string]string, len(m.Label))
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			page[name] = append(page[name], Sample{labels, v})
		}
	}
	return page, nil
}

// whole reports whether a page has its end: the format wants a line feed there, but
// for OpenMetrics' mark. Of a page of unknown length nothing else tells that it was
// cut off, and half a number is a number.
func whole(body []byte) bool {
	return len(body) == 0 || bytes.HasSuffix(body, []byte("\n")) || bytes.HasSuffix(body, []byte("\n# EOF"))
}

// value returns the value of a sample whose type is not known.
func value(m *dto.Metric) float64 {
	if m.Untyped == nil {
		return math.NaN()
	}
	return m.Untyped.GetValue()
}

// Status names what kept a page from being fetched, for a row's status.
func Status(err error) string {
	var status StatusError
	var lookup *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &status):
		return fmt.Sprintf("HTTP_%d", int(status))
	case errors.Is(err, ErrBadPage):
		return "BAD_PAGE"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "CONNECTION_REFUSED"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "TIMEOUT"
	case errors.As(err, &lookup):
		return "UNKNOWN_HOST"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "CONNECTION_LOST"
	}
	return "UNREACHABLE"
}
