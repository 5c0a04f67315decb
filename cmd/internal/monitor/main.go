package monitor

import (
	"cmp"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/exposition"
	"wattrace/sample"
	"wattrace/sample/scrape"
)

const manual = `
Shows the devices of a recording while it is made: power, energy since a mark,
utilisation, clocks, temperature, and what holds the clocks down.

  monitor
  monitor power.arrows
  record | tee -i power.arrows | monitor
  monitor --listen 127.0.0.1:8080 --server vllm:http://127.0.0.1:8000

Without an operand, and with nothing piped into it, it starts record. On a terminal
q leaves and m marks; elsewhere there is a line each second. --listen shows a page and
answers programs.
`

// options are the flags.
type options struct {
	interval     time.Duration
	sources      []string
	devices      *string // nil is all
	library      string
	recordFlags  []string
	out          string // of record; "-" is none
	force        bool
	recorderFlag string // one that was given and is of record's

	listen, tokenFile string
	token             string
	servers           []serverOption
	scrape            time.Duration
	csv               string
	every             time.Duration
	history           time.Duration
}

type serverOption struct {
	kind sample.SourceName
	url  string
}

// Main runs the tool and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	return cli.Main(ctx, cli.Tool{
		Name:   "monitor",
		Usage:  "show power and energy live, in a terminal, on a page and to programs",
		Args:   "[FILE|-]",
		Manual: manual,
		Output: true, OutputUsage: "keep what record reads in `FILE`, which monitor then follows",
		Flags: []ucli.Flag{
			&ucli.DurationFlag{Name: "interval", Usage: "of the record that it starts: `TIME` between two readings", Value: sample.DefaultInterval, Destination: &o.interval},
			&ucli.StringSliceFlag{Name: "source", Usage: "what to record, `NAME` or NAME:ARGUMENT, as record takes it; may be repeated; nvml unless given"},
			&ucli.StringFlag{Name: "devices", Usage: "GPUs to record, a `LIST` as record takes it"},
			&ucli.StringFlag{Name: "nvml-library", Usage: "`PATH` of NVML, if not the driver's libnvidia-ml.so.1", Destination: &o.library},
			&ucli.StringSliceFlag{Name: "record-flag", Usage: "one more flag for record, `NAME[=VALUE]` without dashes; may be repeated"},
			&ucli.StringFlag{Name: "listen", Usage: "show a page and answer programs on `HOST:PORT`; :PORT is this host alone", Destination: &o.listen},
			&ucli.StringFlag{Name: "token-file", Usage: "whoever asks must know the token in `FILE`; else that in $" + tokenVariable + "; needed beyond this host", Destination: &o.tokenFile},
			&ucli.StringSliceFlag{Name: "server", Usage: "count the tokens of a server, `KIND:URL`, of vllm, sglang or trtllm; may be repeated"},
			&ucli.DurationFlag{Name: "scrape-interval", Usage: "`TIME` between two fetches of a server's page", Value: scrape.DefaultInterval, Destination: &o.scrape},
			&ucli.StringFlag{Name: "csv", Usage: "append the latest readings to `FILE`, a row a device", Destination: &o.csv},
			&ucli.DurationFlag{Name: "every", Usage: "`TIME` between two lines, rows of --csv and events", Value: time.Second, Destination: &o.every},
			&ucli.DurationFlag{Name: "history", Usage: "keep `TIME` of power for charts, 16 bytes a second and device, 64 MiB at most", Value: time.Hour, Destination: &o.history},
		},
		Action: func(ctx context.Context, env *cli.Env, c *ucli.Context) error {
			o.sources, o.recordFlags = c.StringSlice("source"), c.StringSlice("record-flag")
			if c.IsSet("devices") {
				devices := c.String("devices")
				o.devices = &devices
			}
			o.out, o.force = cmp.Or(env.OutputPath(), "-"), env.Force() // - is the pipe from record
			for _, name := range []string{"csv", "listen", "token-file", "nvml-library", "output"} {
				if c.IsSet(name) && c.String(name) == "" {
					return cli.Usagef("--%s is empty", name)
				}
			}
			for _, name := range []string{"interval", "source", "devices", "nvml-library", "record-flag", "output"} {
				if c.IsSet(name) {
					o.recorderFlag = name
					break
				}
			}
			if err := o.check(env, c.StringSlice("server")); err != nil {
				return err
			}
			return o.run(ctx, env)
		},
	}, args, stdin, stdout, stderr)
}

