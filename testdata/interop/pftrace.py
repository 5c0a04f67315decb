"""Decode a trace with Perfetto's own message definitions, and say what it holds.

    python3 pftrace.py FILE

Needs the package perfetto. It knows nothing of wattrace. It prints one JSON object.
"""

import collections
import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb


def unknown(message):
    n = len(UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            n += sum(map(unknown, value)) if field.is_repeated else unknown(value)
    return n


trace = pb.Trace()
with open(sys.argv[1], "rb") as f:
    trace.ParseFromString(f.read())
tracks, open_slices, names, values, faults = {}, collections.Counter(), collections.Counter(), collections.Counter(), 0
last = {}
for p in trace.packet:
    if p.HasField("track_descriptor"):
        tracks[p.track_descriptor.uuid] = p.track_descriptor
    if not p.HasField("track_event"):
        continue
    e = p.track_event
    track = tracks.get(e.track_uuid)
    faults += track is None or p.timestamp < last.get(e.track_uuid, 0) or not p.timestamp
    last[e.track_uuid] = p.timestamp
    if e.type == e.TYPE_SLICE_BEGIN:
        open_slices[e.track_uuid] += 1
        names[e.name] += 1
    elif e.type == e.TYPE_SLICE_END:
        open_slices[e.track_uuid] -= 1
        faults += open_slices[e.track_uuid] < 0
    elif e.type == e.TYPE_COUNTER:
        faults += not track.HasField("counter")
        values[track.name] += 1
print(json.dumps({
    "packets": len(trace.packet),
    "unknown": unknown(trace),
    "faults": faults + sum(map(abs, open_slices.values())),
    "slices": names,
    "counters": values,
    "units": {t.name: t.counter.unit_name for t in tracks.values() if t.HasField("counter")},
}))
