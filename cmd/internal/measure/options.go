package measure

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/trace"
)

// passing are the flags that do not decide what is measured: they may differ when a
// sweep is resumed.
var passing = []string{
	"output", "o", "force", "resume", "quiet", "q", "progress", "ready-timeout", "ready-poll", "stop-grace", "cool-timeout",
	"api-key-file", "help", "h", "version",
}

// settingsOf returns the flags that were given and decide what is measured.
func settingsOf(c *ucli.Context) map[string]string {
	settings := map[string]string{}
	for _, f := range c.App.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) || slices.Contains(passing, name) {
			continue
		}
		text := fmt.Sprint(c.Value(name))
		if s, ok := c.Value(name).(ucli.StringSlice); ok {
			text = strings.Join(s.Value(), " ")
		}
		settings[name] = redactText(text)
	}
	return settings
}

// ofBodies are the flags for what is made of another tool's trace, but for the model and the target, which
// every run has.
var ofBodies = []string{"trace-format", "endpoint", "block-size", "vocab", "output-tokens", "turns", "tokenizer", "as-text"}

// bodiesSet is isSet for what only another tool's trace needs.
func (o *options) bodiesSet(name string) bool {
	return slices.Contains(ofBodies, name) && o.isSet(name)
}

// bodyFlags are those for replay.
func (o *options) bodyFlags() (args []string) {
	if !o.made {
		return nil
	}
	args = []string{"--model", o.model, "--target", o.target}
	for _, name := range ofBodies {
		if o.isSet(name) {
			args = append(args, "--"+name+"="+o.value(name))
		}
	}
	return args
}

// check finds what is wrong with the command line before anything is started.
func (o *options) check(env *cli.Env) error {
	if o.out = env.OutputPath(); o.out == "-" || o.out == "" {
		return cli.Usagef("no directory: give -o DIR")
	}
	given := func(names ...string) string {
		for _, name := range names {
			if o.isSet(name) {
				return name
			}
		}
		return ""
	}
	switch {
	case len(env.Operands) > 0:
		return cli.Hint(cli.Usagef("measure takes no operand, and there is %q", env.Operands[0]), "the trace is --trace, the server's command goes after --")
	case env.Command != nil && len(env.Command) == 0:
		return cli.Usagef("no command after --")
	case o.trace != "" && given("isl", "osl") != "":
		return cli.Usagef("--trace and --%s exclude each other: a trace has its own lengths", given("isl", "osl"))
	case o.trace == "" && o.timing != "":
		return cli.Usagef("--timing is of --trace")
	case o.trace == "" && given(ofBodies...) != "":
		return cli.Usagef("--%s is of --trace", given(ofBodies...))
	case o.trace == "-":
		return cli.Usagef("--trace -: the trace must be a file, which stays")
	case o.isl < 1 || o.isl > mostTokens || o.osl < 1 || o.osl > mostTokens:
		return cli.Usagef("--isl and --osl: want from 1 to %d tokens", mostTokens)
	case o.phases != "" && given("requests", "duration", "rate", "warmup", "grace") != "" && (o.trace != "" || given("duration", "rate", "warmup", "grace") != ""):
		return cli.Usagef("--phases has the whole load: --%s cannot be added to it", given("duration", "rate", "warmup", "grace", "requests"))
	case o.requests < 0 || o.isSet("requests") && o.requests == 0:
		return cli.Usagef("--requests must be more than 0")
	case o.requests > mostRequests && o.trace == "", o.warmup < 0 || o.warmup > mostRequests:
		return cli.Usagef("--requests and --warmup: want at most %d", mostRequests)
	case o.duration < 0 || o.isSet("duration") && o.duration == 0:
		return cli.Usagef("--duration must be more than 0")
	case o.isSet("rate") && !(o.rate > 0 && o.rate <= trace.MaxRate):
		return cli.Usagef("--rate must be more than 0 and at most %g", float64(trace.MaxRate))
	case o.grace < 0 || o.idle < 0 || o.margin < 0 || o.timeout < 0:
		return cli.Usagef("--grace, --idle, --margin and --timeout are no negative times")
	case o.repeat < 1 || o.repeat > 1000:
		return cli.Usagef("--repeat %d: want from 1 to 1000", o.repeat)
	case o.readyTimeout <= 0 || o.readyPoll < time.Millisecond || o.stopGrace < 0 || o.cool.timeout <= 0:
		return cli.Usagef("--ready-timeout, --ready-poll, --stop-grace, --cool-timeout: want positive times")
	case o.interval < time.Millisecond:
		return cli.Usagef("--interval %v: want at least 1ms", o.interval)
	case o.isSet("idle-watts") && !(o.idleWatts >= 0 && o.idleWatts <= 1e12): // as reduce, which would say so after the load
		return cli.Usagef("--idle-watts %g: want a number from 0 to 1e+12", o.idleWatts)
	case slices.ContainsFunc(o.set, func(s string) bool { return strings.IndexByte(s, '=') <= 0 }): // as replay, after the server's start
		return cli.Usagef("--set: want KEY=JSON")
	case !slices.Contains([]string{"trtllm", "vllm", "sglang", "openai"}, o.target):
		return cli.Usagef("--target %q: want trtllm, vllm, sglang or openai", o.target)
	case o.urlFile != "" && len(o.urls) > 0:
		return cli.Usagef("--url and --url-file exclude each other")
	case o.urlFile != "" && env.Command == nil:
		return cli.Usagef("--url-file is what the server's command writes, and there is none")
	case o.restart && env.Command == nil:
		return cli.Usagef("--restart needs the server's command")
	case o.resume && env.Force():
		return cli.Usagef("--resume and --force exclude each other")
	}
	if err := o.checkWorkload(env, given); err != nil {
		return err
	}
	var err error
	if o.concurrencies, err = parseConcurrencies(o.concurrency); err != nil {
		return err
	}
	if o.cool.celsius, o.cool.pause, err = parseCool(o.coolTo); err != nil {
		return err
	}
	for name, flags := range map[string][]string{"record-flag": o.recordFlags, "replay-flag": o.replayFlags, "reduce-flag": o.reduceFlags} {
		for _, f := range flags {
			if err := checkPassed(name, f); err != nil {
				return err
			}
		}
	}
	if o.keyFile != "" {
		b, err := os.ReadFile(o.keyFile)
		if err != nil {
			return err
		}
		if o.key = strings.TrimSpace(string(b)); o.key == "" {
			return fmt.Errorf("%s: the file is empty", o.keyFile)
		}
		if o.keyFile, err = filepath.Abs(o.keyFile); err != nil {
			return err
		}
	} else {
		o.key = os.Getenv("WATTRACE_API_KEY")
	}
	if o.workload != "" {
		return nil
	}
	return o.findURLs(env)
}

