package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"wattrace/cmd/internal/cli"
	"wattrace/sample"
)

// announce tells those who wait that the recording runs: the file of --ready,
// and systemd, whose watchdog it feeds from then on as long as rows are written.
// The returned function takes it back.
func (o *options) announce(ctx context.Context, r *recording) (withdraw func()) {
	if o.ready != "" {
		os.Remove(o.ready) // of a record that was killed: nobody is to take it for this one's
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	alive := make(chan struct{}, 1)
	r.latest = append(r.latest, func(*sample.Batch) {
		select {
		case alive <- struct{}{}:
		default:
		}
	})
	go func() {
		defer close(done)
		select {
		case <-r.running:
		case <-ctx.Done():
			return
		}
		if err := o.writeReady(); err != nil {
			r.env.Printf("--ready %s: %v", o.ready, err)
		}
		daemon.SdNotify(false, daemon.SdNotifyReady)
		within, err := daemon.SdWatchdogEnabled(false)
		if err != nil || within == 0 {
			return
		}
		tick := time.NewTicker(within / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			select {
			case <-alive:
			default:
				if o.interval < within/3 {
					continue // a recorder that writes nothing is to be started anew
				}
			}
			daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
	}()
	return func() {
		cancel()
		<-done
		if o.ready != "" {
			os.Remove(o.ready)
		}
		daemon.SdNotify(false, daemon.SdNotifyStopping)
	}
}

// checkReady makes sure that nothing is lost by the file of --ready: one that is there
// must be what a killed record left.
func (o *options) checkReady() error {
	if o.ready == "" {
		return nil
	}
	for flag, path := range map[string]string{"-o": o.names.path(0), "--control": o.control} {
		if path != "" && path != "-" && samePath(path, o.ready) {
			return cli.Usagef("--ready %s is what %s names, too", o.ready, flag)
		}
	}
	info, err := os.Lstat(o.ready)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(o.ready))
		if err != nil {
			err = fmt.Errorf("--ready %s: %w", o.ready, err)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("--ready %w", err)
	}
	const longest = 20
	var b []byte
	if info.Mode().IsRegular() && info.Size() <= longest {
		if b, err = os.ReadFile(o.ready); err != nil {
			return fmt.Errorf("--ready %w", err)
		}
	}
	if pid, ended := strings.CutSuffix(string(b), "\n"); !ended || !isIndex.MatchString(pid) {
		return cli.Hint(fmt.Errorf("--ready %s: exists already and is none of record's", o.ready), "name a file of its own: it is removed when the recording ends")
	}
	return nil
}

func samePath(a, b string) bool {
	x, errX := filepath.Abs(a)
	y, errY := filepath.Abs(b)
	return errX == nil && errY == nil && x == y
}

// writeReady makes the file of --ready appear whole, with the process's number.
func (o *options) writeReady() error {
	if o.ready == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(o.ready), "."+filepath.Base(o.ready)+".*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), o.ready)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
