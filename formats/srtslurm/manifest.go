package srtslurm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"wattrace/formats"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// The files of a package.
const (
	Manifest = "manifest.json"
	Samples  = "samples.csv"
	windows  = "windows"
)

const (
	producer  = "srt-slurm.dcgm-power"
	maxFile   = 64 << 20 // bytes of a manifest
	maxWindow = 1 << 20
	maxFiles  = 10_000 // windows
)

// Package is what a package says beside its samples.
type Package struct {
	Topology []reduce.Member // the GPUs that were expected
	Windows  []Window        // in the order of time
	Complete bool            // the collector ended of itself
	Files    []string        // that were read, within the directory

	source   sample.SourceName
	interval time.Duration // of the scrapes
	scrape   time.Duration // that one took at most
	collect  time.Duration // by which a page was old at most
	sha256   string        // of the samples; "" is unknown
	rows     trace.Opt[int64]
}

// Stamp is how long after the time of a row, when it may have been read at the earliest,
// its timestamp_unix is.
func (p *Package) Stamp() time.Duration { return p.scrape/2 + p.collect }

// Window is the time of one benchmark.
type Window struct {
	Name        string
	Concurrency int
	Start, End  int64 // Unix nanoseconds
	Open        bool  // it has no end
}

type manifest struct {
	SchemaVersion  int      `json:"schema_version"`
	Producer       string   `json:"producer"`
	Unit           string   `json:"unit"`
	Profile        string   `json:"power_profile"`
	Status         string   `json:"status"`
	SHA256         *string  `json:"samples_sha256"`
	Rows           *int64   `json:"sample_row_count"`
	MaxScrape      *float64 `json:"max_scrape_duration_seconds"`
	SampleInterval *float64 `json:"sample_interval_seconds"`
	Exporter       struct {
		Command string `json:"command"`
	} `json:"dcgm_exporter"`
	Expected []struct {
		Hostname    string `json:"hostname"`
		Index       *int   `json:"gpu_index"`
		Assignments []struct {
			Role  string `json:"worker_role"`
			Index int    `json:"worker_index"`
		} `json:"assignments"`
	} `json:"expected_devices"`
}

type window struct {
	SchemaVersion int      `json:"schema_version"`
	Status        string   `json:"status"`
	Type          string   `json:"benchmark_type"`
	Concurrency   int      `json:"concurrency"`
	Start         *seconds `json:"benchmark_start_time_unix"`
	End           *seconds `json:"benchmark_end_time_unix"`
}

// seconds is a Unix time, exactly.
type seconds int64

func (s *seconds) UnmarshalJSON(text []byte) error {
	unix, err := unixSeconds(text)
	if err != nil {
		return &json.UnmarshalTypeError{Value: "value that is no Unix time"}
	}
	*s = seconds(unix)
	return nil
}

// Is reports whether a directory holds a package.
func Is(dir fs.FS) bool {
	data, err := fs.ReadFile(dir, Manifest)
	var m struct {
		Producer string `json:"producer"`
	}
	return err == nil && json.Unmarshal(data, &m) == nil && m.Producer == producer
}

