package layers

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rule says what the packages that a pattern matches may import: packages of
// wattrace, and modules of others (by the prefix of an import path). The
// standard library is free, but for what forbidden names. A pattern is as
// path.Match, or ends in "/..." for all below; the first that matches counts.
type rule struct {
	packages  string
	wattrace  []string
	others    []string
	forbidden []string // of the standard library
}

var noIO = []string{"net", "net/http", "os/exec", "os/signal"}

var rules = []rule{
	{packages: "trace", others: []string{"golang.org/x/sys/unix", "github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},

	{packages: "sample", wattrace: []string{"trace"}, others: []string{"golang.org/x/sys/unix"}, forbidden: noIO},
	{packages: "sample/nvml", wattrace: []string{"trace", "sample"}, others: []string{"github.com/NVIDIA/go-nvml/pkg/..."}, forbidden: noIO},
	{packages: "sample/sysfs", forbidden: noIO},
	{packages: "sample/rapl", wattrace: []string{"sample", "sample/sysfs"}, forbidden: noIO},
	{packages: "sample/hwmon", wattrace: []string{"sample", "sample/sysfs"}, forbidden: noIO},
	{packages: "sample/smi", wattrace: []string{"trace", "sample"}, forbidden: noIO},
	{packages: "sample/amdsmi/output", wattrace: []string{"sample"}, forbidden: noIO},
	{packages: "sample/amdsmi", wattrace: []string{"trace", "sample", "sample/amdsmi/output"}, forbidden: []string{"net", "net/http"}}, // starts amd-smi
	{packages: "sample/scrape", others: []string{"github.com/prometheus/common/expfmt", "github.com/prometheus/common/model", "github.com/prometheus/client_model/go"}},
	{packages: "sample/dcgm/fields", wattrace: []string{"sample"}, forbidden: noIO},
	{packages: "sample/dcgm", wattrace: []string{"trace", "sample", "sample/scrape", "sample/dcgm/fields"}},
	{packages: "sample/server", wattrace: []string{"trace", "sample", "sample/scrape"}},
	{packages: "sample/sim", wattrace: []string{"trace", "sample"}, others: []string{"golang.org/x/sys/unix"}, forbidden: noIO},
	{packages: "sample/sampletest", wattrace: []string{"trace", "sample", "sample/sim"}},

	{packages: "reduce", wattrace: []string{"trace", "sample", "reduce/attribute", "reduce/histogram", "reduce/peers"}, forbidden: append([]string{"os", "io", "bufio", "sync"}, noIO...)},

	{packages: "reduce/attribute", wattrace: []string{"trace"}, forbidden: append([]string{"os", "io", "bufio", "sync"}, noIO...)},
	{packages: "reduce/characterise", wattrace: []string{"trace", "reduce"}, forbidden: append([]string{"os", "io", "bufio", "sync"}, noIO...)},
	{packages: "reduce/compare", wattrace: []string{"reduce"}, others: []string{"golang.org/x/perf/benchmath"}, forbidden: append([]string{"os", "io", "bufio", "sync"}, noIO...)},
	{packages: "reduce/histogram", forbidden: append([]string{"os", "io", "bufio", "sync"}, noIO...)},
	{packages: "reduce/peers", wattrace: []string{"trace", "reduce/histogram"}, forbidden: append([]string{"os", "io", "bufio", "sync"}, noIO...)},

	{packages: "replay", wattrace: []string{"trace"}, others: []string{"golang.org/x/sys/unix", "github.com/go-json-experiment/json/jsontext", "github.com/zeebo/xxh3"}},
	{packages: "replay/simserver", wattrace: []string{"trace"}, others: []string{"github.com/go-json-experiment/json/jsontext"}},
	{packages: "replay/dialect", wattrace: []string{"trace"}, forbidden: noIO},
	{packages: "replay/selftest", wattrace: []string{"trace", "replay"}, others: []string{"golang.org/x/sys/unix"}},
	{packages: "replay/replaytest", wattrace: []string{"trace", "replay"}},

	{packages: "formats", wattrace: []string{"trace", "formats/pyjson"}, others: []string{"github.com/klauspost/compress/...", "golang.org/x/sys/unix", "github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/telemetry", wattrace: []string{"trace", "sample", "formats"}, others: []string{"github.com/apache/arrow/go/v17/arrow/...", "github.com/google/flatbuffers/go"}, forbidden: noIO},
	{packages: "formats/parquet", others: []string{"github.com/apache/arrow/go/v17/arrow/...", "github.com/apache/arrow/go/v17/parquet/..."}, forbidden: noIO},
	{packages: "formats/logtable", wattrace: []string{"trace", "formats/requests"}, others: []string{"github.com/apache/arrow/go/v17/arrow/..."}, forbidden: noIO},
	{packages: "formats/perfetto", others: []string{"google.golang.org/protobuf/encoding/protowire"}, forbidden: noIO},
	{packages: "formats/requests", wattrace: []string{"trace", "formats", "formats/plan"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/strictyaml", wattrace: []string{"trace"}, others: []string{"github.com/goccy/go-yaml/..."}, forbidden: noIO},
	{packages: "formats/plan", wattrace: []string{"trace", "formats/strictyaml"}, forbidden: noIO},
	{packages: "formats/sensors", wattrace: []string{"reduce", "formats/strictyaml"}, forbidden: noIO},
	{packages: "formats/calibration", wattrace: []string{"reduce", "sample", "formats/strictyaml"}, forbidden: noIO},
	{packages: "formats/topology", wattrace: []string{"reduce", "formats/strictyaml"}, forbidden: noIO},
	{packages: "formats/report", wattrace: []string{"reduce", "trace", "sample"}, others: []string{"github.com/jedib0t/go-pretty/v6/...", "github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/schematest", others: []string{"github.com/google/jsonschema-go/jsonschema"}},
	{packages: "formats/chart", forbidden: noIO},
	{packages: "formats/page", wattrace: []string{"trace", "sample", "reduce", "formats/chart", "formats/report"}, forbidden: noIO},
	{packages: "formats/comparison", wattrace: []string{"reduce/compare"}, others: []string{"github.com/jedib0t/go-pretty/v6/..."}, forbidden: noIO},
	{packages: "formats/summary", forbidden: noIO},
	{packages: "formats/nvidiasmi", wattrace: []string{"trace", "sample"}, forbidden: noIO},
	{packages: "formats/stamped", wattrace: []string{"trace", "sample"}, forbidden: noIO},
	{packages: "formats/telemetryrows", wattrace: []string{"trace", "sample", "formats/stamped", "formats/telemetry"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/srtslurm", wattrace: []string{"trace", "sample", "reduce", "formats", "formats/stamped"}, forbidden: noIO},
	{packages: "formats/amdsmi", wattrace: []string{"trace", "sample", "sample/amdsmi/output", "formats/stamped"}, forbidden: noIO},
	{packages: "formats/promrange", wattrace: []string{"trace", "sample", "sample/dcgm/fields", "formats/stamped"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/dmon", wattrace: []string{"trace", "sample", "sample/smi", "formats/stamped"}, forbidden: noIO},
	{packages: "formats/energies", wattrace: []string{"trace", "reduce", "reduce/attribute"}, forbidden: noIO},
	{packages: "formats/aiperf", wattrace: []string{"trace", "sample"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/pyjson", wattrace: []string{"trace"}, forbidden: noIO},
	{packages: "formats/benchserve", wattrace: []string{"trace", "formats/pyjson", "formats/stamped"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/trtllmbench", wattrace: []string{"trace", "formats/elements", "formats/pyjson"}, forbidden: noIO},
	{packages: "formats/perfmetrics", wattrace: []string{"trace", "formats/elements", "formats/pyjson"}, forbidden: noIO},
	{packages: "formats/logs", wattrace: []string{"trace", "formats", "formats/requests", "formats/aiperf", "formats/benchserve", "formats/trtllmbench", "formats/perfmetrics", "formats/inferencex", "formats/energymetrics", "formats/guidellmreport"}, forbidden: noIO},
	{packages: "formats/inferencex", wattrace: []string{"trace", "formats/elements", "formats/pyjson", "formats/stamped"}, forbidden: noIO},
	{packages: "formats/guidellmreport", wattrace: []string{"trace", "formats/pyjson", "formats/stamped"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/energymetrics", wattrace: []string{"trace", "formats/elements"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/telemetries", wattrace: []string{"trace", "sample", "reduce", "formats", "formats/amdsmi", "formats/dmon", "formats/promrange", "formats/srtslurm", "formats/telemetry", "formats/telemetryrows", "formats/stamped", "formats/nvidiasmi", "formats/aiperf"}, forbidden: noIO},
	{packages: "formats/truth", wattrace: []string{"trace", "sample"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/traces", wattrace: []string{"trace", "formats", "formats/tokens", "formats/trtllm", "formats/mooncake", "formats/sharegpt", "formats/openaibatch", "formats/lengths", "formats/aiperfinputs", "formats/media", "formats/prompts", "formats/sglang", "formats/turns", "formats/weka"}, forbidden: noIO},
	{packages: "formats/bodies", wattrace: []string{"trace", "formats", "formats/elements", "formats/tokenizer", "formats/tokens", "formats/traces"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/tokens", forbidden: append([]string{"os", "io", "bufio", "sync"}, noIO...)},
	{packages: "formats/tokenizer", wattrace: []string{"trace"}, others: []string{"github.com/dlclark/regexp2/v2", "golang.org/x/text/unicode/norm"}, forbidden: noIO},
	{packages: "formats/elements", wattrace: []string{"trace"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/openaibatch", wattrace: []string{"trace", "formats"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/lengths", wattrace: []string{"trace", "formats", "formats/tokens"}, forbidden: noIO},
	{packages: "formats/aiperfinputs", wattrace: []string{"trace", "formats", "formats/elements"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/sharegpt", wattrace: []string{"trace", "formats", "formats/elements"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/mooncake", wattrace: []string{"trace", "formats", "formats/tokens"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/media", forbidden: noIO},
	{packages: "formats/turns", wattrace: []string{"formats"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/prompts", wattrace: []string{"trace", "formats", "formats/elements", "formats/turns"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},
	{packages: "formats/sglang", wattrace: []string{"trace", "formats"}, forbidden: noIO},
	{packages: "formats/weka", wattrace: []string{"trace", "formats", "formats/elements", "formats/tokens"}, forbidden: noIO},
	{packages: "formats/trtllm", wattrace: []string{"trace", "formats", "formats/elements"}, others: []string{"github.com/go-json-experiment/json/jsontext"}, forbidden: noIO},

	{packages: "cmd/internal/layers"},
	{packages: "cmd/internal/pages"},
	{packages: "cmd/internal/script", wattrace: []string{"cmd/internal/...", "sample/sampletest", "replay/replaytest"}},
	{packages: "cmd/internal/cli", others: []string{"github.com/urfave/cli/v2", "github.com/klauspost/compress/zstd", "golang.org/x/term", "golang.org/x/sys/unix"}},
	// aiperf's files have figures in them, whose formulas are in reduce/peers.
	{packages: "cmd/internal/traceflags", wattrace: []string{"trace", "formats", "formats/bodies", "formats/tokens", "formats/traces", "cmd/internal/cli"}, others: []string{"github.com/urfave/cli/v2"}},
	{packages: "cmd/internal/convert", wattrace: []string{"trace", "sample", "reduce/peers", "formats", "formats/...", "cmd/internal/cli", "cmd/internal/traceflags"}, others: []string{"github.com/urfave/cli/v2", "github.com/apache/arrow/go/v17/arrow", "github.com/go-json-experiment/json/jsontext"}},
	{packages: "cmd/internal/replay", wattrace: []string{"trace", "replay", "replay/dialect", "replay/selftest", "formats", "formats/plan", "formats/requests", "cmd/internal/cli", "cmd/internal/served", "cmd/internal/traceflags"}, others: []string{"github.com/urfave/cli/v2"}},
	{packages: "cmd/internal/record", wattrace: []string{"trace", "sample", "sample/nvml", "sample/rapl", "sample/hwmon", "sample/smi", "sample/amdsmi", "sample/scrape", "sample/dcgm", "sample/server", "reduce", "reduce/characterise", "formats/telemetry", "formats/sensors", "formats/nvidiasmi", "cmd/internal/cli", "cmd/internal/exposition"}, others: []string{"github.com/urfave/cli/v2", "golang.org/x/sys/unix", "github.com/coreos/go-systemd/v22/daemon"}},
	{packages: "cmd/internal/reduce", wattrace: []string{"trace", "sample", "reduce", "formats", "formats/plan", "formats/requests", "formats/logs", "formats/telemetries", "formats/nvidiasmi", "formats/srtslurm", "formats/report", "formats/energies", "formats/truth", "formats/sensors", "formats/calibration", "formats/topology", "formats/aiperf", "formats/amdsmi", "formats/inferencex", "formats/energymetrics", "formats/benchserve", "cmd/internal/cli"}, others: []string{"github.com/urfave/cli/v2"}},
	{packages: "cmd/internal/compare", wattrace: []string{"reduce", "reduce/compare", "formats", "formats/report", "formats/comparison", "cmd/internal/cli"}, others: []string{"github.com/urfave/cli/v2"}},
	{packages: "cmd/internal/served"},
	{packages: "cmd/internal/sibling", wattrace: []string{"cmd/internal/cli"}},
	{packages: "cmd/internal/exposition", wattrace: []string{"trace", "sample", "cmd/internal/cli"}, others: []string{"github.com/prometheus/common/expfmt", "github.com/prometheus/client_model/go"}},
	{packages: "cmd/internal/monitor", wattrace: []string{"trace", "sample", "sample/scrape", "sample/server", "formats", "formats/telemetry", "cmd/internal/cli", "cmd/internal/exposition", "cmd/internal/sibling"}, others: []string{"github.com/urfave/cli/v2", "golang.org/x/term"}},                                         // starts record
	{packages: "cmd/internal/measure", wattrace: []string{"trace", "sample", "reduce", "formats/plan", "formats/requests", "formats/summary", "formats/telemetry", "formats/tokens", "cmd/internal/cli", "cmd/internal/traceflags", "cmd/internal/served", "cmd/internal/sibling"}, others: []string{"github.com/urfave/cli/v2"}}, // starts the others, and neither samples nor replays
	// Inputs are opened and joined as reduce does it, by its own entry: to part that from
	// reduce would move most of it, and its flags have one meaning this way.
	{packages: "cmd/internal/plot", wattrace: []string{"reduce", "formats", "formats/page", "formats/report", "cmd/internal/cli", "cmd/internal/reduce"}, others: []string{"github.com/urfave/cli/v2"}},
	{packages: "cmd/internal/simulate", wattrace: []string{"trace", "sample", "sample/sim", "replay/simserver", "formats/truth", "cmd/internal/cli"}, others: []string{"github.com/urfave/cli/v2"}},
	{packages: "cmd/*", wattrace: []string{"cmd/internal/cli", "cmd/internal/*"}},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func match(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == prefix || strings.HasPrefix(name, prefix+"/")
	}
	ok, _ := path.Match(pattern, name)
	return ok
}

// list runs go list, which knows build constraints; with cgo the NVML package
// shows its imports.
func list(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Standard", "wattrace/...")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(out); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal("go list:", err)
	}
	return all
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, "wattrace/")
		i := slices.IndexFunc(rules, func(r rule) bool { return match(r.packages, name) })
		if i < 0 {
			t.Errorf("%s: the table does not know this package", name)
			continue
		}
		for _, imported := range p.Imports {
			if why := check(rules[i], imported); why != "" {
				t.Errorf("%s imports %s: %s", name, imported, why)
			}
		}
	}
}

func check(r rule, imported string) string {
	any := func(patterns []string, name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
	}
	if name, ours := strings.CutPrefix(imported, "wattrace/"); ours {
		if !any(r.wattrace, name) {
			return "not among what it may import"
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
		if !any(r.others, imported) {
			return "not among the modules that it may link"
		}
		return ""
	}
	if slices.Contains(r.forbidden, imported) {
		return "not for this package"
	}
	return ""
}

// Whole binaries: what none but the named ones may link, however indirectly.
func TestLinked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		module string
		may    []string
	}{
		{"github.com/NVIDIA/go-nvml", []string{"record"}},
		{"github.com/apache/arrow/go/v17/parquet", []string{"convert"}},
		{"google.golang.org/grpc", nil},                                                         // of pqarrow
		{"net/http", []string{"convert", "measure", "monitor", "record", "replay", "simulate"}}, // convert by thrift, which Parquet's footers are
		{"github.com/prometheus/common", []string{"monitor", "record"}},
		{"wattrace/sample/sampletest", nil},
		{"wattrace/formats/schematest", nil},
		{"wattrace/replay/replaytest", nil},
		{"testing", []string{"convert"}}, // by thrift
	} {
		for _, p := range list(t) {
			tool, ok := strings.CutPrefix(p.ImportPath, "wattrace/cmd/")
			if !ok || strings.Contains(tool, "/") || slices.Contains(c.may, tool) {
				continue
			}
			cmd := exec.Command("go", "list", "-deps", p.ImportPath)
			cmd.Env = append(cmd.Environ(), "CGO_ENABLED=1")
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			for dep := range strings.SplitSeq(string(out), "\n") {
				if match(c.module+"/...", dep) {
					t.Errorf("%s links %s", tool, dep)
				}
			}
		}
	}
}

// Every binary but record is static, so that it runs on any Linux.
func TestStatic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, p := range list(t) {
		tool, ok := strings.CutPrefix(p.ImportPath, "wattrace/cmd/")
		if !ok || strings.Contains(tool, "/") || tool == "record" {
			continue
		}
		path := filepath.Join(dir, tool)
		cmd := exec.Command("go", "build", "-o", path, p.ImportPath)
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", tool, err, out)
		}
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, prog := range f.Progs {
			if prog.Type == elf.PT_INTERP || prog.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is dynamically linked", tool)
			}
		}
		f.Close()
	}
}
