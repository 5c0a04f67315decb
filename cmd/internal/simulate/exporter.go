package simulate

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"wattrace/sample"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// exporter is the page of a dcgm-exporter on its own port: what the sensors showed at its
// last refresh, and nothing of what came since.
type exporter struct {
	listener net.Listener
	every    time.Duration
	devices  []*sim.Device
	now      func() trace.Time
	body     atomic.Pointer[[]byte]
}

// newExporter makes the first page, so that nobody finds none.
func newExporter(listener net.Listener, every time.Duration, devices []*sim.Device, now func() trace.Time) *exporter {
	e := &exporter{listener: listener, every: every, devices: devices, now: now}
	e.refresh()
	return e
}

func (e *exporter) refresh() {
	readings := make([]sim.Reading, len(e.devices))
	capped := make([]time.Duration, len(e.devices))
	now := e.now()
	for i, d := range e.devices {
		readings[i], capped[i] = d.Read(now), d.PowerCapped(now)
	}
	page := dcgmPage(sim.Infos(e.devices), readings, capped)
	e.body.Store(&page)
}

// run refreshes the page and serves it, until the context ends.
func (e *exporter) run(ctx context.Context) error {
	h := &http.Server{Handler: e, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan error, 1)
	go func() { served <- h.Serve(e.listener) }()
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.refresh()
		case err := <-served:
			return fmt.Errorf("the page of DCGM: %w", err)
		case <-ctx.Done():
			h.Close()
			<-served
			return nil
		}
	}
}

// ServeHTTP answers as dcgm-exporter does: /metrics, and /health for probes.
func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/metrics" && r.URL.Path != "/health" && r.URL.Path != "/":
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case r.URL.Path == "/health":
		fmt.Fprint(w, "OK")
	case r.URL.Path == "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<html><head><title>GPU Exporter</title></head><body><h1>GPU Exporter</h1><p><a href="./metrics">Metrics</a></p></body></html>`)
	default:
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write(*e.body.Load())
	}
}

// dcgmFields are the fields of the page in their order: those of dcgm-exporter's
// etc/default-counters.csv that the devices have, with its help, and four that operators
// add to it: the instant power, the limit in force, the time that it held, and the
// reasons of the clock.
var dcgmFields = []struct {
	name, kind, help string
	value            func(sim.Reading, time.Duration) string
}{
	{"DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", integral(func(r sim.Reading) uint64 { return uint64(r.SMClockMegahertz) })},
	{"DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", integral(func(r sim.Reading) uint64 { return uint64(r.MemoryClockMegahertz) })},
	{"DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", integral(func(r sim.Reading) uint64 { return uint64(r.TemperatureCelsius) })},
	{"DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", func(r sim.Reading, _ time.Duration) string {
		if r.PowerAverageMilliwatts != 0 { // nvmlDeviceGetPowerUsage is the average where there is one
			return watts(r.PowerAverageMilliwatts)
		}
		return watts(r.PowerInstantMilliwatts)
	}},
	{"DCGM_FI_DEV_POWER_USAGE_INSTANT", "gauge", "Instantaneous power draw (in W).", func(r sim.Reading, _ time.Duration) string {
		return watts(r.PowerInstantMilliwatts)
	}},
	{"DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "gauge", "Effective power limit that the driver enforces (in W).", func(r sim.Reading, _ time.Duration) string {
		return watts(r.PowerLimitMilliwatts)
	}},
	{"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).", integral(func(r sim.Reading) uint64 { return r.EnergyMillijoules })},
	{"DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", integral(func(r sim.Reading) uint64 { return uint64(r.GPUUtilizationPercent) })},
	{"DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", integral(func(r sim.Reading) uint64 { return uint64(r.MemoryUtilizationPercent) })},
	{"DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %).", integral(func(sim.Reading) uint64 { return 0 })},
	{"DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder utilization (in %).", integral(func(sim.Reading) uint64 { return 0 })},
	{"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "gauge", "Current clock throttle reasons (bitmask of DCGM_CLOCKS_THROTTLE_REASON_*).", integral(func(r sim.Reading) uint64 { return r.ClockEventReasons })},
	{"DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", integral(func(sim.Reading) uint64 { return 0 })},
	{"DCGM_FI_DEV_POWER_VIOLATION", "counter", "Throttling duration due to power constraints (in us).", func(_ sim.Reading, capped time.Duration) string {
		return strconv.FormatInt(int64(capped), 10) // in nanoseconds, whatever the help says
	}},
	{"DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", integral(func(r sim.Reading) uint64 { return r.MemoryTotalBytes>>20 - r.MemoryUsedBytes>>20 })},
	{"DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", integral(func(r sim.Reading) uint64 { return r.MemoryUsedBytes >> 20 })},
}

func integral(of func(sim.Reading) uint64) func(sim.Reading, time.Duration) string {
	return func(r sim.Reading, _ time.Duration) string { return strconv.FormatUint(of(r), 10) }
}

// watts writes milliwatts as the exporter writes doubles, with six decimals.
func watts(milliwatts uint32) string {
	return strconv.FormatFloat(float64(milliwatts)/1000, 'f', 6, 64)
}

// dcgmPage is the page of metrics in the text format of Prometheus.
func dcgmPage(devices []sample.Device, readings []sim.Reading, capped []time.Duration) []byte {
	var b []byte
	for _, f := range dcgmFields {
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		for i, d := range devices {
			b = fmt.Appendf(b, "%s{gpu=\"%d\",UUID=%s,pci_bus_id=%s,device=\"nvidia%d\",modelName=%s,Hostname=%s,DCGM_FI_DRIVER_VERSION=\"simulated\"} %s\n",
				f.name, d.Index, label(d.UUID), label(d.PCIBusID), d.Index, label(d.Name), label(d.Host), f.value(readings[i], capped[i]))
		}
	}
	return b
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// label quotes a label's value.
func label(s string) string { return `"` + labelEscapes.Replace(s) + `"` }
