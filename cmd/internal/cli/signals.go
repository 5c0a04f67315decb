package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Signals returns two contexts: the first SIGINT, SIGTERM or SIGHUP (the terminal
// is gone; not where nohup has it ignored) cancels soft, the second hard (and a third kills, as if nothing had been caught). A producer
// stops issuing when soft ends and gives up what is in flight when hard ends;
// a consumer that reads a pipe ignores soft and reads to the end, since Ctrl-C
// reaches the whole pipeline and its producer is about to close its output.
// stop must be called when the tool is done.
func Signals(ctx context.Context) (soft, hard context.Context, stop func()) {
	hard, cancelHard := context.WithCancel(ctx)
	soft, cancelSoft := context.WithCancel(hard)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for _, cancel := range []func(){cancelSoft, cancelHard} {
			select {
			case <-signals:
				cancel()
			case <-done:
				return
			}
		}
		signal.Stop(signals)
	}()
	return soft, hard, func() {
		signal.Stop(signals)
		close(done)
		<-gone
		cancelHard()
		cancelSoft()
	}
}

// IgnoreFirstSignal makes the process live through one SIGINT or SIGTERM, for
// a consumer that reads a pipe: Ctrl-C reaches the whole pipeline, and its
// producer is about to close its output. The next one kills. restore ends it.
func IgnoreFirstSignal() (restore func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-signals:
		case <-done:
		}
		signal.Stop(signals)
	}()
	return func() {
		close(done)
		<-gone
	}
}