const (
	mostTokens   = 1 << 20
	mostRequests = 1 << 20
)

// checkWorkload refuses with --workload what is of servers, and the other way round.
func (o *options) checkWorkload(env *cli.Env, given func(...string) string) error {
	if o.workload == "" {
		if o.isSet("workload") {
			return cli.Usagef("--workload is empty")
		}
		if len(o.marks) > 0 {
			return cli.Usagef("--mark is of --workload")
		}
		return nil
	}
	if env.Command != nil {
		return cli.Usagef("--workload and a server's command exclude each other")
	}
	if name := given("trace", "timing", "isl", "osl", "concurrency", "requests", "duration", "rate", "warmup", "grace", "phases", "seed", "restart", "url", "url-file",
		"ready-url", "model", "target", "ignore-eos", "set", "replay-flag"); name != "" {
		return cli.Usagef("--workload has its own load: --%s is of a server", name)
	}
	for _, m := range o.marks {
		if i := strings.LastIndexByte(m, '='); i <= 0 {
			return cli.Usagef("--mark %q: want REGEX=PHASE", m)
		} else if _, err := regexp.Compile(m[:i]); err != nil {
			return cli.Usagef("--mark %q: %v", m, err)
		}
	}
	if !o.isSet("idle") {
		o.idle = 0 // no model is resident then
	}
	return nil
}

// parseConcurrencies reads 1,8,64.
func parseConcurrencies(s string) (list []int, err error) {
	if s == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > trace.MaxConcurrency {
			return nil, cli.Usagef("--concurrency %q: want numbers from 1 to %d, as in 1,8,64", s, trace.MaxConcurrency)
		}
		if slices.Contains(list, n) {
			return nil, cli.Usagef("--concurrency %q: %d is given twice; --repeat does all several times", s, n)
		}
		list = append(list, n)
	}
	return list, nil
}

// cooling is what is waited for between two runs.
type cooling struct {
	celsius trace.Opt[float64]
	pause   time.Duration
	timeout time.Duration // of the temperature
}

