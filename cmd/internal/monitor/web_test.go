package monitor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

const testToken = "0123456789abcdef0123"

// site is a page over a model that a test fills.
func site(t *testing.T, w *world, token string) (*web, *httptest.Server) {
	t.Helper()
	s := &session{o: &options{token: token}, model: w.model, source: &source{name: "power.arrows"}}
	s.web = newWeb(s)
	s.web.bound = "127.0.0.1"
	server := httptest.NewServer(s.web.server.Handler)
	t.Cleanup(func() {
		close(s.web.done)
		server.Close()
	})
	return s.web, server
}

// ask makes a request with headers, "Name: value".
func ask(t *testing.T, method, url string, headers ...string) (status int, body string, head http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), answer.Header
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	web, server := site(t, filled(), "")
	status, body, head := ask(t, "GET", server.URL+"/")
	csp := head.Get("Content-Security-Policy")
	if status != 200 || !strings.Contains(body, "<h1>wattrace monitor</h1>") || !strings.HasPrefix(csp, "default-src 'none'; script-src 'sha256-") || strings.Contains(csp, "unsafe") || head.Get("Access-Control-Allow-Origin") != "" {
		t.Error(status, csp)
	}
	for _, bad := range []string{" style=", "onclick=\"", "innerHTML", "{{", "http://", "https://"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	status, body, _ = ask(t, "GET", server.URL+"/api/snapshot")
	var s snapshot
	if err := json.Unmarshal([]byte(body), &s); err != nil || status != 200 || s.Schema != snapshotSchema || len(s.Devices) != 4 || s.Devices[1].Watts != nil {
		t.Error(status, err, body)
	}
	if strings.Contains(body, "<script>") {
		t.Error("a device's name has markup in JSON")
	}
	if status, body, _ = ask(t, "GET", server.URL+"/api/devices"); status != 200 || strings.Count(body, `"device":`) != 4 {
		t.Error(status, body)
	}
	from := epoch.Unix()
	status, body, _ = ask(t, "GET", fmt.Sprintf("%s/api/series?from=%d&to=%s&step=10", server.URL, from, epoch.Add(30*time.Second).Format(time.RFC3339)))
	var series seriesNow
	if err := json.Unmarshal([]byte(body), &series); err != nil || status != 200 || series.Step != 10 || len(series.Total) != 3 || len(series.Devices) != 4 || series.Devices[1].Watts[2] != nil {
		t.Fatal(status, err, body)
	}
	near(t, "mean of ten seconds", series.Devices[0].Watts[0], 345)
	for _, q := range []string{"from=x", "to=y", "step=0", "step=1.5", "from=NaN", "to=1e300"} {
		if status, body, _ := ask(t, "GET", server.URL+"/api/series?"+q); status != 400 {
			t.Error(q, status, body)
		}
	}
	for _, q := range []string{"from=-1e10&to=9e10", "from=9e10", "to=0", "from=9e10&to=-9e10"} {
		if status, body, _ := ask(t, "GET", server.URL+"/api/series?"+q); status != 200 {
			t.Error(q, status, body)
		}
	}
	b := &sample.Batch{Devices: []sample.Device{gpu(0)}}
	set(b, 0, 5, map[sample.MetricID]float64{sample.PowerWatts: 77})
	web.s.latest.Take(b)
	if status, body, _ = ask(t, "GET", server.URL+"/metrics"); status != 200 || !strings.Contains(body, "wattrace_power_watts{device=\"GPU-a\"") {
		t.Error(status, body)
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{{"POST", "/", 405}, {"GET", "/api/mark", 405}, {"GET", "/start", 405}, {"GET", "/absent", 404}, {"GET", "/../etc/passwd", 301}, {"DELETE", "/api/snapshot", 405}} {
		if status, _, _ := ask(t, c.method, server.URL+c.path); status != c.want && !(c.want == 301 && status/100 == 3) && !(c.want == 301 && status == 404) {
			t.Errorf("%s %s: %d", c.method, c.path, status)
		}
	}
	r, err := http.Post(server.URL+"/api/mark", "text/plain", strings.NewReader("warm\x1b up"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if now := web.look(); now.MarkIs != "warm up" || now.MarkAt == nil {
		t.Errorf("%+v", now.MarkIs)
	}
	r, err = http.Post(server.URL+"/api/mark", "text/plain", strings.NewReader(strings.Repeat("a", maxBody+1)))
	if err != nil || r.StatusCode != 413 {
		t.Error(err, r.StatusCode)
	}
	r.Body.Close()
}

// TestStrangers: names that are not ours, pages of others, and whoever has no token.
func TestStrangers(t *testing.T) {
	t.Parallel()
	_, open := site(t, filled(), "")
	_, locked := site(t, filled(), testToken)
	host := strings.TrimPrefix(open.URL, "http://")
	for _, c := range []struct {
		url, method, path string
		headers           []string
		want              int
	}{
		{open.URL, "GET", "/api/snapshot", []string{"Host: evil.example"}, 403},
		{open.URL, "GET", "/", []string{"Host: 127.0.0.1.evil.example:80"}, 403},
		{open.URL, "GET", "/api/snapshot", []string{"Host: localhost:9000"}, 200},
		{open.URL, "GET", "/api/snapshot", []string{"Host: [::1]:9000"}, 200},
		{open.URL, "GET", "/api/snapshot", []string{"Host: 192.168.1.1"}, 403},
		{open.URL, "GET", "/api/snapshot", []string{"Origin: http://evil.example"}, 403},
		{open.URL, "POST", "/api/mark", []string{"Origin: http://" + host}, 200},
		{open.URL, "POST", "/api/mark", []string{"Origin: null"}, 403},
		{open.URL, "POST", "/api/mark", []string{"Origin: http://" + host + ".evil"}, 403},
		{open.URL, "POST", "/api/mark", []string{"Origin: http://" + host, "Origin: http://evil"}, 403},
		{open.URL, "POST", "/start", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{open.URL, "POST", "/start", []string{"Sec-Fetch-Site: same-site"}, 403},
		{open.URL, "POST", "/api/mark", []string{"Sec-Fetch-Site: none"}, 403},
		{open.URL, "GET", "/", []string{"Sec-Fetch-Site: none"}, 200},
		{open.URL, "OPTIONS", "/api/snapshot", []string{"Origin: http://evil"}, 403},
		{locked.URL, "GET", "/", nil, 401},
		{locked.URL, "GET", "/metrics", nil, 401},
		{locked.URL, "GET", "/metrics", []string{"Authorization: Bearer " + testToken}, 200},
		{locked.URL, "GET", "/metrics", []string{"Authorization: bearer " + testToken, "Host: node7:8080"}, 200},
		{locked.URL, "GET", "/metrics", []string{"Authorization: Bearer " + testToken[1:]}, 401},
		{locked.URL, "GET", "/metrics", []string{"Authorization: Basic " + testToken}, 401},
		{locked.URL, "POST", "/api/mark", []string{"Authorization: Bearer " + testToken, "Origin: http://evil"}, 403},
		{locked.URL, "GET", "/api/snapshot?token=" + testToken, nil, 401},
		{locked.URL, "GET", "/?token=wrong", nil, 401},
		{locked.URL, "GET", "/", []string{"Cookie: " + cookieName + "="}, 401},
		{locked.URL, "GET", "/", []string{"Cookie: " + cookieName + "=" + testToken}, 401},
	} {
		status, body, head := ask(t, c.method, c.url+c.path, c.headers...)
		if status != c.want {
			t.Errorf("%s %s %v: %d %s", c.method, c.path, c.headers, status, body)
		}
		if strings.Contains(body, testToken) || head.Get("Access-Control-Allow-Origin") != "" || head.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %s %v", c.method, c.path, body, head)
		}
	}
	status, _, head := ask(t, "GET", locked.URL+"/?token="+testToken)
	cookie := head.Get("Set-Cookie")
	if status != 303 || head.Get("Location") != "/" || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") || strings.Contains(cookie, testToken) {
		t.Error(status, head)
	}
	cookie, _, _ = strings.Cut(cookie, ";")
	if status, _, _ := ask(t, "GET", locked.URL+"/api/snapshot", "Cookie: "+cookie); status != 200 {
		t.Error(status)
	}
}

// TestEvents: snapshots as they are published; a client too many is refused, and one that
// does not take them is dropped.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := filled()
	web, server := site(t, w, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/events", nil)
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	next := func() (s snapshot) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &s); err != nil {
					t.Error(err)
				}
				return s
			}
		}
		t.Error("the events ended")
		return s
	}
	if s := next(); s.Phase != "" || len(s.Devices) != 4 {
		t.Errorf("%+v", s)
	}
	w.setMark("two")
	web.publish(web.look())
	if s := next(); s.MarkIs != "two" {
		t.Errorf("%+v", s)
	}
	var idle []chan []byte
	web.mu.Lock()
	for len(web.clients) < maxClients {
		c := make(chan []byte, 2)
		web.clients[c] = true
		idle = append(idle, c)
	}
	web.mu.Unlock()
	if status, _, _ := ask(t, "GET", server.URL+"/api/events"); status != 503 {
		t.Error(status)
	}
	for range 3 {
		web.publish(web.look())
		next()
	}
	web.mu.Lock()
	defer web.mu.Unlock()
	if len(web.clients) != 1 {
		t.Errorf("%d clients", len(web.clients))
	}
	for _, c := range idle {
		<-c
		<-c
		if _, open := <-c; open {
			t.Error("a slow client goes on")
		}
	}
}

