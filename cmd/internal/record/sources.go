package record

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/sample"
	"wattrace/sample/dcgm"
	"wattrace/sample/nvml"
	"wattrace/sample/scrape"
	"wattrace/sample/server"
	"wattrace/trace"
)

// sources is what is recorded, all --source together.
type sources struct {
	pulled []sample.Source
	feeds  []sample.Feed
	infos  []sample.Info // of all, in the order of the flags
	clock  *trace.SteadyClock

	interval, slow time.Duration // of what is asked

	stdin string // the --source that reads standard input; "" is none
}

// An opener opens what one --source names and adds it to s. arg is what stands
// after the colon, and has is whether there is one. A source that needs no
// argument refuses one.
type opener struct {
	usage string // "dcgm:URL", and what it is
	open  func(o *options, env *cli.Env, s *sources, arg string) error
	arg   argument
}

// argument says whether a --source takes something after a colon.
type argument int

const (
	noArgument argument = iota
	mayHaveArgument
	needsArgument
)

// openers are the kinds of --source by their names.
var openers = map[string]opener{
	"amd-smi":    {"amd-smi[:PROGRAM]: AMD's GPUs, by amd-smi", (*options).openAMDSMI, mayHaveArgument},
	"dcgm":       {"dcgm:URL: a dcgm-exporter", (*options).openDCGM, needsArgument},
	"dcgmi":      {"dcgmi:- or dcgmi:FIFO: what dcgmi dmon writes", piped("dcgmi", newDCGMI), needsArgument},
	"dmon":       {"dmon:- or dmon:FIFO: what nvidia-smi dmon writes", piped("dmon", newDmon), needsArgument},
	"hwmon":      {"hwmon[:DIRECTORY]: power meters of this host, as Grace has", (*options).openHWMon, mayHaveArgument},
	"nvidia-smi": {"nvidia-smi:- or nvidia-smi:FIFO: what nvidia-smi --query-gpu writes", piped("nvidia-smi", newNVIDIASMI), needsArgument},
	"nvml":       {"nvml: the GPUs of this host, by NVIDIA's driver", (*options).openNVML, noArgument},
	"rapl":       {"rapl[:DIRECTORY]: processors and memory of this host", (*options).openRAPL, mayHaveArgument},
	"sglang":     {"sglang:URL: an SGLang server", serverOpener(sample.SGLang), needsArgument},
	"trtllm":     {"trtllm:URL: a trtllm-serve; trtllm:URL#drain takes its iterations, too", serverOpener(sample.TRTLLM), needsArgument},
	"vllm":       {"vllm:URL: a vLLM server", serverOpener(sample.VLLM), needsArgument},
}

// openSources opens all that --source names.
func (o *options) openSources(env *cli.Env, clock *trace.SteadyClock) (s *sources, err error) {
	s = &sources{clock: clock, interval: o.interval, slow: o.slow}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, spec := range o.sources {
		name, arg, _ := strings.Cut(spec, ":")
		if err := openers[name].open(o, env, s, arg); err != nil {
			return s, err
		}
	}
	return s, nil
}

// checkSources finds what is wrong with --source before anything is opened.
func (o *options) checkSources() error {
	for i, spec := range o.sources {
		name, arg, has := strings.Cut(spec, ":")
		opener, known := openers[name]
		switch {
		case !known:
			return cli.Hint(cli.Usagef("--source %q: no such source", spec), "%s", sourceHelp())
		case slices.Contains(o.sources[:i], spec):
			return cli.Usagef("--source %s stands twice", spec)
		case has && opener.arg == noArgument:
			return cli.Usagef("--source %s: %s takes no argument", spec, name)
		case arg == "" && opener.arg == needsArgument:
			return cli.Hint(cli.Usagef("--source %s: an argument is missing", spec), "%s", opener.usage)
		}
	}
	return nil
}

// sourceHelp lists the kinds of sources.
func sourceHelp() string {
	names := slices.Sorted(maps.Keys(openers))
	lines := make([]string, len(names))
	for i, name := range names {
		lines[i] = openers[name].usage
	}
	return strings.Join(lines, "; ")
}

// add takes a source that is asked.
func (s *sources) add(src sample.Source) {
	s.pulled = append(s.pulled, src)
	info := src.Info()
	info.Interval, info.SlowInterval = s.interval, s.slow
	s.infos = append(s.infos, info)
}

