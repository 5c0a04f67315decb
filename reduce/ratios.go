package reduce

import (
	"math"

	"wattrace/trace"
)

// ratios relates the energy to tokens, users and requests.
func (r *Reducer) ratios(ph *phase, out *Phase, energy *Number, seconds float64) {
	m := out.Metrics
	r.tokenRatios(ph, out, energy)
	r.stages(ph, out, energy)
	if n := ph.requests.Succeeded; n > 0 {
		perRequest := scaled(energy, 1/float64(n), "total_gpu_energy / requests")
		m[EnergyPerRequest] = Metric{Unit: "J/request", Number: perRequest}
		if latency, ok := m[RequestLatency]; ok {
			m[EnergyDelayProduct] = Metric{Unit: "J*s", Number: scaled(perRequest, latency.Mean, "energy_per_request * mean request_latency")}
		}
	}
	if r.opt.SLO.any() && ph.requests.Succeeded > 0 && energy.Value > 0 {
		m[GoodputPerWatt] = Metric{Unit: "requests/s/W", Number: inverse(energy, float64(ph.good), "goodput / average_gpu_power")}
	}
	r.userRatios(ph, m, energy, seconds)
	m[TotalGPUEnergyWh] = Metric{Unit: "Wh", Number: scaled(energy, 1./3600, "total_gpu_energy / 3600")}
}

// tokenRatios relates the energy to tokens.
func (r *Reducer) tokenRatios(ph *phase, out *Phase, energy *Number) {
	m, t := out.Metrics, out.Tokens
	if t == nil {
		return
	}
	how := "tokens"
	if ph.arrivals {
		how = "tokens arrived"
	}
	if t.Input != nil && *t.Input > 0 {
		m[EnergyPerInputToken] = Metric{Unit: "J/token", Number: scaled(energy, 1 / *t.Input, "total_gpu_energy / input "+how)}
	}
	switch {
	case t.Output == nil:
		return
	case *t.Output == 0:
		r.doubt(ph, WarnNoTokens, "", "there are no output tokens: nothing is said per token")
		return
	}
	tokens := *t.Output
	perToken := ph.perOutput(energy, tokens, "total_gpu_energy / output "+how)
	m[EnergyPerOutputToken] = Metric{Unit: "J/token", Number: perToken}
	if energy.Value > 0 {
		perJoule := inverse(perToken, 1, "output "+how+" / total_gpu_energy")
		perJoule.Value = tokens / energy.Value
		m[OutputTokensPerJoule] = Metric{Unit: "tokens/J", Number: perJoule}
	}
	if t.Input != nil {
		m[EnergyPerTotalToken] = Metric{Unit: "J/token", Number: ph.perOutput(energy, *t.Input+tokens, "total_gpu_energy / all "+how)}
	}
	const kWh, million = 3.6e6, 1e6
	if price, ok := r.opt.Price.Get(); ok {
		m[CostPerMillionTokens] = Metric{Unit: "1/Mtok", Number: scaled(perToken, price/kWh*million, "energy_per_output_token * price of energy; of the GPUs alone")}
	}
	if carbon, ok := r.opt.Carbon.Get(); ok {
		m[CarbonPerMillionTokens] = Metric{Unit: "gCO2e/Mtok", Number: scaled(perToken, carbon/kWh*million, "energy_per_output_token * carbon intensity of energy; of the GPUs alone")}
	}
}

// perOutput returns an energy by a number of tokens that holds the phase's output, whose
// uncertainty, of the requests in flight at the ends, is random.
func (ph *phase) perOutput(energy *Number, tokens float64, method string) *Number {
	n := scaled(energy, 1/tokens, method)
	relative := math.Sqrt(float64(ph.outputSquare)/microtokens) / tokens
	edges, inFlight := n.Uncertainty.Random, n.Value*relative
	n.Uncertainty.Random = math.Sqrt(float64(edges*edges) + float64(inFlight*inFlight))
	return n
}

// userRatios relates the energy to users: as many as were configured, and as many as
// were there on average.
func (r *Reducer) userRatios(ph *phase, m map[string]Metric, energy *Number, seconds float64) {
	if ph.busy > 0 {
		users := float64(ph.busy) / 1e9 / seconds
		m[EnergyPerUserMeasured] = Metric{Unit: "J/user", Number: scaled(energy, 1/users, "total_gpu_energy / requests_in_flight")}
		m[WattsPerUser] = Metric{Unit: "W/user", Number: scaled(energy, 1/users/seconds, "average_gpu_power / requests_in_flight")}
	}
	switch {
	case ph.Kind == string(trace.Idle), ph.Open: // an open loop has no users
	case ph.Concurrency > 0:
		m[EnergyPerUser] = Metric{Unit: "J/user", Number: scaled(energy, 1/float64(ph.Concurrency), "total_gpu_energy / concurrency")}
	default:
		r.doubt(ph, WarnNoConcurrency, "", "no concurrency is configured: energy_per_user is not stated")
	}
}

// throughput adds rates of tokens and requests, and how many were in flight.
func (r *Reducer) throughput(ph *phase, t *Tokens, seconds float64, m map[string]Metric) {
	rate := func(tag, unit string, n float64) {
		if seconds > 0 {
			m[tag] = Metric{Unit: unit, Number: &Number{Value: n / seconds, Method: "count / duration"}}
		}
	}
	if n := ph.requests.Sent; n > 0 && r.opt.SLO.any() {
		m[GoodputRatio] = Metric{Unit: "1", Number: &Number{
			Value: float64(ph.good) / float64(n), Method: ph.goodMethod(r.opt.SLO) + " / requests sent, failed ones among them",
		}}
	}
	if ph.requests.Succeeded > 0 {
		rate(RequestThroughput, "requests/s", float64(ph.requests.Succeeded))
		if r.opt.SLO.any() {
			rate(Goodput, "requests/s", float64(ph.good))
			n := m[Goodput].Number
			n.Method = ph.goodMethod(r.opt.SLO) + " / duration"
		}
	}
	if ph.busy > 0 && seconds > 0 {
		m[RequestsInFlight] = Metric{Unit: "requests", Number: &Number{Value: float64(ph.busy) / 1e9 / seconds, Method: "time-weighted mean"}}
	}
	if t != nil && t.Output != nil {
		rate(OutputTokenThroughput, "tokens/s", *t.Output)
		if t.Input != nil {
			rate(TotalTokenThroughput, "tokens/s", *t.Input+*t.Output)
		}
	}
}