// TestManyClients: 200 clients of events on real connections, of which some never read and
// some leave in the middle, and as many other connections as there may be: one more is told
// so, and the others live on.
func TestManyClients(t *testing.T) {
	t.Parallel()
	const reading, silent, leaving = 120, 40, 40
	s := &session{o: &options{}, model: filled().model, source: &source{name: "power.arrows"}}
	web := newWeb(s)
	web.bound = "127.0.0.1"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	most := newLimited(l, maxConnections)
	go web.server.Serve(most)
	t.Cleanup(func() {
		close(web.done)
		web.server.Close()
	})
	url := "http://" + l.Addr().String()
	connect := func(request string) *net.TCPConn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, request)
		return c.(*net.TCPConn)
	}
	events := func() (*net.TCPConn, *bufio.Reader) {
		c := connect("GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		in := bufio.NewReader(c)
		if status, err := in.ReadString('\n'); err != nil || status != "HTTP/1.1 200 OK\r\n" {
			t.Fatal(status, err)
		}
		return c, in
	}
	got := make(chan string, reading)
	for range reading {
		_, in := events()
		go func() {
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if data, ok := strings.CutPrefix(line, "data: "); ok {
					var s snapshot
					if err := json.Unmarshal([]byte(data), &s); err != nil {
						t.Error(err)
					}
					got <- s.MarkIs
				}
			}
		}()
	}
	for range silent {
		events()
	}
	for range leaving {
		c, _ := events()
		c.SetLinger(0) // a reset
		c.Close()
	}
	tell := func(mark string) {
		t.Helper()
		s.model.setMark(mark)
		web.publish(web.look())
		for range reading {
			if m := <-got; m != mark {
				t.Fatalf("the mark is %q, want %q", m, mark)
			}
		}
	}
	for range reading {
		<-got // what each client gets first
	}
	for i := range 10 {
		tell(fmt.Sprint("mark ", i))
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for start := time.Now(); !is(); runtime.Gosched() {
			if time.Since(start) > 20*time.Second {
				t.Fatal(what)
			}
		}
	}
	until("who left is still a client", func() bool { return len(most.free) == reading+silent })
	var idle []net.Conn
	for range maxConnections - reading - silent {
		idle = append(idle, connect("GET /api/devices HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
	}
	until("there is still room", func() bool { return len(most.free) == maxConnections })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 2 * maxRefusals {
		answer, err := client.Get(url + "/api/snapshot")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		if answer.Body.Close(); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "256 connections are open already") {
			t.Fatal(answer.Status, string(body))
		}
	}
	tell("full")
	for _, c := range idle {
		c.Close()
	}
	until("a closed connection still counts", func() bool { return len(most.free) == reading+silent })
	if answer, err := client.Get(url + "/api/snapshot"); err != nil || answer.StatusCode != 200 {
		t.Error(err)
	}
	tell("room again")
}

