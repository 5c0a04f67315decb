package measure

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/served"
	"wattrace/cmd/internal/sibling"
)

// server is the one that is measured, whether measure started it or not.
type server struct {
	o       *options
	client  *http.Client
	urls    []string
	version string
	model   string           // what it calls its model; "" until asked
	p       *sibling.Process // nil: it was there
	log     string           // path; "" without p
	ready   time.Duration
	end     string // how it ended; "" while it runs
}

// errStopped is the end of a wait by a signal.
var errStopped = errors.New("stopped by a signal")

func newServer(o *options) (*server, error) {
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true} // a connection that rests would be one more of the server's
	if o.insecure || o.caFile != "" {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: o.insecure}
	}
	if o.caFile != "" {
		b, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s: has no certificate", o.caFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &server{o: o, urls: o.urls, client: &http.Client{Transport: transport, Timeout: 5 * time.Second}}, nil
}

// start starts the command and waits until it is ready.
func (s *server) start(soft, hard context.Context, env *cli.Env, dir string, command []string) error {
	if err := s.mustBeFree(soft); err != nil {
		return err
	}
	log, path, err := openServerLog(dir)
	if err != nil {
		return err
	}
	defer log.Close()
	if s.o.urlFile != "" {
		os.Remove(s.o.urlFile) // what another server said is not this one's
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	mark := newMark()
	cmd.Env = append(os.Environ(), sibling.MarkVariable+"="+mark)
	s.p, err = sibling.Begin(command[0], cmd, nil)
	if err != nil {
		return err
	}
	s.p.Mark, s.log, s.end = mark, path, ""
	begun := time.Now()
	if err := s.await(soft, hard, s.p.Done, begun); err != nil {
		if s.p.Ended() {
			err = fmt.Errorf("%s: ended before it was ready: %s; %s", command[0], s.p.How(), s.lastWords())
		}
		return err
	}
	s.ready = time.Since(begun)
	env.Summaryf("the server is ready after %.1f s", s.ready.Seconds())
	return nil
}

// mustBeFree makes sure that no other server would be measured in the place of one that is
// to be started.
func (s *server) mustBeFree(ctx context.Context) error {
	for _, u := range s.urls {
		if s.answers(ctx, u) {
			return cli.Hint(fmt.Errorf("%s: a server is there already", redactURL(u)), "stop it, or measure it as it is, without a command after --")
		}
	}
	return nil
}

// lastWords is how the server's log ends.
func (s *server) lastWords() string { return logEnd("its log, "+s.log+",", s.log) }

// logEnd says how a log ends.
func logEnd(what, path string) string {
	if lines := sibling.LastLines(path); lines != "" {
		return what + " ends:\n" + lines
	}
	return what + " is empty"
}

// newMark returns what marks the processes of a server.
func newMark() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// openServerLog makes server.log or, where a server was there before, server.2.log.
func openServerLog(dir string) (*os.File, string, error) {
	for n := 1; ; n++ {
		path := filepath.Join(dir, "server.log")
		if n > 1 {
			path = filepath.Join(dir, fmt.Sprintf("server.%d.log", n))
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, path, err
		}
	}
}

// await polls until the server is ready. died, if not nil, is closed when it has ended.
func (s *server) await(soft, hard context.Context, died <-chan struct{}, begun time.Time) error {
	deadline := time.NewTimer(s.o.readyTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(s.o.readyPoll)
	defer poll.Stop()
	last := "it has not been asked"
	for {
		var ok bool
		if ok, last = s.isReady(soft); ok {
			select {
			case <-died: // another server answered
				return errors.New("the server has ended")
			default:
			}
			s.version = s.askVersion(soft)
			return nil
		}
		select {
		case <-poll.C:
		case <-died:
			return errors.New("the server has ended")
		case <-soft.Done():
			return errStopped
		case <-deadline.C:
			err := fmt.Errorf("the server is not ready after %v: %s", time.Since(begun).Round(100*time.Millisecond), last)
			if s.p != nil {
				err = fmt.Errorf("%w; %s", err, s.lastWords())
			}
			return cli.Hint(err, "--ready-timeout is how long to wait, --ready-url what to ask")
		}
	}
}

// isReady asks once; why says what is lacking.
func (s *server) isReady(ctx context.Context) (ok bool, why string) {
	if s.o.urlFile != "" {
		b, err := os.ReadFile(s.o.urlFile)
		u := strings.TrimSpace(string(b))
		if err != nil || u == "" {
			return false, s.o.urlFile + " is not written"
		}
		if s.urls, err = cleanURLs([]string{u}); err != nil {
			return false, err.Error()
		}
	}
	if s.o.readyURL != "" {
		status, _, err := s.get(ctx, s.o.readyURL)
		return is2xx(status), answer(s.o.readyURL, status, err)
	}
	for _, u := range s.urls {
		status, _, err := s.get(ctx, u+"/health")
		if status == http.StatusNotFound || status == http.StatusMethodNotAllowed { // it has no such page
			status, _, err = s.get(ctx, u+"/v1/models")
			if !is2xx(status) {
				return false, answer(u+"/v1/models", status, err)
			}
			continue
		}
		if !is2xx(status) {
			return false, answer(u+"/health", status, err)
		}
		if status, _, err = s.get(ctx, u+"/v1/models"); err != nil || status >= 500 {
			return false, answer(u+"/v1/models", status, err)
		}
	}
	return true, ""
}

func is2xx(status int) bool { return status >= 200 && status < 300 }

func answer(u string, status int, err error) string {
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Sprintf("%s: %v", redactURL(u), err)
	}
	return fmt.Sprintf("%s: HTTP status %d", redactURL(u), status)
}

// answers reports whether something speaks HTTP there.
func (s *server) answers(ctx context.Context, u string) bool {
	_, _, err := s.get(ctx, u+"/health")
	return err == nil
}

// get fetches a page.
func (s *server) get(ctx context.Context, u string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return 0, nil, err
	}
	if s.o.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.o.key)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

