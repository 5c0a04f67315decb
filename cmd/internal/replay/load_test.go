package replay

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/replay"
	"wattrace/trace"
)

func TestParseShard(t *testing.T) {
	t.Parallel()
	slurm := map[string]string{"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}
	mpi := map[string]string{"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}
	job := map[string]string{"JOB_COMPLETION_INDEX": "1"}
	for _, test := range []struct {
		in   string
		env  map[string]string
		want replay.Shard
		err  string
	}{
		{"", slurm, replay.Shard{}, ""},
		{"1/4", nil, replay.Shard{Index: 1, Count: 4}, ""},
		{"auto", slurm, replay.Shard{Index: 3, Count: 8}, ""},
		{"auto", mpi, replay.Shard{Index: 0, Count: 2}, ""},
		{"auto/5", job, replay.Shard{Index: 1, Count: 5}, ""},
		{"auto", job, replay.Shard{}, "--shard auto: JOB_COMPLETION_INDEX is 1, and nothing says of how many: give --shard auto/N"},
		{"auto", nil, replay.Shard{}, "--shard auto: neither Slurm, Open MPI nor Kubernetes says which process this is"},
		{"4/4", nil, replay.Shard{}, "--shard: want I/N with I from 0 to N-1, not 4/4"},
		{"0/1073741825", nil, replay.Shard{}, "--shard: at most 1073741824 clients"},
		{"2", nil, replay.Shard{}, "--shard: want I/N with I from 0 to N-1, not 2/"},
	} {
		got, err := parseShard(test.in, func(name string) string { return test.env[name] })
		if said := said(err); got != test.want || said != test.err {
			t.Errorf("%q: %v, %q", test.in, got, said)
		}
	}
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseStart(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0).UTC()
	for in, want := range map[string]string{
		"+30s":                      "2027-01-15T08:00:30Z",
		"2027-01-15T09:00:00.25Z":   "2027-01-15T09:00:00.25Z",
		"1800000060.5":              "2027-01-15T08:01:00.5Z",
		"2027-01-15T07:59:59Z":      "--start-at: 2027-01-15T07:59:59Z is in the past, by 1s",
		"soon":                      `--start-at: want RFC 3339, Unix seconds, or +30s, not "soon"`,
		"+soon":                     `--start-at: want RFC 3339, Unix seconds, or +30s, not "+soon"`,
		"1e300":                     `--start-at: want RFC 3339, Unix seconds, or +30s, not "1e300"`,
		"2027-01-15T10:00:00+02:00": "--start-at: 2027-01-15T10:00:00+02:00 is in the past, by 0s",
	} {
		at, err := parseStart(in, now)
		got := said(err)
		if err == nil {
			got = at.UTC().Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// The flags make the plan that a file would.
func TestLoadFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		o    options
		set  []string
		want trace.Phase
		err  string
	}{
		{"closed", options{concurrency: 1}, nil, trace.Phase{Concurrency: 1}, ""},
		{"open", options{concurrency: 1, load: trace.Load{Rate: 20}}, []string{"rate"}, trace.Phase{Load: trace.Load{Rate: 20}}, ""},
		{"capped", options{concurrency: 8, load: trace.Load{Rate: 20}}, []string{"rate", "concurrency"}, trace.Phase{Concurrency: 8, Load: trace.Load{Rate: 20}}, ""},
		{"bursty", options{load: trace.Load{Rate: 20, Shape: 0.5}}, []string{"rate"}, trace.Phase{Load: trace.Load{Rate: 20, Arrival: trace.Gamma, Shape: 0.5}}, ""},
		{"ramp", options{load: trace.Load{Rate: 20}, ramp: "2:30s:exponential"}, []string{"rate"}, trace.Phase{Load: trace.Load{Rate: 20, RampShape: trace.Exponential, Ramp: []trace.RampPoint{{Value: 2}, {At: 30 * time.Second, Value: 20}}}}, ""},
		{"ramp of slots", options{concurrency: 9, ramp: "1:1m"}, nil, trace.Phase{Concurrency: 9, Load: trace.Load{Ramp: []trace.RampPoint{{Value: 1}, {At: time.Minute, Value: 9}}}}, ""},
		{"cancel", options{concurrency: 2, cancel: "0.1:2s"}, nil, trace.Phase{Concurrency: 2, Load: trace.Load{CancelShare: 0.1, CancelAfter: 2 * time.Second}}, ""},
		{"no ramp", options{concurrency: 2, ramp: "1"}, nil, trace.Phase{}, "--ramp: want FROM:TIME such as 1:30s, or 1:30s:exponential"},
		{"no cancel", options{concurrency: 2, cancel: "2:2s"}, nil, trace.Phase{}, "--cancel: want SHARE:TIME such as 0.1:2s"},
		{"two loads", options{concurrency: 1, load: trace.Load{Rate: 2, FromTrace: true}}, []string{"rate"}, trace.Phase{}, "--rate, --trace-times and --users exclude each other"},
		{"no users", options{concurrency: 1, load: trace.Load{TurnGap: time.Second}}, nil, trace.Phase{}, "--turn-gap means nothing in a closed loop"},
		{"no gap", options{load: trace.Load{Users: 2}}, nil, trace.Phase{}, "--users needs --turn-gap"},
		{"strict warm-up", options{concurrency: 1, warmupRequests: 3, load: trace.Load{Strict: true}}, nil, trace.Phase{}, "--open-loop-strict means nothing in a closed loop"},
		{"errors", options{concurrency: 1, load: trace.Load{MaxErrorRate: 2}}, nil, trace.Phase{}, "--max-error-rate must be from 0 to less than 1"},
		{"no order", options{concurrency: 1, order: "foo"}, nil, trace.Phase{}, `unknown order "foo" (sequential, shuffle, random)`},
		{"zero rate", options{concurrency: 1}, []string{"rate"}, trace.Phase{}, "--rate must be more than 0"},
	} {
		isSet := func(name string) bool {
			for _, s := range test.set {
				if s == name {
					return true
				}
			}
			return false
		}
		p, err := test.o.plan(isSet)
		if said := said(err); said != test.err {
			t.Errorf("%s: %q, want %q", test.name, said, test.err)
			continue
		}
		if err != nil {
			continue
		}
		test.want.Name, test.want.Kind = "profiling", trace.Measure
		if diff := cmp.Diff([]trace.Phase{test.want}, p.Phases); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}
