package telemetries

import (
	"fmt"
	"io"
	"time"

	"wattrace/formats"
	"wattrace/formats/aiperf"
	"wattrace/formats/amdsmi"
	"wattrace/formats/dmon"
	"wattrace/formats/nvidiasmi"
	"wattrace/formats/promrange"
	"wattrace/formats/srtslurm"
	"wattrace/formats/stamped"
	"wattrace/formats/telemetry"
	"wattrace/formats/telemetryrows"
	"wattrace/trace"
)

// A Codec is a format that telemetry can come in.
type Codec struct {
	Name  string         // the package in formats
	Kinds []formats.Kind // what formats.Sniff calls it
	Doc   string         // one line
	Lost  string         // what a recording has that it does not, or that is not taken of it; "" is nothing
	// Schema is what a report calls it.
	Schema string
	// Local says that its stamps are local times without a zone, for which
	// Options.Location is wanted.
	Local bool
	// Nameless says that it does not name the host, which Options.Host is for.
	Nameless bool
	// Clocks says that it holds readings of its host's clocks.
	Clocks bool

	open func(r io.Reader, name string, o Options) (Reader, error)
}

// Options say what a recording does not say of itself. The zero Options are
// ready.
type Options struct {
	Location *time.Location // where local times are local; nil is UTC
	Host     string         // where the devices are; "" is unknown
	Columns  string         // the header of a CSV that has none; "" is none
	// Package is what stands beside the samples of srt-slurm; nil is nothing.
	Package *srtslurm.Package
}

// Codecs lists every format once.
var Codecs = []Codec{
	{
		Name: "telemetry", Kinds: []formats.Kind{formats.TelemetryStream, formats.TelemetryFile},
		Doc: "what record writes: Arrow, as a stream or a file", Schema: telemetry.Schema, Clocks: true, open: openTelemetry,
	},
	{
		Name: "nvidiasmi", Kinds: []formats.Kind{formats.NVIDIASMI},
		Doc:  "CSV of `nvidia-smi --query-gpu=timestamp,power.draw,... --format=csv`, with or without units",
		Lost: "the zone of its times (`--timezone`), the host", Schema: "nvidia-smi csv",
		Local: true, Nameless: true, open: openNVIDIASMI,
	},
	{
		Name: "dmon", Kinds: []formats.Kind{formats.NVIDIASMIDmon},
		Doc:  "table of `nvidia-smi dmon -o DT`",
		Lost: "the zone of its times, which are whole seconds; fractions of watts; the host, UUIDs and names", Schema: "nvidia-smi dmon",
		Local: true, Nameless: true, open: openDmon,
	},
	{
		Name: "dmon", Kinds: []formats.Kind{formats.DCGMIDmon},
		Doc:  "table of `dcgmi dmon`: refused, for its rows have no times; `record --source dcgmi:-` reads it while it runs",
		Lost: "", Schema: "dcgmi dmon", Nameless: true, open: openDCGMI,
	},
	{
		Name: "amdsmi", Kinds: []formats.Kind{formats.AMDSMI},
		Doc:  "CSV of `amd-smi metric -w 1 --csv` and `amd-smi monitor -w 1 --csv`",
		Lost: "fractions of its times, which are whole seconds; the host, UUIDs and names", Schema: "amd-smi csv", Nameless: true, open: openAMDSMI,
	},
	{
		Name: "aiperf", Kinds: []formats.Kind{formats.AIPerfTelemetry},
		Doc: "aiperf's `gpu_telemetry_export.jsonl`, of any version", Lost: "how long a reading took", Schema: "aiperf gpu_telemetry_export", open: openAIPerf,
	},
	{
		Name: "telemetryrows", Kinds: []formats.Kind{formats.TelemetryCSV},
		Doc:  "CSV with the names of our columns, as `convert --to csv` writes it: `time`, `power_watts`, ...",
		Lost: tableLost, Schema: "telemetry csv", Nameless: true, open: openCSV,
	},
	{
		Name: "telemetryrows", Kinds: []formats.Kind{formats.TelemetryLines},
		Doc:  "JSON Lines of the same, as `convert --to jsonl` writes them",
		Lost: tableLost, Schema: "telemetry json lines", Nameless: true, open: openLines,
	},
	{
		Name: "promrange", Kinds: []formats.Kind{formats.Prometheus},
		Doc:  "answers of Prometheus to range queries (`query_range`) for series of dcgm-exporter or AMD's exporter, one after the other",
		Lost: "when a value was read: only between which two evaluations it was scraped", Schema: "prometheus query_range", Nameless: true, open: openPrometheus,
	},
	{
		Name: "srtslurm", Kinds: []formats.Kind{formats.SRTSlurm},
		Doc:  "srt-slurm's power package (`power/manifest.json`, `samples.csv`, `windows/`), named by its directory; or its `samples.csv` alone",
		Lost: "energy counters", Schema: "srt-slurm.dcgm-power samples", open: openSRTSlurm,
	},
}

// packageReader is a power package of srt-slurm.
type packageReader struct {
	stampedReader
	of *srtslurm.Package // nil: the samples alone
}

func openSRTSlurm(r io.Reader, name string, o Options) (Reader, error) {
	rd, err := srtslurm.NewReader(r, name, o.Package)
	if err != nil {
		return nil, err
	}
	return packageReader{stampedReader{rd}, o.Package}, nil
}

func (r packageReader) Head() Head {
	h := r.stampedReader.Head()
	if r.of != nil {
		h.Topology = r.of.Topology
	}
	return h
}

