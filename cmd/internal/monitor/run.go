package monitor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/exposition"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/sample/server"
	"wattrace/trace"
)

// now is the clock of a run: a test's may fail.
var now = time.Now

// session is one run of the tool.
type session struct {
	env    *cli.Env
	o      *options
	model  *model
	source *source
	screen *screen // nil: lines, or nothing
	csv    *csvFile
	web    *web // nil without --listen
	latest exposition.Latest

	mu       sync.Mutex // guards what follows
	clock    trace.Clock
	messages []message // what was said while the screen was on
	scroll   int
}

// message is what would go to standard error, were it not drawn over.
type message struct {
	text  string
	child bool // record said it
}

// maxMessages is how many are kept for when the screen is gone, and shownMessages how many
// it shows.
const (
	maxMessages   = 20
	shownMessages = 3
)

// say is Printf that does not disturb the screen.
func (s *session) say(child bool, text string) {
	if s.screen == nil {
		if child {
			fmt.Fprintln(s.env.Stderr, printable(text)) // it begins with record's name
		} else {
			s.env.Printf("%s", text)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.messages = append(s.messages, message{text, child}); len(s.messages) > maxMessages {
		s.messages = s.messages[1:]
	}
}

func (s *session) sayf(format string, args ...any) { s.say(false, fmt.Sprintf(format, args...)) }

func (s *session) shown() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages[max(0, len(s.messages)-shownMessages):] {
		lines = append(lines, m.text)
	}
	return lines
}

func (o *options) run(ctx context.Context, env *cli.Env) (err error) {
	s := &session{env: env, o: o, model: newModel(int(o.history/time.Second), now)}
	s.model.full = func() {
		go s.sayf("there are too many devices for the history of all: %d MiB are used", maxHistory>>20)
	}
	feed := &feeder{model: s.model, say: s.sayf, taken: []func(*sample.Batch, *telemetry.Reader){s.keep}}
	if s.source, err = o.find(env, feed, func(line string) { s.say(true, line) }); err != nil {
		return err
	}
	if o.csv != "" {
		if s.csv, err = openCSV(o.csv); err != nil {
			return err
		}
		defer s.csv.close()
	}
	clock := trace.NewSteadyClock()
	servers, err := s.openServers(clock)
	if err != nil {
		return err
	}
	redrawn, plain := env.ShowsTo(env.Stdout)
	if redrawn && os.Getenv("TERM") == "dumb" {
		redrawn, plain = false, true
	}
	if o.listen != "" {
		if s.web, err = s.listen(); err != nil {
			return err
		}
		defer s.web.close()
		if !redrawn {
			env.Summaryf("the page is at %s", s.web.url)
		}
	}
	soft, hard, stop := cli.Signals(ctx)
	defer stop()
	soft, leaveNow := context.WithCancel(soft)
	defer leaveNow()
	redraw := make(chan struct{}, 1)
	poke := func() {
		select {
		case redraw <- struct{}{}:
		default:
		}
	}
	if redrawn {
		s.screen = openScreen(env.Stdout.(*os.File))
		feed.screen = s.screen
		defer s.leave()
		defer s.screen.guard()
		defer s.screen.watch(poke)()
		if s.screen.keys != nil {
			go s.screen.readKeys(func(k key) {
				s.press(k, leaveNow)
				poke()
			})
		}
		if s.web != nil {
			s.sayf("the page is at %s", s.web.url)
		}
	}
	defer s.startServers(hard, clock, servers)()
	result := make(chan error, 1)
	go func() {
		defer s.screen.guard()
		result <- s.source.read(soft, hard)
	}()
	return s.loop(soft, hard, plain, redraw, result)
}

// loop shows what there is until there will be no more, and with --listen until it is told
// to end.
func (s *session) loop(soft, hard context.Context, plain bool, redraw <-chan struct{}, result <-chan error) error {
	tick := time.NewTicker(s.o.every)
	defer tick.Stop()
	var fault error
	var over <-chan struct{} // of the page, once there are no more readings
	silent := false
	for {
		select {
		case <-tick.C:
			if err := s.poll(plain); err != nil {
				return err
			}
			if now := s.model.silence() > 0; now != silent {
				if silent = now; now && !plain {
					s.sayf("no reading for %v", quiet)
				} else if !now && !plain {
					s.sayf("there are readings again")
				}
			}
		case <-redraw:
			s.draw()
		case err := <-result:
			result, fault = nil, err
			s.model.end()
			if err := s.poll(plain); err != nil {
				return err
			}
			if s.web == nil || soft.Err() != nil {
				return fault
			}
			if fault != nil {
				s.sayf("%v", fault)
			}
			s.sayf("no more readings will come; the page stays until Ctrl-C")
			plain = false // the last line stays the last
			over = soft.Done()
		case <-over:
			if fault != nil { // it was said
				return cli.ExitStatus(exitOf(fault))
			}
			return nil
		case <-hard.Done():
			if result == nil {
				return fault
			}
			select { // record is being ended
			case err := <-result:
				return errors.Join(err, cli.ErrInterrupted)
			case <-time.After(endWithin):
				return cli.ErrInterrupted
			}
		}
	}
}

// exitOf is the exit code that an error would have.
func exitOf(err error) int {
	if cli.IsIncomplete(err) {
		return cli.ExitIncomplete
	}
	return cli.ExitFailed
}

// keep notes what the page of metrics shows.
func (s *session) keep(b *sample.Batch, r *telemetry.Reader) {
	if s.web == nil {
		return
	}
	s.mu.Lock()
	s.clock = r.Head().Clock
	s.mu.Unlock()
	s.latest.Take(b)
}

// poll does what is due each --every.
func (s *session) poll(plain bool) error {
	if s.csv != nil {
		if err := s.csv.poll(s.model); err != nil {
			return fmt.Errorf("%s: %w", s.o.csv, err)
		}
	}
	now := s.model.look(s.source.name)
	if s.web != nil {
		s.web.publish(now)
	}
	switch {
	case s.screen != nil:
		s.mu.Lock()
		scroll := s.scroll
		s.mu.Unlock()
		s.screen.draw(now, s.shown(), scroll)
	case plain:
		if _, err := fmt.Fprintln(s.env.Stdout, plainLine(now)); err != nil {
			if errors.Is(err, syscall.EPIPE) {
				return cli.ExitStatus(cli.ExitFailed)
			}
			return err
		}
	}
	return nil
}

func (s *session) draw() {
	s.mu.Lock()
	scroll := s.scroll
	s.mu.Unlock()
	s.screen.draw(s.model.look(s.source.name), s.shown(), scroll)
}

// press does what a key says. A terminal in raw mode makes no signals: they are made here,
// for all of the pipeline, as it would have.
func (s *session) press(k key, leave func()) {
	switch k {
	case keyQuit:
		if s.source.piped { // who writes the recording is to end it
			syscall.Kill(0, syscall.SIGINT)
		} else {
			leave()
		}
	case keyInterrupt:
		syscall.Kill(0, syscall.SIGINT)
	case keyStop:
		s.screen.restore()
		syscall.Kill(0, syscall.SIGTSTP)
	case keyMark:
		s.model.setMark("")
	case keyDown, keyUp:
		s.mu.Lock()
		if k == keyDown {
			s.scroll = min(s.scroll+1, maxKnown)
		} else {
			s.scroll = max(0, s.scroll-1)
		}
		s.mu.Unlock()
	case keyRedraw:
		s.screen.enter()
	}
}

// leave gives the terminal back, and prints what was on it and what was said meanwhile.
func (s *session) leave() {
	s.screen.restore()
	l := s.screen.look
	l.keys, l.scroll = false, 0
	l.width, _ = s.screen.size()
	l.height = 1 << 20
	now := s.model.look(s.source.name)
	now.Message = ""
	if now.Time != nil {
		for _, line := range l.table(now, nil) {
			fmt.Fprintln(s.env.Stdout, line)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if m.child {
			fmt.Fprintln(s.env.Stderr, printable(m.text))
		} else {
			s.env.Printf("%s", m.text)
		}
	}
}

// openServers opens the pages of --server.
func (s *session) openServers(clock *trace.SteadyClock) (feeds []*server.Feed, err error) {
	for _, so := range s.o.servers {
		f, err := server.Open(server.Options{Kind: so.kind, URL: so.url, Interval: s.o.scrape, Now: clock.Now, Failed: func(err error) { s.sayf("%v", err) }})
		if err != nil {
			return nil, cli.Usagef("--server %s: %v", so.kind, err)
		}
		feeds = append(feeds, f)
	}
	return feeds, nil
}

// startServers begins to read them.
func (s *session) startServers(ctx context.Context, clock *trace.SteadyClock, feeds []*server.Feed) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	inbox := &sample.Inbox{Most: 2 * maxServers} // a server that is known by another name is another device
	for _, f := range feeds {
		running.Go(func() {
			defer f.Close()
			defer s.screen.guard()
			if err := f.Run(ctx, inbox); err != nil && ctx.Err() == nil {
				s.sayf("%v", err)
			}
		})
	}
	if len(feeds) > 0 {
		running.Go(func() {
			defer s.screen.guard()
			tick := time.NewTicker(min(s.o.scrape, time.Second))
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					s.model.takeOwn(inbox.Collect(), clock.Clock().Wall)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}
