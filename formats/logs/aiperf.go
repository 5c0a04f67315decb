package logs

import (
	"fmt"
	"io"
	"strings"

	"wattrace/formats"
	"wattrace/formats/aiperf"
	"wattrace/formats/requests"
	"wattrace/trace"
)

// maxConfig bounds aiperf's summary, in bytes.
const maxConfig = 64 << 20

// whole returns what an input holds, up to a number of bytes.
func whole(in *formats.Input, most int64) ([]byte, error) {
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: is longer than %d MiB", in.Name(), most>>20)
	}
	return b, err
}

func openAIPerf(in, beside *formats.Input) (*Log, error) {
	var config *aiperf.Config
	if beside != nil {
		b, err := whole(beside, maxConfig)
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
	l := &Log{Requests: true, Inexact: survey.Inexact, head: aiperfHead(survey, config)}
	l.start = func() (source, error) {
		r, err := in.Reader()
		if err != nil {
			return nil, err
		}
		return aiperfSource(r, in.Name(), survey), nil
	}
	return l, nil
}

func aiperfSource(r io.Reader, name string, survey *aiperf.Log) source {
	from := aiperf.NewReader(r, name)
	from.Anchor = survey.Clock.Anchor.UnixNanos
	return from
}

func aiperfHead(survey *aiperf.Log, config *aiperf.Config) *head {
	h := &head{producer: "aiperf", clock: survey.Clock, truncated: survey.Truncated}
	if config != nil {
		h.producer = strings.TrimSpace("aiperf " + config.Version)
		h.targets = config.URLs
	}
	for _, ph := range survey.Phases {
		h.phases = append(h.phases, phase{name: ph.Name, kind: ph.Kind, start: ph.Start, end: ph.End, handover: ph.Handover, load: ph.Load})
	}
	h.count = requests.Close{
		At: survey.Last, Sent: survey.Requests, Succeeded: survey.Outcomes[trace.Succeeded], Failed: survey.Outcomes[trace.Failed],
		Cancelled: survey.Outcomes[trace.Cancelled], Clean: !survey.Cancelled,
	}
	return h
}
