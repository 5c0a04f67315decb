package promrange

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/sample"
)

type row struct {
	At, Took time.Duration
	Device   string
	Values   map[string]float64
}

func readAll(in string) (rows []row, anchor int64, devices []sample.Device, err error) {
	r, err := NewReader(strings.NewReader(in), "f", "h")
	if err != nil {
		return nil, 0, nil, err
	}
	for b := new(sample.Batch); ; {
		if err := r.Read(b); err == io.EOF {
			return rows, r.Head().Clock.Anchor.UnixNanos, r.Head().Devices, nil
		} else if err != nil {
			return rows, 0, nil, err
		}
		for i := range b.Len() {
			one := row{At: time.Duration(b.Time[i]), Took: b.Took[i], Device: b.Devices[b.Device[i]].ID, Values: map[string]float64{}}
			for id := range sample.NumMetrics {
				if v, ok := b.Uint(id, i); ok {
					one.Values[id.String()] = float64(v)
				} else if v, ok := b.Float(id, i); ok {
					one.Values[id.String()] = v
				}
			}
			rows = append(rows, one)
		}
	}
}

func answer(series ...string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Join(series, ",") + "]}}\n"
}

func series(name, labels, values string) string {
	return fmt.Sprintf(`{"metric":{"__name__":%q,%s},"values":[%s]}`, name, labels, values)
}

const gpu0 = `"gpu":"0","UUID":"GPU-a","Hostname":"n1","modelName":"NVIDIA H200"`

func TestRows(t *testing.T) {
	t.Parallel()
	// Power repeats at 1030, as no scrape came in between; energy is of another file; at 1060 there is a gap.
	in := answer(series("DCGM_FI_DEV_POWER_USAGE", gpu0+`,"pod":"x"`, `[1000,"100"],[1015,"110.5"],[1030,"110.5"],[1045,"NaN"],[1090,"90"]`),
		series("DCGM_FI_DEV_POWER_USAGE", gpu0+`,"pod":"y"`, `[1105.5,"95"]`), series("up", `"a":"b"`, `[1000,"1"]`)) +
		answer(series("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", gpu0, `[1000,"5000"],[1015,"6500"],[1030,"6500"]`), series("DCGM_FI_DEV_GPU_UTIL", gpu0, `[1015,"50"],[1030,"60"],[1090,"70"]`))
	rows, anchor, devices, err := readAll(in)
	if err != nil || anchor != 1000e9 {
		t.Fatalf("from %d: %v", anchor, err)
	}
	want := []row{
		{0, 15 * time.Second, "GPU-a", map[string]float64{"power_watts": 110.5, "energy_joules": 6.5, "gpu_utilization": .5}},
		{30 * time.Second, 60 * time.Second, "GPU-a", map[string]float64{"power_watts": 90, "gpu_utilization": .7}},
		{90 * time.Second, 15500 * time.Millisecond, "GPU-a", map[string]float64{"power_watts": 95}},
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]sample.Device{{ID: "GPU-a", UUID: "GPU-a", Host: "n1", Source: sample.DCGM, Scope: sample.ScopeGPU, Name: "NVIDIA H200"}}, devices); d != "" {
		t.Error(d)
	}
	if kind := formats.Sniff([]byte(in)); kind != formats.Prometheus {
		t.Errorf("it is a %s", kind)
	}
}

func TestAMDAndLookback(t *testing.T) {
	t.Parallel()
	const gpu = `"gpu_id":"3","serial_number":"S3","card_model":"MI300X","hostname":"a"`
	rows, anchor, devices, err := readAll(answer(series("gpu_power_usage", gpu, `[1000,"100"],[2000,"200"]`), series("gpu_energy_consumed", gpu, `[1000,"1000000"],[2000,"3500000"]`)))
	want := []row{{0, 5 * time.Minute, "S3", map[string]float64{"power_watts": 200, "energy_joules": 3.5}}}
	if d := cmp.Diff(want, rows); d != "" || err != nil || anchor != 1700e9 || devices[0].Source != sample.AMDSMI || devices[0].Index != 3 {
		t.Errorf("%v from %d (-want +got):\n%s", err, anchor, d)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	power := series("DCGM_FI_DEV_POWER_USAGE", gpu0, `[1000,"100"],[1015,"110"]`)
	for in, want := range map[string]string{
		"": "not JSON, or cut off",
		`{"status":"error","errorType":"bad_data","data":{}}`:             `the query failed: its status is "error"`,
		`{"status":"success","data":{}}`:                                  "the answer has no resultType",
		`{"status":"success","data":{"resultType":"vector","result":[]}}`: `the result is a "vector"`,
		strings.Replace(answer(power), `"values":[`, `"value":[`, 1):      "the answer to an instant query",
		answer(power)[:150]:                        "not JSON, or cut off",
		answer(power) + "x":                        "not JSON, or cut off",
		answer(series("up", `"a":"b"`, `[1,"2"]`)): "no series of a metric of GPUs that is known",
		answer(series("DCGM_FI_DEV_POWER_USAGE", gpu0, `[1000,"100"],[1015,"100"]`)):    "no power or energy differs",
		strings.Replace(answer(power), `"100"`, "100", 1):                               "a string is wanted",
		strings.Replace(answer(power), `"100"`, `"x"`, 1):                               "the value of a sample is not a number",
		strings.Replace(answer(power), `[1000,`, `["1000",`, 1):                         "the time of a sample is not one of seconds since 1970",
		strings.Replace(answer(power), `[1000,`, strings.Repeat("[", 20000)+`1000,`, 1): "",
		strings.Replace(answer(power), `"100"],`, "\n\"100\",1],", 1):                   "f:2:8: a sample is a time and a value",
		//                   "",
	} {
		_, _, _, err := readAll(in)
		if err == nil || !strings.HasPrefix(err.Error(), "f:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.120q: got %v, want %s", in, err, want)
		}
	}
	_, _, _, err := readAll("{\"status\":\"success\",\n\"data\":{\"resultType\":\"matrix\",\"result\":[\n  {\"metric\":{},\"values\":[[1,2]]}, 7]}}")
	if err == nil || !strings.HasPrefix(err.Error(), "f:3:") {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(answer(series("DCGM_FI_DEV_POWER_USAGE", gpu0, `[1000,"100"],[1015,"110"],[1015.5,"+Inf"]`), series("DCGM_FI_DEV_XID_ERRORS", gpu0, `[1000,"0"],[1015,"79"]`)))
	f.Add(answer(series("gpu_power_usage", `"gpu_id":"0"`, `[1000,"100"],[900,"110"]`)))
	f.Fuzz(func(t *testing.T, in string) {
		rows, _, _, err := readAll(in)
		if err == nil && len(rows) == 0 {
			t.Fatal("no rows and no error")
		}
		for i, r := range rows {
			if r.Took < 0 || r.Took > lookback {
				t.Fatalf("row %d took %v", i, r.Took)
			}
		}
	})
}
