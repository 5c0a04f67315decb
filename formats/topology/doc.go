// Package topology reads and writes which devices should be there and what they
// do, schema wattrace.topology/1, as []reduce.Member. A device that is missing
// from the telemetry is then known to be missing, and roles get figures of their
// own.
//
// The file is YAML (JSON is YAML too), read strictly: a key that is not known,
// given twice, or of the wrong type is an error with its line and column.
// testdata/example.yaml:
//
//	schema: wattrace.topology/1
//	hosts:
//	  - host: node1
//	    role: prefill
//	    worker: p0
//	    gpus: 8
//	  - host: node2
//	    role: decode
//	    worker: d0
//	    gpus: [0, 1, 2, 3]
//	  - host: node2
//	    role: decode
//	    worker: d1
//	    gpus: [4, 5, 6, 7]
//	devices:
//	  - device: GPU-9927a129-abed-4903-878c-9997bcc14af2
//	    role: agg
//	  - host: node3
//	    index: 0
//
// Keys of a host, which may come several times, each time with other GPUs:
//
//	host    its name, as the recording has it; needed
//	gpus    how many, whose indices then are 0, 1, ...; or a list of indices or
//	        of UUIDs; needed
//	role    what they do: prefill, decode, agg or another word; unknown when absent
//	worker  the server process that they belong to; unknown when absent
//
// Keys of a device, for those that no host lists:
//
//	device  its UUID, or the identity that it has in the recording
//	host    its host; any when absent
//	index   its number on the host, in the place of device
//	role, worker   as above
//
// A device that is listed twice is an error. The order of the members is that of
// the file, hosts first.
//
// History: 1 is the first.
package topology
