package monitor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/exposition"
)

const (
	tokenVariable = "WATTRACE_MONITOR_TOKEN"
	shortestToken = 16
	longestToken  = 4096

	maxConnections = 256
	maxClients     = 224 // of events: there is always room for other questions
	maxRefusals    = 64  // connections that are being told that there are too many
	refuseWithin   = time.Second
	sendBuffer     = 128 << 10 // bytes that the kernel keeps of what a client does not take
	maxBody        = 4 << 10   // bytes of a request
	maxPoints      = 2000      // of a series, of each device
	maxValues      = 400_000   // of a series, of all devices together
	writeWithin    = 10 * time.Second
	cookieName     = "wattrace_monitor"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// The page is one file; its policy allows its own script and style and nothing else.
var (
	page   = strings.NewReplacer("{{css}}", pageCSS, "{{js}}", pageJS).Replace(pageHTML)
	policy = "default-src 'none'; script-src '" + hash(pageJS) + "'; style-src '" + hash(pageCSS) + "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// hash is how a Content-Security-Policy names an inline text.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// readToken reads the token, and wants one where not only this host can ask.
func (o *options) readToken(getenv func(string) string) error {
	where := "$" + tokenVariable
	o.token = getenv(tokenVariable)
	if o.tokenFile != "" {
		where = o.tokenFile
		f, err := os.Open(o.tokenFile)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, longestToken+2))
		if err != nil {
			return err
		}
		o.token = strings.TrimRight(string(b), "\r\n")
		if o.token == "" {
			return fmt.Errorf("%s: has no token", o.tokenFile)
		}
	}
	host, _, _ := net.SplitHostPort(o.listen)
	switch {
	case o.token == "" && !isLoopback(host):
		return cli.Hint(cli.Usagef("--listen %s is not this host alone, and needs a token", o.listen), "--token-file FILE, or $%s", tokenVariable)
	case o.token == "":
	case len(o.token) < shortestToken || len(o.token) > longestToken:
		return fmt.Errorf("%s: the token has %d bytes; want %d to %d", where, len(o.token), shortestToken, longestToken)
	case strings.ContainsFunc(o.token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%s: the token has characters that are not printable ASCII", where)
	}
	return nil
}

// isLoopback reports whether a host is this one alone.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// web is the page and what programs are answered.
type web struct {
	s       *session
	truth   truth
	server  *http.Server
	url     string
	bound   string             // host that is listened on
	token   *[sha256.Size]byte // nil without one
	cookie  string
	done    chan struct{} // closed at the end: events end
	endOnce sync.Once

	mu      sync.Mutex
	clients map[chan []byte]bool
}

// listen takes the port and answers on it from then on.
func (s *session) listen() (*web, error) {
	w := newWeb(s)
	l, err := exposition.Listen(s.o.listen)
	if err != nil {
		return nil, err
	}
	w.bound, _, _ = net.SplitHostPort(s.o.listen)
	w.url = "http://" + l.Addr().String() + "/"
	go w.server.Serve(newLimited(l, maxConnections))
	return w, nil
}

func newWeb(s *session) *web {
	w := &web{s: s, truth: truth{model: s.model}, done: make(chan struct{}), clients: map[chan []byte]bool{}}
	if s.o.token != "" {
		sum := sha256.Sum256([]byte(s.o.token))
		w.token = &sum
		var secret [32]byte
		rand.Read(secret[:])
		w.cookie = hex.EncodeToString(secret[:])
	}
	w.server = &http.Server{
		Handler: w.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: writeWithin, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	return w
}

func (w *web) close() {
	w.endOnce.Do(func() { close(w.done) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		w.server.Close()
	}
}

// limited is a listener of at most so many connections at once; others are answered that
// there are too many, and closed.
type limited struct {
	net.Listener
	free     chan struct{}
	refusals chan struct{}
}

func newLimited(l net.Listener, most int) *limited {
	return &limited{Listener: l, free: make(chan struct{}, most), refusals: make(chan struct{}, maxRefusals)}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetWriteBuffer(sendBuffer)
		}
		select {
		case l.free <- struct{}{}:
			return &limitedConn{Conn: c, free: l.free}, nil
		default:
		}
		select {
		case l.refusals <- struct{}{}:
			go func() {
				tooMany(c, cap(l.free))
				<-l.refusals
			}()
		default:
			c.Close()
		}
	}
}

// tooMany answers a connection that there are too many. What it asks is read first, and what
// it says after the answer: a connection that is closed over unread bytes loses the answer.
func tooMany(c net.Conn, most int) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(refuseWithin))
	in := bufio.NewReaderSize(c, maxBody)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
	}
	body := fmt.Sprintf("{\"error\":\"%d connections are open already\"}\n", most)
	fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\nRetry-After: 10\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s", len(body), body)
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	io.Copy(io.Discard, io.LimitReader(in, maxBody))
}

type limitedConn struct {
	net.Conn
	once sync.Once
	free chan struct{}
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.free })
	return err
}

