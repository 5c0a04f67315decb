package replay

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/requests"
	"wattrace/replay"
	"wattrace/trace"
)

// clientOptions are the flags that say how requests are made.
type clientOptions struct {
	balance    string
	caFile     string
	insecure   bool
	serverName string
	sources    []string
	preconnect int
	keepAlive  time.Duration
	kernel     bool
	salt       int64
}

// defaultKeepAlive is below the 5 s after which uvicorn closes a connection.
const defaultKeepAlive = 4 * time.Second

// maxPreconnect bounds --preconnect as concurrency is bounded.
const maxPreconnect = trace.MaxConcurrency

func (o *clientOptions) flags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "balance", Usage: "share requests among several --url: `round-robin`, least (in flight) or sticky (by conversation)", Value: string(replay.RoundRobin), Destination: &o.balance},
		&ucli.StringFlag{Name: "ca-file", Usage: "trust the certificates in `FILE` (PEM), and no others", Destination: &o.caFile},
		&ucli.StringFlag{Name: "server-name", Usage: "`NAME` that the server's certificate must have, and that is asked for (SNI)", Destination: &o.serverName},
		&ucli.BoolFlag{Name: "insecure", Usage: "do not check the server's certificate; the log says so", Destination: &o.insecure},
		&ucli.StringSliceFlag{Name: "source-address", Usage: "connect from the local `ADDRESS`; several take turns, for more than 28,000 ports"},
		&ucli.IntFlag{Name: "preconnect", Usage: "open `N` connections before the first phase", Destination: &o.preconnect},
		&ucli.DurationFlag{Name: "keepalive", Usage: "close a connection that has rested for `TIME`; 0 keeps none", Value: defaultKeepAlive, Destination: &o.keepAlive},
		&ucli.BoolFlag{Name: "kernel-timestamps", Usage: "stamp what arrives with the kernel's clock (Linux)", Destination: &o.kernel},
		&ucli.Int64Flag{Name: "cache-salt", Usage: "give each body a cache_salt of its own, made from `SEED`, so that no prefix is cached", Destination: &o.salt},
	}
}

// apply turns the flags into options of the engine.
func (o *clientOptions) apply(opt *replay.Options, isSet func(string) bool) error {
	switch b := replay.Balance(o.balance); b {
	case replay.RoundRobin, replay.Least, replay.Sticky:
		opt.Balance = b
	default:
		return cli.Usagef("--balance %q: want %s, %s or %s", o.balance, replay.RoundRobin, replay.Least, replay.Sticky)
	}
	if o.keepAlive < 0 {
		return cli.Usagef("--keepalive is negative")
	}
	if o.preconnect < 0 || o.preconnect > maxPreconnect {
		return cli.Usagef("--preconnect must be from 0 to %d", maxPreconnect)
	}
	if o.insecure && o.caFile != "" {
		return cli.Usagef("--insecure checks no certificate: --ca-file has no use beside it")
	}
	c := &opt.Client
	c.KeepAlive, c.KernelTimestamps, opt.Preconnect = o.keepAlive, o.kernel, o.preconnect
	if o.keepAlive == 0 {
		c.KeepAlive = -1
	}
	if isSet("cache-salt") {
		opt.CacheSalt = trace.Some(o.salt)
	}
	var err error
	if c.SourceAddresses, err = o.addresses(); err != nil {
		return err
	}
	c.TLS = &tls.Config{InsecureSkipVerify: o.insecure, ServerName: o.serverName}
	c.TLS.RootCAs, err = o.authorities()
	return err
}

// addresses reads the local addresses and checks that they are ours.
func (o *clientOptions) addresses() (all []netip.Addr, err error) {
	for _, s := range o.sources {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, cli.Usagef("--source-address %q: not an IP address", s)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(s, "0"))
		if err != nil {
			return nil, fmt.Errorf("--source-address %s: not an address of this machine: %w", s, err)
		}
		l.Close()
		all = append(all, a)
	}
	return all, nil
}

func (o *clientOptions) authorities() (*x509.CertPool, error) {
	if o.caFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(o.caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate in it (PEM)", o.caFile)
	}
	return pool, nil
}

// connections is what the run line says of the client.
func connections(opt *replay.Options) (requests.ChunkClock, requests.Connections) {
	clock := requests.UserClock
	if opt.Client.KernelTimestamps {
		clock = requests.KernelClock
	}
	return clock, requests.Connections{
		Balance: string(opt.Balance), KeepAlive: max(0, opt.Client.KeepAlive), Preconnect: opt.Preconnect,
		SourceAddresses: len(opt.Client.SourceAddresses), Insecure: opt.Client.TLS.InsecureSkipVerify, CacheSaltSeed: opt.CacheSalt,
	}
}
