package replay

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"wattrace/cmd/internal/served"
	"wattrace/formats/requests"
	"wattrace/replay"
)

// askWithin is how long all servers together may take to say which version they are of.
const askWithin = 2 * time.Second

// askServers asks the targets for their versions, all at once and before anything is
// timed. The run does not depend on their answers: what one does not say is left out.
func askServers(ctx context.Context, opt *replay.Options, now time.Time) []requests.Server {
	within := askWithin
	if !opt.StartAt.IsZero() { // which is not to be missed for this
		within = min(within, opt.StartAt.Sub(now)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	header := opt.Client.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if opt.Client.Key != "" {
		header.Set("Authorization", "Bearer "+opt.Client.Key)
	}
	dialer := &net.Dialer{}
	if len(opt.Client.SourceAddresses) > 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: opt.Client.SourceAddresses[0].AsSlice()}
	}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: opt.Client.TLS.Clone(), DisableKeepAlives: true} // no proxy, as for requests
	client := &http.Client{Transport: transport}
	versions := make([]string, len(opt.Targets))
	var asking sync.WaitGroup
	for i, t := range opt.Targets {
		asking.Go(func() { versions[i] = served.Version(ctx, client, t.String(), header) })
	}
	asking.Wait()
	var all []requests.Server
	for i, v := range versions {
		if v != "" {
			all = append(all, requests.Server{Target: opt.Targets[i].String(), Version: v})
		}
	}
	return all
}