// Load reads the manifest and the windows of a package. name is the directory's, for
// errors, which are *trace.SyntaxError where a file is wrong.
func Load(dir fs.FS, name string) (*Package, error) {
	var m manifest
	if err := decode(dir, name, Manifest, maxFile, &m); err != nil {
		return nil, err
	}
	wrong := func(format string, args ...any) error {
		return &trace.SyntaxError{Pos: trace.Pos{File: path.Join(name, Manifest)}, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case m.Producer != producer:
		return nil, wrong("producer is %.40q, want %s", m.Producer, producer)
	case m.SchemaVersion < 1:
		return nil, wrong("it has no schema_version")
	case m.SchemaVersion > 1:
		return nil, wrong("schema_version %d is newer than 1, which this program reads", m.SchemaVersion)
	case m.Unit != "W":
		return nil, wrong("unit is %.20q, want W", m.Unit)
	}
	p := &Package{Complete: m.Status == "complete", source: sample.DCGM, Files: []string{Manifest}}
	if strings.HasPrefix(m.Profile, "amd") {
		p.source = sample.AMDSMI
	}
	if m.SHA256 != nil {
		p.sha256 = *m.SHA256
	}
	if m.Rows != nil {
		p.rows = trace.Some(*m.Rows)
	}
	p.interval, p.scrape = duration(m.SampleInterval), duration(m.MaxScrape)
	p.collect = collectInterval(m.Exporter.Command)
	for i, d := range m.Expected {
		if d.Hostname == "" || d.Index == nil || *d.Index < 0 {
			return nil, wrong("expected_devices[%d] has no hostname, or no gpu_index", i)
		}
		member := reduce.Member{Host: d.Hostname, Index: *d.Index}
		for k, a := range d.Assignments {
			if k > 0 && a.Role != member.Role {
				return nil, wrong("expected_devices[%d], GPU %d of %s, has several roles", i, *d.Index, d.Hostname)
			}
			member.Role = a.Role
			if k == 0 && a.Role != "" {
				member.Worker = a.Role + strconv.Itoa(a.Index)
			}
		}
		same := func(o reduce.Member) bool { return o.Host == member.Host && o.Index == member.Index }
		if slices.ContainsFunc(p.Topology, same) {
			return nil, wrong("expected_devices[%d], GPU %d of %s, is listed twice", i, *d.Index, d.Hostname)
		}
		p.Topology = append(p.Topology, member)
	}
	return p, p.loadWindows(dir, name)
}

func (p *Package) loadWindows(dir fs.FS, name string) error {
	entries, err := fs.ReadDir(dir, windows)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		file := path.Join(windows, e.Name())
		if !e.Type().IsRegular() || !strings.HasSuffix(file, ".json") {
			continue
		}
		if len(p.Files) > maxFiles {
			return fmt.Errorf("%s: more than %d windows", name, maxFiles)
		}
		var w window
		if err := decode(dir, name, file, maxWindow, &w); err != nil {
			return err
		}
		wrong := func(text string) error {
			return &trace.SyntaxError{Pos: trace.Pos{File: path.Join(name, file)}, Err: errors.New(text)}
		}
		switch ended := w.Status == "completed" || w.Status == "failed"; {
		case w.SchemaVersion != 1:
			return wrong("not a window of schema_version 1")
		case w.Start == nil:
			return wrong("it has no benchmark_start_time_unix")
		case !ended && w.Status != "interrupted" && w.Status != "running":
			return wrong("its status is not one that is known")
		case ended && (w.End == nil || *w.End <= *w.Start):
			return wrong("it has no benchmark_end_time_unix after its start")
		}
		p.Files = append(p.Files, file)
		one := Window{Name: fmt.Sprintf("%s c%d", w.Type, w.Concurrency), Concurrency: w.Concurrency, Start: int64(*w.Start), Open: w.End == nil}
		if w.End != nil {
			one.End = int64(*w.End)
		}
		if w.Status != "completed" {
			one.Name += " (" + w.Status + ")"
		}
		p.Windows = append(p.Windows, one)
	}
	slices.SortStableFunc(p.Windows, func(a, b Window) int { return int(min(max(a.Start-b.Start, -1), 1)) })
	return nil
}

// Check compares the samples with what the manifest says of them.
func (p *Package) Check(samples *formats.Input) error {
	if p.sha256 == "" {
		return nil
	}
	sum, err := samples.SHA256()
	if err != nil {
		return err
	}
	if !strings.EqualFold(sum, p.sha256) {
		return fmt.Errorf("%s: its SHA-256 is not the one that %s says: one of them was changed", samples.Name(), Manifest)
	}
	return nil
}

// decode reads a file of JSON.
func decode(dir fs.FS, name, file string, limit int64, into any) error {
	f, err := dir.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var data bytes.Buffer
	if info, err := f.Stat(); err != nil || info.Size() > limit {
		return errors.Join(err, fmt.Errorf("%s: larger than %d MiB", path.Join(name, file), limit>>20))
	}
	if _, err := data.ReadFrom(f); err != nil {
		return err
	}
	text := bytes.TrimPrefix(data.Bytes(), []byte("\xef\xbb\xbf"))
	err = json.Unmarshal(text, into)
	if err == nil {
		return nil
	}
	pos := trace.Pos{File: path.Join(name, file)}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		pos.Line, pos.Col = place(text, syntax.Offset)
		err = errors.New("not JSON")
	case errors.As(err, &typ):
		pos.Line, pos.Col = place(text, typ.Offset)
		err = fmt.Errorf("%s has a value of the wrong type", typ.Field)
	}
	return &trace.SyntaxError{Pos: pos, Err: err}
}

// place returns the line and column of the byte before an offset.
func place(text []byte, offset int64) (line, col int) {
	before := text[:min(max(offset-1, 0), int64(len(text)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

func duration(s *float64) time.Duration {
	if s == nil || !(*s > 0 && *s < 3600) {
		return 0
	}
	return time.Duration(math.Round(*s * 1e9))
}

var collectFlag = regexp.MustCompile(`(?:--collect-interval|-c)[ =]+(\d{1,7})\b`)

// collectInterval returns how often the exporter reads, by its command.
func collectInterval(command string) time.Duration {
	if m := collectFlag.FindStringSubmatch(command); m != nil {
		ms, _ := strconv.Atoi(m[1])
		return time.Duration(ms) * time.Millisecond
	}
	return 0
}