func (w *web) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	mux.HandleFunc("GET /api/devices", w.devices)
	mux.HandleFunc("GET /api/snapshot", w.snapshot)
	mux.HandleFunc("GET /api/series", w.series)
	mux.HandleFunc("GET /api/events", w.events)
	mux.HandleFunc("POST /api/mark", w.mark)
	mux.HandleFunc("GET /metrics", w.metrics)
	mux.HandleFunc("GET /status", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.truth.status()) })
	truth := func(f func(context.Context) (*truthNow, error)) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			now, err := f(r.Context())
			switch {
			case errors.Is(err, errNotStarted):
				refuse(rw, http.StatusConflict, err.Error())
			case err != nil:
				refuse(rw, http.StatusServiceUnavailable, err.Error())
			default:
				answer(rw, now)
			}
		}
	}
	mux.HandleFunc("POST /start", truth(w.truth.start))
	mux.HandleFunc("POST /sample", truth(func(ctx context.Context) (*truthNow, error) { return w.truth.sample(ctx, false) }))
	mux.HandleFunc("POST /stop", truth(func(ctx context.Context) (*truthNow, error) { return w.truth.sample(ctx, true) }))
	return w.guard(mux)
}

// guard lets those through who may ask: nobody whose Host is not this one, as after DNS
// rebinding, no page of another origin, and with a token whoever has it.
func (w *web) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
		if !w.knowsHost(r.Host) {
			refuse(rw, http.StatusForbidden, "the Host is not this one")
			return
		}
		if !sameOrigin(r) {
			refuse(rw, http.StatusForbidden, "asked from a page of another origin")
			return
		}
		if w.token != nil && !w.hasToken(rw, r) {
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// knowsHost reports whether a request is for this server by its name. With a token any name
// will do: a page that had its name rebound to this address has no token.
func (w *web) knowsHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return isLoopback(host) || host != "" && strings.EqualFold(host, w.bound) || w.token != nil && host != ""
}

// sameOrigin reports whether no page of another origin made the request. Programs send
// neither header.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && (site != "none" || r.Method != http.MethodGet) {
		return false
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return len(origins) == 1 && err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// hasToken checks the token: a bearer's, or the page's cookie, or once in the query of the
// page, which then gets the cookie in its place. It answers whoever has none.
func (w *web) hasToken(rw http.ResponseWriter, r *http.Request) bool {
	is := func(token string) bool {
		sum := sha256.Sum256([]byte(token))
		return subtle.ConstantTimeCompare(sum[:], w.token[:]) == 1
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") && is(token) {
		return true
	}
	if c, err := r.Cookie(cookieName); err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(w.cookie)) == 1 {
		return true
	}
	if r.Method == http.MethodGet && r.URL.Path == "/" && is(r.URL.Query().Get("token")) {
		http.SetCookie(rw, &http.Cookie{Name: cookieName, Value: w.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		rw.Header().Set("Location", "/")
		rw.WriteHeader(http.StatusSeeOther)
		return false
	}
	rw.Header().Set("WWW-Authenticate", `Bearer realm="wattrace monitor"`)
	refuse(rw, http.StatusUnauthorized, "a token is needed: Authorization: Bearer TOKEN, or in a browser /?token=TOKEN once")
	return false
}

// refuse answers with an error, as JSON.
func refuse(rw http.ResponseWriter, status int, message string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	json.NewEncoder(rw).Encode(map[string]string{"error": message})
}

func answer(rw http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		refuse(rw, http.StatusInternalServerError, err.Error())
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.Write(append(b, '\n'))
}

func (w *web) page(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(rw, page)
}

func (w *web) look() *snapshot { return w.s.model.look(w.s.source.name) }

func (w *web) snapshot(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.look()) }

// identity is what a device is, without its readings.
type identity struct {
	Device    string `json:"device"`
	Host      string `json:"host"`
	Index     int    `json:"device_index"`
	Source    string `json:"source"`
	Scope     string `json:"scope"`
	Name      string `json:"name,omitempty"`
	UUID      string `json:"uuid,omitempty"`
	PCIBusID  string `json:"pci_bus_id,omitempty"`
	Simulated bool   `json:"simulated,omitempty"`
	Counted   bool   `json:"in_total"`
	State     string `json:"state"`
	Status    string `json:"status,omitempty"`
}

func (w *web) devices(rw http.ResponseWriter, _ *http.Request) {
	list := []identity{}
	for _, n := range w.look().Devices {
		list = append(list, identity{n.Device, n.Host, n.Index, n.Source, n.Scope, n.Name, n.UUID, n.PCIBusID, n.Simulated, n.Counted, n.State, n.Status})
	}
	answer(rw, map[string]any{"devices": list})
}

// mark counts from now on. The body, if there is one, names the mark.
func (w *web) mark(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(rw, http.StatusRequestEntityTooLarge, fmt.Sprintf("a name of more than %d bytes", maxBody))
		return
	}
	w.s.model.setMark(strings.TrimSpace(printable(string(body))))
	answer(rw, w.look())
}

