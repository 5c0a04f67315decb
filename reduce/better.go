package reduce

import "strings"

// Better says which way a metric is better, other things being equal.
type Better int

// The ways.
const (
	Neither Better = iota // it is a condition, a size of the load, or what the measurement says of itself
	Lower
	Higher
)

// better has every tag. What is neither is there, too, so that a new tag is not forgotten.
var better = map[string]Better{
	TotalGPUEnergy: Lower, TotalGPUEnergyWh: Lower, TotalGPUPower: Lower, AverageGPUPower: Lower, PeakGPUPower: Lower, GPUPowerOverTime: Lower,
	NetGPUEnergy: Lower, NetEnergyPerOutputToken: Lower, IdleGPUPower: Lower, IdleGPUEnergy: Lower,
	GPUEnergy: Lower, GPUPower: Lower, RoleEnergy: Lower, RolePower: Lower, RoleEnergyPerInputToken: Lower, RoleEnergyPerOutputToken: Lower,

	OutputTokensPerJoule: Higher, EnergyPerOutputToken: Lower, EnergyPerTotalToken: Lower, EnergyPerInputToken: Lower, EnergyPerRequest: Lower,
	EnergyPerUser: Lower, EnergyPerUserMeasured: Lower, WattsPerUser: Lower, EnergyDelayProduct: Lower,
	CostPerMillionTokens: Lower, CarbonPerMillionTokens: Lower, Goodput: Higher, GoodputPerWatt: Higher, GoodputRatio: Higher,
	PrefillEnergy: Lower, DecodeEnergy: Lower, PrefillEnergyPerInputToken: Lower, DecodeEnergyPerOutputToken: Lower,
	AttributedIdleEnergy: Lower, UnattributedEnergy: Lower, EnergyOfRequests: Lower, EnergyOfConversations: Lower,

	TimeToFirstToken: Lower, TimeToFirstOutputToken: Lower, TimeToSecondToken: Lower, InterTokenLatency: Lower, RequestLatency: Lower,
	TimeToFirstTokenScheduled: Lower, RequestLatencyScheduled: Lower, InterChunkLatency: Lower, MaxGap: Lower,
	InterTokenLatencyPooled: Lower, NormalizedLatency: Lower, OutputTokenThroughputPerUser: Higher,
	OutputTokenThroughput: Higher, TotalTokenThroughput: Higher, RequestThroughput: Higher,

	RequestsInFlight: Neither, SendLateness: Neither, ClientCPU: Neither, ClientPeakInFlight: Neither, ServerGenerationTokens: Neither,
	PowerLimitShare: Neither, CrossCheckEnergy: Neither, CrossCheckRatio: Neither, GPUEnergyCovered: Neither,
	GPUUtilization: Neither, MemoryUtilization: Neither, GPUTemperature: Neither, PeakGPUTemperature: Neither, SMClock: Neither, PeakSMClock: Neither, MemoryClock: Neither,
	MemoryUsed: Neither, GPUPowerLimit: Neither, ThrottledTime: Neither, TrueGPUEnergy: Neither, LastSampleGPUEnergy: Neither,
}

// BetterOf returns which way a metric is better, and whether its tag is one of a report's.
func BetterOf(tag string) (Better, bool) {
	if b, ok := better[tag]; ok {
		return b, true
	}
	switch {
	case strings.HasPrefix(tag, ThrottledTime+"_"):
		return Neither, true
	case ScopeOf(tag) != "":
		return Lower, true
	}
	return Neither, false
}

// ScopeOf returns the scope of a figure of what is no GPU, as in total_cpu_package_energy;
// "" is a figure of the GPUs, or none.
func ScopeOf(tag string) string {
	if _, ok := better[tag]; ok {
		return ""
	}
	for _, form := range [][2]string{{"total_", "_energy"}, {"average_", "_power"}} {
		if rest, ok := strings.CutPrefix(tag, form[0]); ok {
			if scope, ok := strings.CutSuffix(rest, form[1]); ok && scope != "" {
				return scope
			}
		}
	}
	return ""
}

// Tags returns the tags of all metrics that have a name of their own, in no order.
func Tags() (tags []string) {
	for tag := range better {
		tags = append(tags, tag)
	}
	return tags
}
