// Package energies writes and reads the energy of single requests, schema
// wattrace.energies/1: what reduce --per-request leaves.
//
// The file is JSON Lines, UTF-8, one object per line, the key "type" first:
//
//	{"type":"energies","schema":"wattrace.energies/1","producer":"wattrace 0.1.0"}
//	{"type":"request","run":0,"seq":17,"line":18,"conversation":"a","turn":0,"phase":"profiling","outcome":"succeeded","energy_joules":41.207113,"low_joules":35.1,"high_joules":48.9,"prefill":{"energy_joules":3.2,"low_joules":1.1,"high_joules":6.4,"modelled":true},"decode":{"energy_joules":38.007113,"low_joules":31,"high_joules":45.2},"by":{"time":44.1,"tokens":40.3,"fitted":41.207113}}
//	{"type":"total","mode":"fitted","requests":200,"total_joules":11874.1,"idle_joules":2800,"requests_joules":9012.3,"unattributed_joules":61.8}
//
// # Lines
//
//	energies  the first line
//	request   a request, in the order of the logs: run counts the logs from 0,
//	          and with seq names the request; line, conversation, turn, phase and
//	          outcome are the log's. Energies are whole microjoules, written in
//	          joules: energy_joules by the mode of the total line, low_joules and
//	          high_joules as the modes and what they suppose leave it open.
//	          prefill and decode add up to energy_joules; modelled, only where it
//	          is true, says that the stage is shorter than what the sensors
//	          resolve. by holds each mode's own figure, of those there are
//	total     the last line: exactly, in microjoules,
//	          total = idle + requests + unattributed, and requests is the sum of
//	          energy_joules. A file without it was cut
//
// unknown_share, where it is there, is the share of the request's time in flight of
// which no energy is known, and its energy lacks that. doubts, where it is there,
// lists what the log did not say and was taken for none: "cached_tokens",
// "input_tokens", or "stages" for an answer that was not streamed. The bounds allow for
// cached_tokens, down to the decode alone, and for stages, down to no prefill.
//
// The energies are a split of what was measured, by package reduce/attribute, which
// says how good it is. What the sensors are wrong by is not in the bounds: all
// requests share it, and the report has it.
package energies