// askVersion returns the version that the server says it has; "" is unknown.
func (s *server) askVersion(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	header := http.Header{}
	if s.o.key != "" {
		header.Set("Authorization", "Bearer "+s.o.key)
	}
	return served.Version(ctx, s.client, s.urls[0], header)
}

// askWithin is how long a server may take to say what it is: it is ready.
const askWithin = 5 * time.Second

// askModel returns the model that the server has, the first where it has several.
func (s *server) askModel(ctx context.Context, env *cli.Env) (string, error) {
	if s.model != "" {
		return s.model, nil
	}
	status, body, err := s.get(ctx, s.urls[0]+"/v1/models")
	var v struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err != nil || !is2xx(status) || json.Unmarshal(body, &v) != nil || len(v.Data) == 0 || v.Data[0].ID == "" {
		return "", cli.Hint(fmt.Errorf("%s does not say which model the server has", redactURL(s.urls[0]+"/v1/models")), "--model says it")
	}
	if len(v.Data) > 1 {
		env.Summaryf("the server has %d models: the first is measured, %s; --model chooses another", len(v.Data), v.Data[0].ID)
	}
	s.model = v.Data[0].ID
	return s.model, nil
}

// alive reports whether there is a server to measure; one that measure did not start is
// taken to be.
func (s *server) alive() bool { return s.end == "" && (s.p == nil || !s.p.Ended()) }

// died is closed when the server ends by itself; nil is never.
func (s *server) died() <-chan struct{} {
	if s.p == nil {
		return nil
	}
	return s.p.Done
}

// stop ends what measure started. It may be called again.
func (s *server) stop(hard context.Context) {
	if s.p == nil || s.end != "" {
		return
	}
	died := s.p.Ended()
	killed := s.p.Stop(s.o.stopGrace, hard.Done())
	switch {
	case died:
		s.end = "died"
	case killed:
		s.end = "killed"
	default:
		s.end = "stopped"
	}
}
