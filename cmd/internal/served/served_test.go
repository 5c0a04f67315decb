package served

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestVersion asks servers of each kind, and those that say nothing, or nonsense.
func TestVersion(t *testing.T) {
	t.Parallel()
	check := func(name, want string, pages map[string]string) {
		t.Helper()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer key" {
				http.Error(w, `{"version":"of an error"}`, http.StatusUnauthorized)
				return
			}
			page, ok := pages[r.URL.Path]
			if !ok {
				http.NotFound(w, r)
				return
			}
			w.Write([]byte(page))
		}))
		defer s.Close()
		if got := Version(t.Context(), s.Client(), s.URL, http.Header{"Authorization": {"Bearer key"}}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	check("vLLM, trtllm-serve", "0.11.0", map[string]string{"/version": `{"version":"0.11.0"}`})
	check("SGLang", "0.5.3", map[string]string{"/server_info": `{"api_key":"SESAME","version":"0.5.3"}`})
	check("older SGLang", "0.4.1", map[string]string{"/get_server_info": `{"tp_size":1,"version":"0.4.1"}`})
	check("a vLLM whose server_info has no version", "", map[string]string{"/server_info": `{"vllm_config":{}}`})
	check("nothing", "", nil)
	check("no JSON", "", map[string]string{"/version": "0.11.0"})
	check("a number", "", map[string]string{"/version": `{"version":11}`})
	check("a page of another kind", "", map[string]string{"/version": "<html>"})
	check("too long", "", map[string]string{"/version": `{"version":"` + strings.Repeat("1", longest+1) + `"}`})
	check("not for a terminal", "", map[string]string{"/version": `{"version":"\u001b[31m1"}`})
}

// TestSilent: a server that says nothing is waited for as long as the context allows.
func TestSilent(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan bool, len(pages))
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
	}))
	defer s.Close()
	go func() {
		<-asked
		cancel()
	}()
	if got := Version(ctx, s.Client(), s.URL, nil); got != "" || len(asked) > 0 {
		t.Errorf("%q, and it was asked %d times more", got, len(asked))
	}
}

// TestRedirect sees that nobody else is asked, who would get the headers.
func TestRedirect(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was asked: %v", r.Header)
		w.Write([]byte(`{"version":"9"}`))
	}))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL+"/version", http.StatusTemporaryRedirect))
	defer s.Close()
	if got := Version(t.Context(), s.Client(), s.URL, http.Header{"X-Api-Key": {"SESAME"}}); got != "" {
		t.Errorf("%q", got)
	}
}
