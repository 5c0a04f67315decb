package record

import (
	"io"
	"log"
	"net/http"
	"time"

	"wattrace/cmd/internal/exposition"
	"wattrace/sample"
)

// live shows the latest readings to whoever asks (--listen).
type live struct {
	exposition.Latest
	sampler *sample.Sampler
	server  *http.Server
	url     string
}

// listen takes the port and answers on it from then on.
func listen(address string, s *sample.Sampler) (*live, error) {
	address, err := exposition.Address(address)
	if err != nil {
		return nil, err
	}
	l, err := exposition.Listen(address)
	if err != nil {
		return nil, err
	}
	v := &live{sampler: s, url: "http://" + l.Addr().String() + "/metrics"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", v.page)
	v.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	go v.server.Serve(l)
	return v, nil
}

func (v *live) close() { v.server.Close() }

// page writes the page, which is made first, so that a reader that is slow holds up
// nobody.
func (v *live) page(w http.ResponseWriter, _ *http.Request) {
	page, err := v.Page(v.sampler.Clock.Clock(), exposition.Count{Name: "wattrace_missed_ticks_total", Help: "readings that were due and left out", N: v.sampler.Stats().Missed})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", exposition.ContentType)
	w.Write(page)
}
