package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
)

// have skips the test unless the interpreter runs the program, which tells
// whether a package is there.
func have(t *testing.T, interpreter string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(interpreter); err != nil {
		t.Skip("no ", interpreter)
	}
	cmd := exec.Command(interpreter, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skip(interpreter, ": ", lines[len(lines)-1])
	}
}

// summary is what the scripts of testdata/interop print.
type summary struct {
	Rows, Streams, End, Nulls int
	FirstUnixNanos            string   `json:"first_unix_nanos"`
	TookNanos                 int64    `json:"took_nanos"`
	Devices                   []string `json:"devices"`
	Statuses                  []string `json:"statuses"`
	Power                     float64  `json:"power_watts"`
	Energy                    float64  `json:"energy_joules"`
	Units                     map[string]string
}

func summarise(t *testing.T, file []byte) summary {
	rd, batches, err := readAll(bytes.NewReader(file))
	if err != io.EOF {
		t.Fatal(err)
	}
	end, _ := rd.End()
	s := summary{Streams: len(rd.Snapshots()), End: int(end.Rows), Units: map[string]string{"took_nanos": "ns"}}
	for _, id := range rd.Head().Metrics {
		s.Units[sample.Metrics[id].Name] = sample.Metrics[id].Unit
	}
	for _, b := range batches {
		if s.Rows == 0 {
			s.FirstUnixNanos = strconv.FormatInt(rd.Head().Clock.Wall(b.Time[0]).UnixNano(), 10)
		}
		s.Rows += b.Len()
		for i := range b.Len() {
			s.TookNanos += int64(b.Took[i])
			w, _ := b.Float(sample.PowerWatts, i)
			s.Power += w
			j, ok := b.Float(sample.EnergyJoules, i)
			s.Energy = max(s.Energy, j)
			if !ok {
				s.Nulls++
			}
			s.Devices = append(s.Devices, b.Devices[b.Device[i]].ID)
			if b.Status[i] != "" {
				s.Statuses = append(s.Statuses, b.Status[i])
			}
		}
	}
	for _, set := range []*[]string{&s.Devices, &s.Statuses} {
		slices.Sort(*set)
		*set = slices.Compact(*set)
	}
	return s
}

// TestOtherReaders reads a recording with Arrow readers that are not Go's.
func TestOtherReaders(t *testing.T) {
	run := func(name, interpreter, script, probe string, probeArgs ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			have(t, interpreter, append(probeArgs, probe)...)
			file := example(t)
			path := filepath.Join(t.TempDir(), "power.arrows")
			if err := os.WriteFile(path, file, 0o666); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(interpreter, filepath.Join("..", "..", "testdata", "interop", script), path).Output()
			if err != nil {
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					t.Fatalf("%v\n%s", err, exit.Stderr)
				}
				t.Fatal(err)
			}
			var got summary
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(summarise(t, file), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	run("pyarrow", "python3", "read.py", "import pyarrow", "-c")
	run("arrow-js", "node", "read.mjs", "require('apache-arrow')", "-e")
}

// TestOtherWriterPyarrow reads a recording that pyarrow has passed on as a
// compressed Arrow file, with its own choice of index type.
func TestOtherWriterPyarrow(t *testing.T) {
	t.Parallel()
	have(t, "python3", "-c", "import pyarrow")
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, example(t), 0o666); err != nil {
		t.Fatal(err)
	}
	const program = `
import sys, pyarrow as pa
batches = []
with pa.memory_map(sys.argv[1]) as source:
    while source.tell() < source.size():
        with pa.ipc.open_stream(source) as reader:
            schema = reader.schema
            batches += [b for b in reader]
table = pa.Table.from_batches(batches)
for i, f in enumerate(table.schema):
    if f.name == "device":
        table = table.set_column(i, f.name, table[i].cast(pa.string()))
    elif f.name == "host":
        table = table.set_column(i, f.name, table[i].cast(pa.string()).dictionary_encode())
table = table.replace_schema_metadata(schema.metadata)
options = pa.ipc.IpcWriteOptions(compression="zstd")
with pa.ipc.new_file(sys.argv[2], table.schema, options=options) as w:
    w.write_table(table)
`
	if msg, err := exec.Command("python3", "-c", program, in, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	file, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want, got := summarise(t, example(t)), summarise(t, file)
	got.Streams = want.Streams
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