// parseCool reads 45C or 60s.
func parseCool(s string) (celsius trace.Opt[float64], pause time.Duration, err error) {
	if s == "" {
		return celsius, 0, nil
	}
	if degrees, ok := strings.CutSuffix(s, "C"); ok {
		if v, err := strconv.ParseFloat(degrees, 64); err == nil && v > 0 && v < 200 {
			return trace.Some(v), 0, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return celsius, d, nil
	}
	return celsius, 0, cli.Usagef("--cool-to %q: want a temperature, as in 45C, or a time, as in 60s", s)
}

// ours are flags of the other tools that are measure's to give.
var ours = []string{"o", "output", "force", "phases", "url", "control", "ready", "for", "mark", "rotate", "list", "characterise", "check", "selftest", "format", "help", "version", "shard", "start-at", "api-key-file", "window"}

// others are flags of reduce about files that are not wattrace's own, of which it refuses
// any that there is none for.
var others = []string{"host", "same-boot"}

func checkPassed(flag, value string) error {
	name, _, _ := strings.Cut(value, "=")
	if name == "" || strings.HasPrefix(name, "-") || strings.ContainsAny(name, " \t") {
		return cli.Usagef("--%s %q: want NAME or NAME=VALUE, without dashes", flag, value)
	}
	if slices.Contains(ours, name) {
		return cli.Usagef("--%s %s: measure gives that flag itself", flag, name)
	}
	if flag == "reduce-flag" && slices.Contains(others, name) {
		return cli.Usagef("--%s %s: is of other tools' files, and measure's own say it themselves", flag, name)
	}
	return nil
}

// defaultPort is that of trtllm-serve and of vLLM.
const defaultPort = "8000"

// findURLs finds where the server is: told, or by the command's own --port.
func (o *options) findURLs(env *cli.Env) (err error) {
	if len(o.urls) == 0 && o.urlFile == "" {
		o.urls = strings.Fields(os.Getenv("WATTRACE_URL"))
	}
	switch {
	case o.urlFile != "":
	case len(o.urls) > 0:
		o.urls, err = cleanURLs(o.urls)
	case env.Command != nil:
		o.urls = []string{"http://127.0.0.1:" + portOf(env.Command)}
	default:
		return cli.Usagef("no server: give --url or set WATTRACE_URL, or its command after --")
	}
	if err != nil {
		return err
	}
	if o.readyURL != "" {
		if u, err := url.Parse(o.readyURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return cli.Usagef("--ready-url: want http://HOST:PORT/PATH")
		}
	}
	return nil
}

func cleanURLs(in []string) (out []string, err error) {
	for _, s := range in {
		if !strings.Contains(s, "://") {
			s = "http://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			return nil, cli.Usagef("--url: want http://HOST:PORT") // it may hold a password
		}
		out = append(out, strings.TrimSuffix(strings.TrimRight(s, "/"), "/v1"))
	}
	return out, nil
}

// portOf returns what the command says after --port.
func portOf(command []string) string {
	for i, arg := range command {
		if v, ok := strings.CutPrefix(arg, "--port="); ok {
			return v
		}
		if arg == "--port" && i+1 < len(command) {
			return command[i+1]
		}
	}
	return defaultPort
}

// secret are names of flags and variables whose value is nobody's business.
const secret = `[\w-]*(?i:api[-_]?keys?|[-_]key|secret|password|passwd|token|authorization)`

var (
	secretFlag  = regexp.MustCompile(`^(-{0,2}` + secret + `)(=.*)?$`)
	secretText  = regexp.MustCompile(`((?:^|[\s\[=])-{0,2}` + secret + `)((?:\s*[=:]\s*|\s+)(?:(?i:bearer|basic)\s+)?)('[^']*'|"[^"]*"|[^\s\];]+)`)
	urlPassword = regexp.MustCompile(`(://)[^/@\s]+@`)
)

const redacted = "REDACTED"

// redactText takes secrets out of what a person typed.
func redactText(s string) string {
	return redactURL(secretText.ReplaceAllString(s, "${1}${2}"+redacted))
}

func redactURL(s string) string { return urlPassword.ReplaceAllString(s, "${1}"+redacted+"@") }

// redactCommand takes secrets out of a command.
func redactCommand(command []string) []string {
	out := slices.Clone(command)
	for i, arg := range out {
		m := secretFlag.FindStringSubmatch(arg)
		switch {
		case m == nil:
			out[i] = redactText(arg)
		case m[2] != "":
			out[i] = m[1] + "=" + redacted
		case strings.HasPrefix(arg, "-") && i+1 < len(out):
			out[i+1] = redacted
		}
	}
	return out
}
