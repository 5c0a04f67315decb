package replay

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wattrace/replay/selftest"
)

// shortSelftest makes a self-test short. What it measures then means nothing.
func shortSelftest(t *testing.T) {
	each, streams, rates := selftestEach, selftestStreams, selftestRates
	t.Cleanup(func() { selftestEach, selftestStreams, selftestRates = each, streams, rates })
	selftestEach, selftestStreams, selftestRates = 40*time.Millisecond, []int{2, 3}, []float64{100}
}

func TestSelftest(t *testing.T) {
	shortSelftest(t)
	code, out, stderr := tool("", "--selftest")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, want := range []string{"Chunks that come together: ", "\n2 x 50 ", "\n3 x 50 ", "\n100 ", "\nThe error stays under 1 % of the time between two tokens (p99): of its own stamps "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, out, stderr = tool("", "--selftest", "--format", "json", "-q")
	var rep selftestReport
	if err := json.Unmarshal([]byte(out), &rep); code != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, stderr)
	}
	if rep.Schema != "wattrace.selftest/1" || rep.Machine.GOMAXPROCS == 0 || rep.Coalesced.Chunks == 0 ||
		len(rep.Stamps) < 2 || rep.Stamps[1].Streams != 3 || len(rep.Lateness) != 1 || rep.Verdict == "" {
		t.Errorf("%+v", rep)
	}
}

func TestSelftestTakesNoTrace(t *testing.T) {
	for _, args := range [][]string{{"--selftest", "trace.jsonl"}, {"--selftest", "--format", "csv"}} {
		if code, _, stderr := tool("", args...); code != 2 {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

func TestSelftestVerdict(t *testing.T) {
	t.Parallel()
	stamps := func(kernel bool, shares ...float64) (all []selftest.Stamps) {
		for i, share := range shares {
			all = append(all, selftest.Stamps{Streams: 100 << i, Kernel: kernel, ShareOfGap: share})
		}
		return all
	}
	const start = "The error stays under 1 % of the time between two tokens (p99): "
	for want, all := range map[string][]selftest.Stamps{
		"of its own stamps at none of these loads.":                                 stamps(false, 0.02, 0.001),
		"of its own stamps up to 200 streams x 50 chunks/s.":                        stamps(false, 0.001, 0.009, 0.01, 0.001),
		"of its own stamps at all of these loads, up to 200 streams x 50 chunks/s.": stamps(false, 0.001, 0.009),
		"of its own stamps up to 100 streams x 50 chunks/s; of those of the kernel (--kernel-timestamps) at all of these loads, up to 100 streams x 50 chunks/s.": append(stamps(false, 0.001, 0.9), stamps(true, 0.001)...),
	} {
		r := selftestReport{Stamps: all}
		if got := r.verdict(); got != start+want {
			t.Errorf("got  %s\nwant %s", got, start+want)
		}
	}
}
