package logs

import (
	"fmt"
	"io"

	"wattrace/formats"
	"wattrace/formats/aiperf"
	"wattrace/formats/requests"
)

// A Codec is a format that a request log can come in.
type Codec struct {
	Name   string         // the package in formats
	Kinds  []formats.Kind // what formats.Sniff calls it
	Doc    string         // one line
	Lost   string         // what is not taken of it; "" is nothing
	Schema string         // what a report calls it
	// Beside returns where the file is, if it is there, that says what a log of this
	// path does not; nil is nowhere.
	Beside func(path string) string
	// BesideSchema is what a report calls that file.
	BesideSchema string

	open func(in *formats.Input, beside *formats.Input) (*Log, error)
}

// Codecs lists every format once.
var Codecs = []Codec{
	{Name: "requests", Kinds: []formats.Kind{formats.Requests}, Doc: "what replay writes: JSON Lines", Schema: requests.Schema, open: openOurs},
	{
		Name: "aiperf", Kinds: []formats.Kind{formats.AIPerf}, Doc: "aiperf's profile_export.jsonl, of any version",
		Lost:   "messages of errors, metrics that follow from the times, events where their gaps do not add up",
		Schema: "aiperf profile_export", Beside: aiperf.ConfigPath, BesideSchema: "aiperf profile_export_aiperf", open: openAIPerf,
	},
}

// ByKind finds the codec of a sniffed kind.
func ByKind(kind formats.Kind) (Codec, bool) {
	for _, c := range Codecs {
		for _, k := range c.Kinds {
			if k == kind {
				return c, true
			}
		}
	}
	return Codec{}, false
}

// A Log is a request log that was opened.
type Log struct {
	read func() (io.Reader, error)
}

// Open opens a log; beside is the file that Codec.Beside named, or nil. Neither may be
// closed before the log is done with.
func (c Codec) Open(in, beside *formats.Input) (*Log, error) { return c.open(in, beside) }

// Reader returns the log from its start as the text of one of ours, each time it is
// called. A fault of the file comes as its error, with the position in the file.
func (l *Log) Reader() (io.Reader, error) { return l.read() }

func openOurs(in, _ *formats.Input) (*Log, error) { return &Log{in.Reader}, nil }

// maxConfig bounds aiperf's summary, in bytes.
const maxConfig = 64 << 20

func openAIPerf(in, beside *formats.Input) (*Log, error) {
	var config *aiperf.Config
	if beside != nil {
		r, err := beside.Reader()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
		if err == nil && len(b) > maxConfig {
			err = fmt.Errorf("%s: is longer than %d MiB", beside.Name(), maxConfig>>20)
		}
		if err != nil {
			return nil, err
		}
		if config, err = aiperf.ParseConfig(b, beside.Name()); err != nil {
			return nil, err
		}
	}
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	survey, err := aiperf.Survey(r, in.Name(), config)
	if err != nil {
		return nil, err
	}
	return &Log{func() (io.Reader, error) {
		r, err := in.Reader()
		if err != nil {
			return nil, err
		}
		return turn(aiperf.NewReader(r, in.Name()), survey, config), nil
	}}, nil
}