// TestTruth: in its order, by readings after the request, and null for what is not known.
func TestTruth(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, server := site(t, w, "")
	if status, _, _ := ask(t, "POST", server.URL+"/start"); status != 503 {
		t.Error("without a device:", status)
	}
	for _, path := range []string{"/sample", "/stop"} {
		if status, _, _ := ask(t, "POST", server.URL+path); status != 409 {
			t.Error("before the start:", status)
		}
	}
	if status, body, _ := ask(t, "GET", server.URL+"/status"); status != 200 || !strings.Contains(body, `"running":false,"started_ns":null`) || !strings.Contains(body, `"total_power_w":null`) {
		t.Error(status, body)
	}
	devices := []sample.Device{gpu(0), gpu(1)}
	read := func(seconds float64) {
		w.at(seconds, devices, func(b *sample.Batch, at trace.Time) {
			set(b, 0, at, map[sample.MetricID]float64{sample.PowerWatts: 200, sample.PowerInstantWatts: 210, sample.EnergyJoules: 1000 + 200*seconds, sample.MemoryUsedBytes: 5e9})
			set(b, 1, at, map[sample.MetricID]float64{sample.PowerWatts: 100})
		})
	}
	read(1)
	// request makes one and then brings a reading, once it waits for that.
	request := func(path string, seconds float64) (now truthNow) {
		t.Helper()
		type result struct {
			status int
			body   string
		}
		got := make(chan result, 1)
		go func() {
			status, body, _ := ask(t, "POST", server.URL+path)
			got <- result{status, body}
		}()
		for waiting := false; !waiting; {
			w.mu.Lock()
			waiting = len(w.probes) > 0
			w.mu.Unlock()
		}
		w.at(w.clock.Sub(epoch).Seconds()-0.25, devices[:1], func(b *sample.Batch, at trace.Time) { // of before it came
			w.clock = w.clock.Add(250 * time.Millisecond)
			set(b, 0, at, map[sample.MetricID]float64{sample.PowerWatts: 200})
		})
		read(seconds)
		r := <-got
		if err := json.Unmarshal([]byte(r.body), &now); err != nil || r.status != 200 {
			t.Error(path, r.status, r.body)
		}
		return now
	}
	now := request("/start", 2)
	if !now.Running || now.GPUs != 2 || *now.Started != epoch.Add(time.Second).UnixNano() {
		t.Errorf("%+v", now)
	}
	near(t, "at the start", now.Joules, 0)
	now = request("/sample", 4)
	near(t, "energy", now.Joules, 600)
	near(t, "power", now.Watts, 310)
	near(t, "elapsed", now.Elapsed, 3)
	a, b := now.Samples[0], now.Samples[1]
	near(t, "counter", a.Joules, 1800)
	near(t, "memory", a.Used, 5)
	if a.Method != byCounter || b.Method != byPower || b.Joules != nil || b.Celsius != nil || a.Time != epoch.Add(4*time.Second).UnixNano() {
		t.Errorf("%+v", now.Samples)
	}
	devices = devices[:1]
	w.at(10, devices, func(b *sample.Batch, at trace.Time) {
		set(b, 0, at, map[sample.MetricID]float64{sample.PowerWatts: 200, sample.EnergyJoules: 3000})
	})
	read = func(seconds float64) {
		w.at(seconds, devices, func(b *sample.Batch, at trace.Time) {
			set(b, 0, at, map[sample.MetricID]float64{sample.PowerWatts: 200, sample.EnergyJoules: 1000 + 200*seconds})
		})
	}
	now = request("/stop", 11)
	if now.Running || now.Missing != 1 || now.Joules != nil || now.Watts != nil || now.Samples[0].Delta == nil {
		t.Errorf("%+v", now)
	}
	if status, _, _ := ask(t, "POST", server.URL+"/sample"); status != 409 {
		t.Error("after the stop:", status)
	}
}
