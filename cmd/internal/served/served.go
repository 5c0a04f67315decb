// Package served asks a server of models what it is.
package served

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"unicode"
)

// pages say the version as "version": the first of vLLM and trtllm-serve, the others of
// SGLang, the last by its older name. SGLang's have its arguments, too, with its keys:
// nothing else of them is kept.
var pages = []string{"/version", "/server_info", "/get_server_info"}

const (
	mostBytes = 8 << 20 // of a page: SGLang's has the state of each of its ranks
	longest   = 200     // of a version, bytes
)

// Version returns the version that the server below a base URL says it has; "" is unknown.
// It takes as long as the context and the client allow. header is sent along, and as it may
// hold a key, to no other server: redirections are not followed.
func Version(ctx context.Context, client *http.Client, base string, header http.Header) string {
	stays := *client
	stays.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client = &stays
	for _, page := range pages {
		v, there := ask(ctx, client, base+page, header)
		if v != "" || !there {
			return v
		}
	}
	return ""
}

// ask fetches a page. there reports whether a server is there that may have another one.
func ask(ctx context.Context, client *http.Client, url string, header http.Header) (version string, there bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", false
	}
	req.Header.Set("User-Agent", "wattrace")
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	req.Host = req.Header.Get("Host")
	resp, err := client.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "", true
	default:
		return "", false
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, mostBytes))
	var v struct {
		Version string `json:"version"`
	}
	if err != nil || json.Unmarshal(b, &v) != nil || len(v.Version) > longest {
		return "", true
	}
	if strings.ContainsFunc(v.Version, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return "", true
	}
	return strings.TrimSpace(v.Version), true
}
