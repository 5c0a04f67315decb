package smi

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

type newFeed func(io.ReadCloser, string, *trace.SteadyClock) *Feed

// run has a feed read a text and returns its rows as text, with the devices by
// their IDs less the host.
func run(t *testing.T, create newFeed, text string) (rows []string, b *sample.Batch, err error) {
	t.Helper()
	var in sample.Inbox
	f := create(io.NopCloser(strings.NewReader(text)), "-", trace.NewSteadyClock())
	err = f.Run(t.Context(), &in)
	if closing := f.Close(); closing != nil {
		t.Error(closing)
	}
	b = in.Collect()
	host, _ := os.Hostname()
	for i := range b.Len() {
		d := b.Devices[b.Device[i]]
		row := strings.ReplaceAll(d.ID, host, "H")
		for id := range sample.NumMetrics {
			if v, ok := b.Float(id, i); ok {
				row += fmt.Sprintf(" %s=%v", id, v)
			}
			if v, ok := b.Uint(id, i); ok {
				row += fmt.Sprintf(" %s=%v", id, v)
			}
		}
		rows = append(rows, strings.TrimRight(row+" "+b.Status[i], " "))
	}
	return rows, b, err
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDmon has lines in the shape that users show of two A100 (nvidia-smi dmon
// -s pucm) and, after a second header, of an H800 with --gpm-metrics.
func TestDmon(t *testing.T) {
	t.Parallel()
	rows, _, err := run(t, NewDmon, `# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk     fb   bar1
# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz     MB     MB
    0     87     35      -     98     12      0      0      0      0   1593   1410    916      4
    1     61     28     44      0      0      0      0      0      0   1593   1410     24      2
# gpu    pwr  gtemp  mtemp     sm    mem     gract    smutil     smocc   intutil    mmaact      dram
# Idx      W      C      C      %      %     GPM:%     GPM:%     GPM:%     GPM:%     GPM:%     GPM:%
    1     55     -9      -      -      -         -        50        25         1       0.5        12
`)
	if err != nil {
		t.Fatal(err)
	}
	want(t, rows,
		"nvidia-smi:H:0 power_watts=87 gpu_utilization=0.98 memory_utilization=0.12 memory_used_bytes=960495616 temperature_celsius=35 sm_clock_hertz=1.41e+09 memory_clock_hertz=1.593e+09 memory_temperature_celsius=NOT_SUPPORTED",
		"nvidia-smi:H:1 power_watts=61 gpu_utilization=0 memory_utilization=0 memory_used_bytes=25165824 temperature_celsius=28 sm_clock_hertz=1.41e+09 memory_clock_hertz=1.593e+09 memory_temperature_celsius=44",
		"nvidia-smi:H:1 power_watts=55 temperature_celsius=-9 sm_activity=0.5 sm_occupancy=0.25 tensor_activity=0.005 dram_activity=0.12 "+
			"memory_temperature_celsius=NOT_SUPPORTED,gpu_utilization=NOT_SUPPORTED,memory_utilization=NOT_SUPPORTED,graphics_activity=NOT_SUPPORTED",
	)
}

// TestDmonTimes: a row that came in its second is stamped by its arrival, one
// that came later by its second, and none goes back.
func TestDmonTimes(t *testing.T) {
	t.Parallel()
	line := func(t time.Time, watts int) string {
		return fmt.Sprintf(" %s      0   %d\n", t.Local().Format("20060102   15:04:05"), watts)
	}
	now := time.Now() // the third row's second may be the next: a busy machine has time
	header := "#Date       Time        gpu    pwr\n#YYYYMMDD   HH:MM:SS    Idx      W\n"
	rows, b, err := run(t, NewDmon, header+line(now.Add(-9*time.Second), 100)+line(now.Add(-8*time.Second), 110)+line(now.Add(time.Second-1), 120)+line(now.Add(-9*time.Second), 130))
	if err != nil {
		t.Fatal(err)
	}
	want(t, rows, "nvidia-smi:H:0 power_watts=100", "nvidia-smi:H:0 power_watts=110", "nvidia-smi:H:0 power_watts=120", "nvidia-smi:H:0 power_watts=130")
	if d := b.Time[1].Sub(b.Time[0]); (d-time.Second).Abs() > 50*time.Millisecond || b.Took[0] != time.Second || b.Took[1] != time.Second {
		t.Errorf("rows of the past: %v apart, took %v and %v", d, b.Took[0], b.Took[1])
	}
	if at := b.Time[0].Sub(0); at > -8900*time.Millisecond || at < -10500*time.Millisecond {
		t.Errorf("a row of 9 s ago stands at %v", at)
	}
	if b.Took[2] != 0 || b.Time[2] < 0 || b.Time[3] < b.Time[2] {
		t.Errorf("rows of now: %v took %v, then %v", b.Time[2], b.Took[2], b.Time[3])
	}
	_, _, err = run(t, NewDmon, header+line(now.Add(2*time.Hour), 100))
	if err == nil || !strings.HasPrefix(err.Error(), "-:3: its time is ") {
		t.Error(err)
	}
}

// TestDCGMI has the layout of DCGM 3 and 4 (dcgmi dmon -e), by the list of short
// names that dcgmi dmon -l prints.
func TestDCGMI(t *testing.T) {
	t.Parallel()
	rows, _, err := run(t, NewDCGMI, `#Entity   POWER             TOTEC             GPUTL             FBUSD             SMACT
ID
GPU 1     56.123            178319501700      40                1000              0.125
GPU 0     N/A               1                 N/A               0                 N/A
#Entity   POWINST   EPLMT  PSTAT   MMTMP  DVCCTR
Id
GPU 0     412.5     700.0  0       61     4
`)
	if err != nil {
		t.Fatal(err)
	}
	want(t, rows,
		"dcgm:H:1 power_watts=56.123 energy_joules=1.783195017e+08 gpu_utilization=0.4 memory_used_bytes=1048576000 sm_activity=0.125",
		"dcgm:H:0 energy_joules=0.001 memory_used_bytes=0 power_watts=NOT_SUPPORTED,gpu_utilization=NOT_SUPPORTED,sm_activity=NOT_SUPPORTED",
		"dcgm:H:0 power_instant_watts=412.5 power_limit_watts=700 clock_event_reasons=4 memory_temperature_celsius=61",
	)
}

// TestFaults: a line that cannot be read ends the feed with its number, after the
// rows before it.
func TestFaults(t *testing.T) {
	t.Parallel()
	const dmon, dcgmi = "# gpu pwr fb\n# Idx W MB\n0 87 1\n", "#Entity POWER FBUSD\nID\nGPU 0 1.5 2\n"
	for _, c := range []struct {
		create     newFeed
		text, want string
		rows       int
	}{
		{NewDmon, dmon + "0 87\n", "-:4: the line does not have the header's fields", 1},
		{NewDmon, dmon + "0 many 1\n", `-:4: "many" is not a value of power_watts`, 1},
		{NewDmon, dmon + "0 NaN 1\n", `-:4: "NaN" is not a value of power_watts`, 1},
		{NewDmon, dmon + "0 -1 1\n", `-:4: "-1" is not a value that power_watts can have`, 1},
		{NewDmon, dmon + "0 1 1e30\n", `-:4: "1e30" is not a value that memory_used_bytes can have`, 1},
		{NewDmon, dmon + "x 87 1\n", `-:4: "x" is not the number of a GPU`, 1},
		{NewDmon, dmon + "# no header\n", "-:4: not the header of nvidia-smi dmon", 1},
		{NewDmon, "    0 87\n", "-:1: not the header of nvidia-smi dmon", 0},
		{NewDmon, "# gpu pwr\n    0 87\n", "-:2: not the header of nvidia-smi dmon", 0},
		{NewDmon, "# gpu pwr\n# Idx mW\n", `-:2: pwr is in "mW": W is wanted`, 0},
		{NewDmon, "# gpu pwr\n# Idx\n", "-:2: the line does not have the header's fields", 0},
		{NewDmon, "# gpu enc\n# Idx %\n", "-:2: no column of the table is a metric that is read", 0},
		{NewDmon, "#Date Time gpu pwr\n#YYYYMMDD HH:MM:SS Idx W\nx y 0 87\n", `-:3: "x y" is not a time as in 20240104 13:54:35`, 0},
		{NewDCGMI, dcgmi + "GPU 0 1.5\n", "-:4: the line does not have the header's fields", 1},
		{NewDCGMI, dcgmi + "GPU-I 0 1.5 2\n", `-:4: a row of "GPU-I": only GPUs can be recorded`, 1},
		{NewDCGMI, dcgmi + "GPU x 1.5 2\n", `-:4: "x" is not the number of a GPU`, 1},
		{NewDCGMI, dcgmi + "GPU 0 - 2\n", `-:4: "-" is not a value of power_watts`, 1},
		{NewDCGMI, "Error: unable to connect\n", "-:1: not the header of dcgmi dmon", 0},
		{NewDCGMI, "#Nothing POWER\n", "-:1: not the header of dcgmi dmon", 0},
		{NewDCGMI, "#Entity PSTAT\n", "-:1: no column of the table is a metric that is read", 0},
	} {
		rows, _, err := run(t, c.create, c.text)
		if err == nil || err.Error() != c.want || len(rows) != c.rows {
			t.Errorf("%q: %d rows, %v; want %d, %s", c.text, len(rows), err, c.rows, c.want)
		}
	}
}

// FuzzTables: whatever comes, a row is of values that its metrics can have.
func FuzzTables(f *testing.F) {
	for _, text := range []string{
		"# gpu pwr mtemp fb\n# Idx W C MB\n0 87 -9 1\n\v\n", "#Date Time gpu pwr\n#YYYYMMDD HH:MM:SS Idx W\n20240104 13:54:35 0 87\n",
		"#Entity POWER FBUSD DVCCTR\nID\nGPU 0 1.5 2 4\n\v\nGPU 1 N/A 2 4\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, create := range []newFeed{NewDmon, NewDCGMI} {
			p := create(nil, "-", trace.NewSteadyClock()).parser(trace.NewSteadyClock())
			sample.Lines(t.Context(), strings.NewReader(text+"\n"), "-", func() trace.Time { return 0 }, func(line []byte, at trace.Time) error {
				r, ok, err := p.line(string(line), at)
				if ok && err == nil && r.took < 0 {
					t.Errorf("took %v", r.took)
				}
				for _, v := range r.values {
					cold := v.id == sample.TemperatureCelsius || v.id == sample.MemoryTemperatureCelsius
					if v.number != v.number || v.number < 0 && !cold {
						t.Errorf("%v: %v", v.id, v.number)
					}
				}
				return err
			})
		}
	})
}

// TestInfo: the recording has a column for all that a table can bring.
func TestInfo(t *testing.T) {
	t.Parallel()
	for _, create := range []newFeed{NewDmon, NewDCGMI} {
		f := create(nil, "-", trace.NewSteadyClock())
		known := map[sample.MetricID]bool{}
		for _, id := range f.Info().Metrics {
			known[id] = true
		}
		for name, c := range f.columns {
			if !known[c.id] {
				t.Errorf("%s: no %s", f.api, name)
			}
		}
	}
}
