"""Read a telemetry recording with pyarrow alone, and say what it holds.

    python3 read.py FILE

It knows nothing of wattrace: only that a recording is one or more Arrow IPC
streams, one after another. It prints one JSON object.
"""

import json
import sys

import pyarrow as pa
import pyarrow.compute as pc

streams, batches, schema = 0, [], None
with pa.memory_map(sys.argv[1]) as source:
    while source.tell() < source.size():
        with pa.ipc.open_stream(source) as reader:
            streams += 1
            schema = reader.schema
            batches += [b for b in reader]

table = pa.Table.from_batches(batches)
print(json.dumps({
    "rows": table.num_rows,
    "streams": streams,
    "end": json.loads(schema.metadata[b"wattrace.end"])["rows"],
    "columns": {f.name: str(f.type) for f in schema},
    "units": {f.name: f.metadata[b"unit"].decode() for f in schema if f.metadata},
    "first_unix_nanos": str(pc.min(table["time"]).value),
    "took_nanos": pc.sum(table["took_nanos"]).as_py(),
    "devices": sorted(set(table["device"].to_pylist())),
    "power_watts": pc.sum(table["power_watts"]).as_py(),
    "energy_joules": pc.max(table["energy_joules"]).as_py(),
    "nulls": table["energy_joules"].null_count,
    "statuses": sorted({s for s in table["status"].to_pylist() if s}),
}))
