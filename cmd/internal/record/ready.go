package record

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"wattrace/sample"
)

// announce tells those who wait that the recording runs: the file of --ready,
// and systemd, whose watchdog it feeds from then on as long as rows are written.
// The returned function takes it back.
func (o *options) announce(ctx context.Context, r *recording) (withdraw func()) {
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
