// Package truth reads and writes what simulated devices really drew, schema
// wattrace.truth/1. No real device can write one: it is what estimators are
// judged against.
//
// The file is JSON Lines. testdata/example.jsonl:
//
//	{"type":"truth","schema":"wattrace.truth/1","producer":"wattrace 0.1.0","seed":1,"clock":{"host":"node1","boot_id":"...","boot_nanos":"812345678901","monotonic_nanos":"812345678901","unix_nanos":"1780000000000000000"},"devices":[{"device":"GPU-...","device_index":0,"name":"wattrace simulated H100"}]}
//	{"type":"step","device_index":0,"at_nanos":0,"power_watts":71.5,"energy_microjoules":0}
//	{"type":"step","device_index":0,"at_nanos":2000120034,"power_watts":512.25,"energy_microjoules":143008582}
//	{"type":"close","at_nanos":30000200000,"clean":true}
//
// The power of a device is constant from one of its steps to the next, so that
// its energy at any instant is exact: energy_microjoules, the total since the
// device's first step, rounded down, and power times what has passed since.
// power_watts is a whole number of microwatts. Steps of one device are in the
// order of time. A reader adds up power times time itself, in whole
// femtojoules, and refuses a file whose energy_microjoules says anything else.
//
// The clock is as in package requests, so that a truth file joins a request log
// of the same boot exactly. The last step holds until the close line, whose
// clean is false when the simulator ended by a fault. A file without a close
// line is incomplete, and each device is known only up to its last step; its
// last line may be cut. Unknown types and keys are skipped.
//
// History: 1 is the first.
package truth
