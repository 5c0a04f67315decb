//go:build linux && cgo

package nvml

import (
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"wattrace/sample"
)

// gpmLeast is how far apart two samples must be to be compared, by nvml.h.
const gpmLeast = 100 * time.Millisecond

var gpmMetrics = [...]struct {
	id     nvml.GpmMetricId
	metric sample.MetricID
}{
	{nvml.GPM_METRIC_GRAPHICS_UTIL, sample.GraphicsActivity},
	{nvml.GPM_METRIC_SM_UTIL, sample.SMActivity},
	{nvml.GPM_METRIC_SM_OCCUPANCY, sample.SMOccupancy},
	{nvml.GPM_METRIC_ANY_TENSOR_UTIL, sample.TensorActivity},
	{nvml.GPM_METRIC_DRAM_BW_UTIL, sample.DRAMActivity},
}

// gpm is two samples of a GPU that take turns.
type gpm struct {
	samples [2]nvml.GpmSample // nil: not allocated
	latest  int               // which is the newer
	at      time.Time         // when that was taken; zero: there is none
	query   nvml.GpmMetricsGetType
}

// readGPM takes a sample and compares it with the one before.
func (s *Source) readGPM(g *gpu, row sample.Row) {
	if g.slow.probing {
		s.openGPM(g, row)
	}
	if g.gpm.samples[0] == nil {
		return
	}
	now := time.Now()
	if !g.gpm.at.IsZero() && now.Sub(g.gpm.at) < gpmLeast {
		return
	}
	next := 1 - g.gpm.latest
	if code := g.handle.GpmSampleGet(g.gpm.samples[next]); code != nvml.SUCCESS {
		g.failGPM(row, code)
		return
	}
	before := g.gpm.at
	g.gpm.latest, g.gpm.at = next, now
	if !before.IsZero() {
		s.compareGPM(g, row)
	}
}

// openGPM finds out whether the GPU has GPM.
func (s *Source) openGPM(g *gpu, row sample.Row) {
	g.gpm.at = time.Time{}
	code := nvml.ERROR_FUNCTION_NOT_FOUND
	if s.have.gpm {
		var support nvml.GpmSupport
		support, code = g.handle.GpmQueryDeviceSupport()
		if code == nvml.SUCCESS && (support.IsSupportedDevice == 0 || g.MIG) {
			code = nvml.ERROR_NOT_SUPPORTED
		}
	}
	for k := range g.gpm.samples {
		if code == nvml.SUCCESS && g.gpm.samples[k] == nil {
			var allocated nvml.GpmSample
			if allocated, code = s.api.GpmSampleAlloc(); code == nvml.SUCCESS {
				g.gpm.samples[k] = allocated
			}
		}
	}
	if code != nvml.SUCCESS {
		g.freeGPM()
		g.failGPM(row, code)
	}
}

func (g *gpu) failGPM(row sample.Row, code nvml.Return) {
	for _, m := range gpmMetrics {
		if !g.slow.skip[m.metric] {
			g.slow.fail(row, m.metric, code)
		}
	}
}

func (g *gpu) freeGPM() {
	for k, held := range g.gpm.samples {
		if held != nil {
			held.Free()
			g.gpm.samples[k] = nil
		}
	}
}

// compareGPM sets the means over the time between the two samples.
func (s *Source) compareGPM(g *gpu, row sample.Row) {
	q := &g.gpm.query
	q.Sample1, q.Sample2 = g.gpm.samples[1-g.gpm.latest], g.gpm.samples[g.gpm.latest]
	q.NumMetrics = 0
	for _, m := range gpmMetrics {
		if !g.slow.skip[m.metric] {
			q.Metrics[q.NumMetrics] = nvml.GpmMetric{MetricId: uint32(m.id)}
			q.NumMetrics++
		}
	}
	if q.NumMetrics == 0 {
		return
	}
	if code := s.api.GpmMetricsGet(q); code != nvml.SUCCESS {
		g.failGPM(row, code)
		return
	}
	k := 0
	for _, m := range gpmMetrics {
		if g.slow.skip[m.metric] {
			continue
		}
		got := q.Metrics[k]
		k++
		code := nvml.Return(got.NvmlReturn)
		if code == nvml.SUCCESS && (math.IsNaN(got.Value) || math.IsInf(got.Value, 0)) {
			code = nvml.ERROR_NO_DATA
		}
		switch {
		case code == nvml.SUCCESS:
			row.Set(m.metric, got.Value/100)
		case unsupported(code): // which only a comparison says
			g.slow.drop(m.metric, code)
			fallthrough
		default:
			row.Fail(m.metric, codeName(code))
		}
	}
}