// ours are flags of record that monitor gives itself, or that it could not go on with.
var ours = []string{"o", "output", "force", "q", "quiet", "progress", "interval", "source", "devices", "nvml-library", "ready", "rotate", "list", "characterise", "load", "format", "help", "h", "version"}

const (
	maxHistoryTime = 24 * time.Hour
	maxServers     = 64
)

// check finds what is wrong with the command line before anything is opened.
func (o *options) check(env *cli.Env, servers []string) error {
	switch {
	case env.Command != nil:
		return cli.Hint(cli.Usagef("monitor runs no command"), "record -o FILE -- COMMAND, and monitor FILE beside it")
	case o.interval < time.Millisecond:
		return cli.Usagef("--interval %v: want at least %v", o.interval, time.Millisecond)
	case o.scrape < time.Millisecond:
		return cli.Usagef("--scrape-interval %v: want at least %v", o.scrape, time.Millisecond)
	case o.scrape != scrape.DefaultInterval && len(servers) == 0:
		return cli.Usagef("--scrape-interval is of --server")
	case o.every < 100*time.Millisecond || o.every > time.Hour:
		return cli.Usagef("--every %v: want 100ms to 1h", o.every)
	case o.history < time.Minute || o.history > maxHistoryTime:
		return cli.Usagef("--history %v: want 1m to 24h", o.history)
	case o.tokenFile != "" && o.listen == "":
		return cli.Usagef("--token-file is of --listen")
	case o.force && o.out == "-":
		return cli.Usagef("--force is of -o")
	case strings.Contains(o.out, "%"):
		return cli.Usagef("-o %s: monitor takes a name as it is, without record's %%", o.out)
	case len(servers) > maxServers:
		return cli.Usagef("%d of --server: at most %d", len(servers), maxServers)
	}
	for _, f := range o.recordFlags {
		name, _, _ := strings.Cut(f, "=")
		if name == "" || strings.HasPrefix(name, "-") || strings.ContainsAny(name, " \t") {
			return cli.Usagef("--record-flag %q: want NAME or NAME=VALUE, without dashes", f)
		}
		if slices.Contains(ours, name) {
			return cli.Usagef("--record-flag %s: monitor gives that flag itself", name)
		}
	}
	for _, s := range o.sources {
		if kind, arg, _ := strings.Cut(s, ":"); arg == "-" {
			return cli.Hint(cli.Usagef("--source %s: the record that monitor starts has no standard input", s), "... | record --source %s:- | monitor", kind)
		}
	}
	if o.out != "-" && !o.force {
		if _, err := os.Stat(o.out); err == nil {
			return cli.Hint(cli.Usagef("%s: exists already", o.out), "--force replaces it")
		}
	}
	for i, s := range servers {
		kind, url, ok := strings.Cut(s, ":")
		name := sample.SourceName(kind)
		if !ok || url == "" || !slices.Contains([]sample.SourceName{sample.VLLM, sample.SGLang, sample.TRTLLM}, name) {
			return cli.Usagef("--server %q: want vllm:URL, sglang:URL or trtllm:URL", s)
		}
		if slices.Contains(servers[:i], s) {
			return cli.Usagef("--server %s stands twice", s)
		}
		o.servers = append(o.servers, serverOption{name, url})
	}
	if o.listen == "" {
		return nil
	}
	address, err := exposition.Address(o.listen)
	if err != nil {
		return err
	}
	o.listen = address
	return o.readToken(os.Getenv)
}