func (w *web) metrics(rw http.ResponseWriter, _ *http.Request) {
	w.s.mu.Lock()
	clock := w.s.clock
	w.s.mu.Unlock()
	page, err := w.s.latest.Page(clock)
	if err != nil {
		refuse(rw, http.StatusInternalServerError, err.Error())
		return
	}
	rw.Header().Set("Content-Type", exposition.ContentType)
	rw.Write(page)
}

// seriesNow is power over time: the means of steps, null where there is no reading.
type seriesNow struct {
	From    int64          `json:"from"` // seconds of Unix time, of the first step's begin
	Step    int64          `json:"step_seconds"`
	Oldest  int64          `json:"oldest"` // what is kept goes back to there at most
	Total   []number       `json:"total_power_watts"`
	Devices []deviceSeries `json:"devices"`
}

type deviceSeries struct {
	Device string   `json:"device"`
	Host   string   `json:"host"`
	Index  int      `json:"device_index"`
	Source string   `json:"source"`
	Scope  string   `json:"scope"`
	Watts  []number `json:"power_watts"` // null: there was no room for its history
}

// instantOf reads an instant as Unix time in seconds, or RFC 3339.
func instantOf(text string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(v) < 1e11 {
		return int64(math.Floor(v)), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, errors.New("want seconds of Unix time, or RFC 3339")
	}
	return t.Unix(), nil
}

func (w *web) series(rw http.ResponseWriter, r *http.Request) {
	m := w.s.model
	m.mu.Lock()
	latest, devices := m.latest/1e9+1, len(m.devices)
	m.mu.Unlock()
	q := r.URL.Query()
	oldest := latest - int64(m.seconds)
	to, err := instantOf(q.Get("to"), latest)
	if err != nil {
		refuse(rw, http.StatusBadRequest, "to: "+err.Error())
		return
	}
	from, err := instantOf(q.Get("from"), to-600)
	if err != nil {
		refuse(rw, http.StatusBadRequest, "from: "+err.Error())
		return
	}
	from, to = max(from, oldest), min(to, latest)
	if to < from {
		from = to
	}
	most := int64(max(1, min(maxPoints, maxValues/max(1, devices))))
	least := max(1, (to-from+most-1)/most)
	step := least
	if text := q.Get("step"); text != "" {
		if step, err = strconv.ParseInt(text, 10, 64); err != nil || step < 1 || step > 86400 {
			refuse(rw, http.StatusBadRequest, "step: want whole seconds, 1 to 86400")
			return
		}
		step = max(step, least)
	}
	answer(rw, m.series(from, step, int((to-from+step-1)/step), oldest))
}

func (m *model) series(from, step int64, n int, oldest int64) *seriesNow {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &seriesNow{From: from, Step: step, Oldest: oldest, Total: make([]number, n), Devices: []deviceSeries{}}
	if m.latest == 0 {
		s.Total = []number{}
		return s
	}
	counted := m.counted()
	for i := range n {
		s.Total[i] = finite(sumAt(counted, from+int64(i)*step, step))
	}
	for _, d := range m.devices {
		if d.Scope == "server" {
			continue
		}
		ds := deviceSeries{Device: d.ID, Host: d.Host, Index: d.Index, Source: string(d.Source), Scope: string(d.Scope)}
		if d.history != nil {
			ds.Watts = make([]number, n)
			for i, v := range d.history.series(from, step, n) {
				ds.Watts[i] = finite(v)
			}
		}
		s.Devices = append(s.Devices, ds)
	}
	return s
}

func finite(v float64) number {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// publish sends a snapshot to all clients of events. One that has not taken the two before
// is dropped.
func (w *web) publish(now *snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.clients) == 0 {
		return
	}
	b, err := json.Marshal(now)
	if err != nil {
		return
	}
	event := bytes.Join([][]byte{[]byte("event: snapshot\ndata: "), b, []byte("\n\n")}, nil)
	for c := range w.clients {
		select {
		case c <- event:
		default:
			delete(w.clients, c)
			close(c)
		}
	}
}

// events are snapshots as they come: server-sent events.
func (w *web) events(rw http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, 2)
	w.mu.Lock()
	full := len(w.clients) >= maxClients
	if !full {
		w.clients[events] = true
	}
	w.mu.Unlock()
	if full {
		rw.Header().Set("Retry-After", "10")
		refuse(rw, http.StatusServiceUnavailable, fmt.Sprintf("%d clients have events already", maxClients))
		return
	}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.clients, events)
	}()
	control := http.NewResponseController(rw)
	control.SetReadDeadline(time.Time{}) // nothing more is read; the end of the connection is still seen
	rw.Header().Set("Content-Type", "text/event-stream")
	first, err := json.Marshal(w.look())
	if err != nil {
		return
	}
	for event := bytes.Join([][]byte{[]byte("retry: 2000\nevent: snapshot\ndata: "), first, []byte("\n\n")}, nil); ; {
		control.SetWriteDeadline(time.Now().Add(writeWithin))
		if _, err := rw.Write(event); err != nil || control.Flush() != nil {
			return
		}
		var open bool
		select {
		case event, open = <-events:
			if !open {
				return
			}
		case <-w.done:
			return
		case <-r.Context().Done():
			return
		}
	}
}
