// Read a telemetry recording with apache-arrow for JavaScript alone, and say
// what it holds.
//
//     node read.mjs FILE
//
// It knows nothing of wattrace: only that a recording is one or more Arrow IPC
// streams, one after another. It prints one JSON object. The package is found
// as node finds packages, and in the folders that NODE_PATH names.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { RecordBatchReader } = createRequire(import.meta.url)("apache-arrow");

let streams = 0, rows = 0, nulls = 0, schema, first, took = 0n, power = 0, energy = 0;
const devices = new Set(), statuses = new Set();

for (const reader of RecordBatchReader.readAll(readFileSync(process.argv[2]))) {
  streams++;
  reader.open({ autoDestroy: false });
  schema = reader.schema;
  for (const batch of reader) {
    const column = (name) => batch.getChild(name);
    rows += batch.numRows;
    nulls += column("energy_joules").nullCount;
    const nanos = column("time").data[0].values; // get() would give milliseconds
    for (let i = 0; i < batch.numRows; i++) {
      const at = BigInt(nanos[i]);
      first = first === undefined || at < first ? at : first;
      took += column("took_nanos").get(i);
      power += column("power_watts").get(i) ?? 0;
      energy = Math.max(energy, column("energy_joules").get(i) ?? 0);
      devices.add(column("device").get(i));
      if (column("status").get(i)) statuses.add(column("status").get(i));
    }
  }
}

console.log(JSON.stringify({
  rows, streams,
  end: JSON.parse(schema.metadata.get("wattrace.end")).rows,
  columns: Object.fromEntries(schema.fields.map((f) => [f.name, String(f.type)])),
  units: Object.fromEntries(schema.fields.filter((f) => f.metadata.size).map((f) => [f.name, f.metadata.get("unit")])),
  first_unix_nanos: String(first),
  took_nanos: Number(took),
  devices: [...devices].sort(),
  power_watts: power,
  energy_joules: energy,
  nulls,
  statuses: [...statuses].sort(),
}));
