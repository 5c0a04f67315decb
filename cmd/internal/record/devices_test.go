package record

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/sample/nvml"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	gpus := []sample.Device{
		{Index: 0, Name: "H100", UUID: "GPU-aaaa1111", PCIBusID: "00000000:1B:00.0"},
		{Index: 1, Name: "H100", UUID: "GPU-aaaa2222", PCIBusID: "00000000:3B:00.0"},
		{Index: 2, Name: "H100", UUID: "GPU-bbbb3333", PCIBusID: "00000001:3B:00.0"},
		{Index: 3}, // cannot be opened
	}
	env := map[string]string{}
	c := &chooser{nvml.Inventory{GPUs: gpus[:3], Board: func(uuid string) (int, bool) {
		return 2, strings.HasPrefix(uuid, "MIG-b")
	}}, func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	check := func(list string, want ...int) {
		t.Helper()
		got, err := c.choose(list)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(list, env, diff, err)
		}
	}
	refuse := func(list, want string) {
		t.Helper()
		if got, err := c.choose(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q, %v: %v, %v; want %s", list, env, got, err, want)
		}
	}
	cuda := func(visible string, more ...string) {
		clear(env)
		env["CUDA_VISIBLE_DEVICES"] = visible
		for _, m := range more {
			name, value, _ := strings.Cut(m, "=")
			maps.Copy(env, map[string]string{name: value})
		}
	}

	check("0", 0)
	check("2, 0", 2, 0)
	check("GPU-b", 2)
	check("gpu-AAAA2222,1b:00.0", 1, 0)
	check("0000:1B:00", 0)
	check("00000000:3b:00.0", 1)
	check("0001:3B:00.0,3B:00.0", 2, 1)
	check("MIG-b7,1", 2, 1)
	check("MIG-GPU-aaaa1111/7/0", 0)
	refuse("4", `--devices: no GPU is "4"`)
	refuse("-1", `no GPU is "-1"`)
	refuse("01", `no GPU is "01"`)
	refuse("", `no GPU is ""`)
	refuse("0,", `no GPU is ""`)
	refuse("GPU-aaaa", `--devices: "GPU-aaaa" is more than one GPU`)
	refuse("GPU-aaaa11112", "no GPU is")
	refuse("4b:00.0", "no GPU is")
	refuse("MIG-c", "no GPU is")
	refuse("0,GPU-aaaa1111", "--devices 0,GPU-aaaa1111: 0 and GPU-aaaa1111 are one GPU")
	check("cuda", 0, 1, 2) // not set: all
	refuse("cuda,0", "cuda and 0 are one GPU")
	cuda("1,0")
	check("cuda", 1, 0)
	check("cuda,GPU-b", 1, 0, 2)
	cuda("GPU-b,,0")
	check("cuda", 2)
	cuda("2,-1,0")
	check("cuda", 2)
	cuda("MIG-b1,MIG-b2,0")
	check("cuda", 2, 0)
	cuda("MIG-b1,2")
	refuse("cuda", "2 is there already")
	cuda("2,MIG-b1")
	refuse("cuda", "MIG-b1 is there already")
	cuda("")
	refuse("cuda", "CUDA_VISIBLE_DEVICES=: a CUDA program sees no GPU")
	cuda("0,0")
	refuse("cuda", "0 is there already")
	cuda("0,9")
	refuse("cuda", `CUDA_VISIBLE_DEVICES: no GPU is "9"`)

	// Numbers are CUDA's own where the models differ.
	c.GPUs = gpus
	cuda("0,1")
	refuse("cuda", "CUDA numbers GPUs of several models by speed")
	cuda("0,1", "CUDA_DEVICE_ORDER=FASTEST_FIRST")
	refuse("cuda", "CUDA numbers GPUs of several models by speed")
	cuda("0,1", "CUDA_DEVICE_ORDER=PCI_BUS_ID")
	check("cuda", 0, 1)
	cuda("GPU-b")
	check("cuda", 2)
	c.GPUs = []sample.Device{{Index: 0}, {Index: 1}}
	cuda("0,1")
	refuse("cuda", "CUDA numbers GPUs of several models by speed")
	c.GPUs = nil
	refuse("0", "no GPU is")
}
