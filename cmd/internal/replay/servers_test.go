package replay

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/requests"
)

// TestServerVersions: what servers say of themselves stands in the log's first line; the
// question is no request of the run, and comes before its first phase.
func TestServerVersions(t *testing.T) {
	var sent, early atomic.Int64
	serve := func(version string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				sent.Add(1)
				w.WriteHeader(http.StatusTeapot)
			case version != "" && r.URL.Path == "/version" && r.Header.Get("X-A") == "b" && r.Host == "models.example":
				early.Add(sent.Load())
				w.Write([]byte(`{"version":"` + version + `"}`))
			default:
				http.NotFound(w, r)
			}
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	one, silent, two := serve("0.11.0"), serve(""), serve("1.2.0rc1")
	_, log, stderr := tool("", file(t, "t.jsonl", good, good, good), "--url", one, "--url", silent, "--url", two, "--header", "X-A: b", "--header", "Host: models.example")
	all := read(t, log)
	if len(all) == 0 {
		t.Fatal(stderr)
	}
	if diff := cmp.Diff([]requests.Server{{Target: one, Version: "0.11.0"}, {Target: two, Version: "1.2.0rc1"}}, all[0].Run.Servers); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	logged := 0
	for _, rec := range all {
		if rec.Type == requests.TypeRequest {
			logged++
		}
	}
	if sent.Load() != 3 || logged != 3 || early.Load() != 0 {
		t.Errorf("%d requests, %d in the log, %d before a question", sent.Load(), logged, early.Load())
	}
}
