package replay

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

func TestCPUQuota(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"/sys/fs/cgroup/a/b/cpu.max":                 "max 100000\n",
		"/sys/fs/cgroup/a/cpu.max":                   "150000 100000\n",
		"/sys/fs/cgroup/cpu.max":                     "800000 100000\n",
		"/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us":      "50000\n",
		"/sys/fs/cgroup/cpu/x/cpu.cfs_period_us":     "100000\n",
		"/sys/fs/cgroup/cpu/unset/cpu.cfs_quota_us":  "-1\n",
		"/sys/fs/cgroup/cpu/unset/cpu.cfs_period_us": "100000\n",
	}
	got := map[string]trace.Opt[float64]{}
	for _, c := range []string{"0::/a/b\n", "0::/other\n", "4:memory:/x\n3:cpu,cpuacct:/x\n", "3:cpuset:/x\n", "3:cpu:/unset\n", "broken\n", ""} {
		got[c] = cpuQuota([]byte(c), func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		})
	}
	if diff := cmp.Diff(map[string]trace.Opt[float64]{
		"0::/a/b\n": trace.Some(1.5), "0::/other\n": trace.Some(8.0), "4:memory:/x\n3:cpu,cpuacct:/x\n": trace.Some(0.5),
		"3:cpuset:/x\n": {}, "3:cpu:/unset\n": {}, "broken\n": {}, "": {},
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCPUModel(t *testing.T) {
	t.Parallel()
	const cpuinfo = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9R14\nmodel name\t: other\n"
	if got := cpuModel(strings.NewReader(cpuinfo)); got != "AMD EPYC 9R14" {
		t.Errorf("%q", got)
	}
	if got := cpuModel(strings.NewReader("processor\t: 0\n")); got != "" {
		t.Errorf("%q", got)
	}
}