// Clean reports whether the collector says that it ended of itself.
func (r packageReader) Clean() bool { return r.of == nil || r.of.Complete }

// amdReader is a log of amd-smi.
type amdReader struct {
	stampedReader
	log *amdsmi.Reader
}

func openAMDSMI(r io.Reader, name string, o Options) (Reader, error) {
	rd, err := amdsmi.NewReader(r, name, amdsmi.Options{Location: o.Location, Host: o.Host})
	if err != nil {
		return nil, err
	}
	return amdReader{stampedReader{rd.Reader}, rd}, nil
}

func (r amdReader) Head() Head {
	h := r.stampedReader.Head()
	h.Local = r.log.Local()
	return h
}

// promReader is the answer of Prometheus.
type promReader struct{ *promrange.Reader }

func openPrometheus(r io.Reader, name string, o Options) (Reader, error) {
	rd, err := promrange.NewReader(r, name, o.Host)
	if err != nil {
		return nil, err
	}
	return promReader{rd}, nil
}

func (r promReader) Head() Head {
	h := r.Reader.Head()
	return Head{Clock: h.Clock, Info: h.Info, Devices: h.Devices}
}

func (r promReader) Clean() bool { return true }

// Clocks returns no readings but the first row's time, as of a log of nvidia-smi.
func (r promReader) Clocks() []trace.Clocks {
	return []trace.Clocks{{Clock: r.Reader.Head().Clock}}
}

func openDmon(r io.Reader, name string, o Options) (Reader, error) {
	return newStamped(dmon.NewReader(r, name, dmon.Options{Location: o.Location, Host: o.Host}))
}

func openDCGMI(_ io.Reader, name string, _ Options) (Reader, error) {
	return nil, fmt.Errorf("%s: %w", name, dmon.ErrDCGMI)
}

const tableLost = "clocks but the wall clock, names of products, drivers, holes, and whether it is whole"

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

// Open reads the head of a recording. name is for errors.
func (c Codec) Open(r io.Reader, name string, o Options) (Reader, error) { return c.open(r, name, o) }

// telemetryReader is a recording of ours.
type telemetryReader struct{ *telemetry.Reader }

func openTelemetry(r io.Reader, name string, _ Options) (Reader, error) {
	rd, err := telemetry.NewReader(r, name)
	if err != nil {
		return nil, err
	}
	return telemetryReader{rd}, nil
}

func (r telemetryReader) Head() Head {
	h := r.Reader.Head()
	return Head{Clock: h.Clock, Info: h.Info, Devices: h.Devices, TimeSync: h.TimeSync}
}

func (r telemetryReader) Clean() bool {
	end, ok := r.End()
	return ok && end.Clean
}

// smiReader is a log of nvidia-smi.
type smiReader struct{ *nvidiasmi.Reader }

func openNVIDIASMI(r io.Reader, name string, o Options) (Reader, error) {
	rd, err := nvidiasmi.NewReader(r, name, nvidiasmi.Options{Location: o.Location, Host: o.Host, Columns: o.Columns})
	if err != nil {
		return nil, err
	}
	return smiReader{rd}, nil
}

func (r smiReader) Head() Head {
	h := r.Reader.Head()
	return Head{Clock: h.Clock, Info: h.Info, Devices: h.Devices}
}

func (r smiReader) Clean() bool { return true }

// Clocks returns no readings but the first row's stamp: each row is stamped by
// the wall clock, which may have been set at any time.
func (r smiReader) Clocks() []trace.Clocks { return []trace.Clocks{{Clock: r.Reader.Head().Clock}} }

// aiperfReader is the telemetry of aiperf.
type aiperfReader struct{ *aiperf.TelemetryReader }

func openAIPerf(r io.Reader, name string, _ Options) (Reader, error) {
	rd, err := aiperf.NewTelemetryReader(r, name)
	if err != nil {
		return nil, err
	}
	return aiperfReader{rd}, nil
}

func (r aiperfReader) Head() Head {
	h := r.TelemetryReader.Head()
	return Head{Clock: h.Clock, Info: h.Info, Devices: h.Devices}
}

func (r aiperfReader) Clean() bool { return true }

// Clocks returns no readings but the first row's stamp, as of a log of nvidia-smi.
func (r aiperfReader) Clocks() []trace.Clocks {
	return []trace.Clocks{{Clock: r.TelemetryReader.Head().Clock}}
}

// stampedReader is a log whose rows a wall clock stamps.
type stampedReader struct{ *stamped.Reader }

func openCSV(r io.Reader, name string, o Options) (Reader, error) {
	rd, err := telemetryrows.NewCSVReader(r, name, o.Host)
	return newStamped(rd, err)
}

func openLines(r io.Reader, name string, o Options) (Reader, error) {
	rd, err := telemetryrows.NewLinesReader(r, name, o.Host)
	return newStamped(rd, err)
}

func newStamped(rd *stamped.Reader, err error) (Reader, error) {
	if err != nil {
		return nil, err
	}
	return stampedReader{rd}, nil
}

func (r stampedReader) Head() Head {
	h := r.Reader.Head()
	return Head{Clock: h.Clock, Info: h.Info, Devices: h.Devices}
}

func (r stampedReader) Clean() bool { return true }

// Clocks returns no readings but the first row's stamp, as of a log of nvidia-smi.
func (r stampedReader) Clocks() []trace.Clocks {
	return []trace.Clocks{{Clock: r.Reader.Head().Clock}}
}
