package scrape

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"node1:9400":                 "http://node1:9400/metrics",
		"http://node1:9400/":         "http://node1:9400/metrics",
		"https://node1/federate?a=b": "https://node1/federate?a=b",
		"[::1]:9400":                 "http://[::1]:9400/metrics",
	} {
		if u, err := ParseURL(in, "/metrics"); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", in, u, err)
		}
	}
	for in, want := range map[string]string{
		"ftp://node1":          "ftp://node1: want http or https",
		"http://":              "names no host",
		"http://u:secret@a b/": "cannot be: invalid character \" \" in host name",
	} {
		if _, err := ParseURL(in, "/metrics"); err == nil || err.Error() != want {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// TestParse has what exporters do: HELP and TYPE twice, no TYPE, values that are
// none, labels with escapes.
func TestParse(t *testing.T) {
	t.Parallel()
	page, err := Parse([]byte("# TYPE a gauge\na{x=\"1\"} 2\n# HELP a again\n# TYPE a gauge\na{x=\"q\\\"\\n\"} 3e3\nb NaN\nvllm:c_total +Inf\r\nvllm:d_total 1\r\n# EOF"))
	want := Page{"a": {{map[string]string{"x": "1"}, 2}, {map[string]string{"x": "q\"\n"}, 3000}}, "vllm:d_total": {{map[string]string{}, 1}}}
	if diff := gocmp.Diff(want, page); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, bad := range []string{"<html>\n", "a 1\nb 123", "a 1\n# TYP"} { // of the last two nobody knows what was to come
		if page, err := Parse([]byte(bad)); Status(err) != "BAD_PAGE" {
			t.Errorf("%q: %v, %v", bad, page, err)
		}
	}
	if _, err := Parse(nil); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	slow := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/503":
			w.WriteHeader(503)
		case "/cut":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("a 1"))
		case "/slow":
			<-slow
		}
	}))
	defer s.Close()
	defer close(slow)
	gone := httptest.NewServer(nil)
	gone.Close()
	c := NewClient(time.Millisecond)
	defer c.Close()
	c.http.Timeout = 200 * time.Millisecond
	for in, want := range map[string]string{
		s.URL + "/503": "HTTP_503", s.URL + "/cut": "CONNECTION_LOST", s.URL + "/slow": "TIMEOUT", gone.URL: "CONNECTION_REFUSED",
	} {
		u, err := ParseURL(in, "/")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Fetch(t.Context(), u, Text)
		if got := Status(err); got != want {
			t.Errorf("%s: %s: %v", in, got, err)
		}
		if want == "TIMEOUT" && err.Error() != "no whole page within 200ms" {
			t.Error(err)
		}
		if err != nil && strings.Contains(err.Error(), u.Host) && !strings.Contains(err.Error(), "dial") {
			t.Errorf("the URL is in %v", err)
		}
	}
	if got := Status(errors.New("?")); got != "UNREACHABLE" {
		t.Error(got)
	}
}