// addFeed takes a source that brings rows of itself.
func (s *sources) addFeed(f sample.Feed) {
	s.feeds = append(s.feeds, f)
	s.infos = append(s.infos, f.Info())
}

// addEvents takes what a source that is asked tells of itself: rows of its
// devices, of which the head needs no more. A nil feed is none.
func (s *sources) addEvents(f sample.Feed) {
	if f != nil {
		s.feeds = append(s.feeds, f)
	}
}

// takeStdin claims standard input for a --source.
func (s *sources) takeStdin(spec string) error {
	if s.stdin != "" {
		return cli.Usagef("--source %s and --source %s cannot both read standard input", s.stdin, spec)
	}
	s.stdin = spec
	return nil
}

// units counts what is read by a thread of its own.
func (s *sources) units() int {
	n := 0
	for _, src := range s.pulled {
		n += len(src.Units())
	}
	return n
}

func (s *sources) devices() (all []sample.Device) {
	for _, src := range s.pulled {
		all = append(all, src.Devices()...)
	}
	return all
}

func (s *sources) close() error {
	var all error
	for _, f := range s.feeds { // first: some are of a source
		all = errors.Join(all, f.Close())
	}
	for _, src := range s.pulled {
		all = errors.Join(all, src.Close())
	}
	return all
}

// metrics returns the columns that a recording of the sources begins with; nil
// is all.
func (s *sources) metrics() []sample.MetricID {
	var all []sample.MetricID
	for _, info := range s.infos {
		if info.Metrics == nil {
			return nil
		}
		all = append(all, info.Metrics...)
	}
	return all
}

// openNVML opens the driver's library. What to do about a failure goes with it.
func (o *options) openNVML(_ *cli.Env, s *sources, _ string) error {
	options := nvml.Options{Library: o.library}
	if o.devices != nil {
		options.Choose = func(i nvml.Inventory) ([]int, error) {
			c := chooser{i, os.LookupEnv}
			return c.choose(*o.devices)
		}
	}
	source, err := nvml.Open(options)
	if err == nil {
		s.add(source)
		s.addEvents(source.Events(s.clock))
		return nil
	}
	var call *nvml.Error
	switch {
	case errors.Is(err, nvml.ErrNoLibrary) && o.library == "":
		err = cli.Hint(err, "the NVIDIA driver brings it; if it is elsewhere, name it with --nvml-library PATH")
	case errors.Is(err, nvml.ErrNoLibrary):
		err = cli.Hint(err, "without --nvml-library the driver's own libnvidia-ml.so.1 is loaded")
	case errors.As(err, &call):
		switch call.Code {
		case "DRIVER_NOT_LOADED":
			err = cli.Hint(err, "load the NVIDIA kernel driver: nvidia-smi must work")
		case "LIB_RM_VERSION_MISMATCH":
			err = cli.Hint(err, "the library and the kernel driver are of different versions: reboot, or load the driver anew")
		case "NO_PERMISSION":
			err = cli.Hint(err, "the files /dev/nvidia* must be readable and writable")
		}
	}
	return err
}

// openDCGM opens an exporter's page.
func (o *options) openDCGM(env *cli.Env, s *sources, url string) error {
	f, err := dcgm.Open(dcgm.Options{URL: url, Interval: o.scrape, Now: s.clock.Now, Failed: tell(env)})
	if err != nil {
		return cli.Usagef("--source dcgm: %v", err)
	}
	s.addFeed(f)
	return nil
}

// serverOpener opens the pages of a kind of server.
func serverOpener(kind sample.SourceName) func(*options, *cli.Env, *sources, string) error {
	return func(o *options, env *cli.Env, s *sources, url string) error {
		f, err := server.Open(server.Options{Kind: kind, URL: url, Interval: o.scrape, Now: s.clock.Now, Failed: tell(env)})
		if err != nil {
			return cli.Usagef("--source %s: %v", kind, err)
		}
		s.addFeed(f)
		return nil
	}
}

// tell returns what is told of failures that a feed goes on after.
func tell(env *cli.Env) func(error) {
	return func(err error) {
		env.Printf("%v", err)
		if scrape.Status(err) == "TIMEOUT" {
			env.Printf("hint: a page may take as long as --scrape-interval, from 1s to 10s")
		}
	}
}
