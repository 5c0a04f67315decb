package replay

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"wattrace/trace"
)

// Target is a server: the URL below which its endpoints are.
type Target struct {
	base      string
	endpoints map[trace.Endpoint]*url.URL
}

// ParseTarget reads a base URL such as http://127.0.0.1:8000. A path is kept
// and the endpoints' paths are added to it; a /v1 at its end, which the
// endpoints have too, is dropped.
func ParseTarget(s string) (Target, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Target{}, errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return Target{}, errors.New("want a URL that begins with http:// or https://")
	case u.Host == "" || u.Hostname() == "":
		return Target{}, errors.New("the URL has no host")
	case u.User != nil:
		return Target{}, errors.New("a URL must not hold a user or a password: it goes into the log")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return Target{}, errors.New("a base URL has no query and no fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return Target{}, errors.New("the port must be from 1 to 65535")
		}
	}
	base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(s, "/"), "/v1"), "/")
	t := Target{base: base, endpoints: map[trace.Endpoint]*url.URL{}}
	for _, e := range []trace.Endpoint{trace.Chat, trace.Completions, trace.Responses} {
		if t.endpoints[e], err = url.Parse(base + string(e)); err != nil {
			return Target{}, fmt.Errorf("not a URL")
		}
	}
	return t, nil
}

// String returns the base URL.
func (t Target) String() string { return t.base }

// endpoint returns what connections to the target are made to.
func (t *Target) endpoint() endpoint {
	u := t.endpoints[trace.Chat]
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return endpoint{net.JoinHostPort(u.Hostname(), port), u.Scheme == "https"}
}
