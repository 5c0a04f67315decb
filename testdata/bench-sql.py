#!/usr/bin/env python3
"""The energy of phases by SQL and by data frames, beside reduce.

usage: bench-sql.py REDUCE [ROWS]...

Writes a recording of 8 GPUs at 20 ms (power and energy counter; 65,536 rows a batch),
and has each engine give the energy of 20 windows from it: reduce with all that it
does (both passes, both methods, uncertainties), DuckDB and Polars the trapezoid of
power alone, with the ends of the windows cut linearly. Prints the wall time and the
peak memory of each as a process of its own, and by how much the sums differ.

Needs pyarrow, numpy, duckdb and polars; engines that are missing are left out.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

DEVICES, POLL, WINDOWS, BATCH = 8, 20_000_000, 20, 65_536  # POLL in nanoseconds
ANCHOR = 1_780_000_000_000_000_000


def windows(rows):
    """Names, starts and ends (nanoseconds since the anchor), off the grid."""
    last = rows // DEVICES * POLL
    step = (last - 8 * 10**9) // WINDOWS
    return [(f"w{i:02}", 4 * 10**9 + i * step + 7_000_000, 4 * 10**9 + (i + 1) * step + 7_000_000) for i in range(WINDOWS)]


def write(path, rows):
    import numpy as np
    import pyarrow as pa

    ids = [f"GPU-{i}" for i in range(DEVICES)]
    devices = [
        {"id": g, "host": "node", "index": i, "source": "nvml", "scope": "gpu", "raw_scope": 0, "name": "NVIDIA H100",
         "uuid": g, "pci_bus_id": "", "architecture": "hopper", "mig": False, "simulated": False}
        for i, g in enumerate(ids)
    ]
    clock = {"boot_nanos": "1000000000000", "monotonic_nanos": "1000000000000", "unix_nanos": str(ANCHOR)}
    meta = {
        "wattrace.schema": "wattrace.telemetry/1", "wattrace.producer": "bench-sql.py",
        "wattrace.clock": json.dumps({"host": "node", "boot_id": "b", **clock}),
        "wattrace.info": json.dumps({"driver": "570.86.15", "api": "", "interval_nanos": POLL, "slow_interval_nanos": POLL}),
        "wattrace.devices": json.dumps(devices), "wattrace.snapshot": json.dumps({"at_nanos": 0, **clock, "spread_nanos": 0}),
        "wattrace.end": json.dumps({"rows": rows, "ticks": rows // DEVICES, "missed": 0, "lateness_p50_nanos": 0, "lateness_p99_nanos": 0,
                                    "lateness_max_nanos": 0, "read_nanos": 0, "cpu_nanos": 0, "clean": True}),
    }
    text = pa.dictionary(pa.uint8(), pa.string())
    schema = pa.schema([
        pa.field("time", pa.timestamp("ns", "UTC"), False), pa.field("took_nanos", pa.int64(), False), pa.field("host", text, False),
        pa.field("device", text, False), pa.field("device_index", pa.int32(), False), pa.field("source", text, False),
        pa.field("scope", text, False), pa.field("power_watts", pa.float64()), pa.field("energy_joules", pa.float64()),
    ], metadata=meta)

    def words(index, values):
        return pa.DictionaryArray.from_arrays(pa.array(index, pa.uint8()), pa.array(values))

    with pa.OSFile(path, "wb") as f, pa.ipc.new_stream(f, schema) as out:
        for at in range(0, rows, BATCH):
            i = np.arange(at, min(at + BATCH, rows))
            device, tick = i % DEVICES, i // DEVICES
            when = tick * POLL + device * 30_000
            moved = when - when % 100_000_000  # both sensors move every 100 ms
            watts = 400 + 100 * np.sin(moved / 60e9)
            joules = np.round((400 * moved / 1e9 - 6000 * np.cos(moved / 60e9) + 6000) * 1000) / 1000
            zero = np.zeros(len(i), np.uint8)
            out.write_batch(pa.record_batch([
                pa.array(ANCHOR + when, pa.timestamp("ns", "UTC")), pa.array(np.full(len(i), 30_000)), words(zero, ["node"]),
                words(device, ids), pa.array(device, pa.int32()), words(zero, ["nvml"]), words(zero, ["gpu"]),
                pa.array(watts), pa.array(joules),
            ], schema=schema))


def by_duckdb(path, rows):
    import duckdb
    import pyarrow as pa

    stream = pa.ipc.open_stream(pa.memory_map(path))  # noqa: F841, which the query names
    db = duckdb.connect()
    db.execute("create table w (name varchar, a bigint, b bigint)")
    db.executemany("insert into w values (?, ?, ?)", windows(rows))
    # Each pair of neighbours belongs to one window, or to two at an end: few rows
    # are joined, since windows follow each other.
    return dict(db.execute(f"""
        with s as (select device, epoch_ns(time) - {ANCHOR} as t, power_watts as p from stream),
        pairs as (
            select t as t0, p as p0, lead(t) over d as t1, lead(p) over d as p1 from s
            window d as (partition by device order by t))
        select name, sum((p0 + p1) / 2 * (least(t1, b) - greatest(t0, a)) / 1e9)
        from pairs join w on t1 > a and t0 < b where t1 is not null group by name""").fetchall())


def by_polars(path, rows):
    import polars as pl

    s = pl.read_ipc_stream(path, columns=["time", "device", "power_watts"]).select(
        "device", t=pl.col("time").dt.epoch("ns") - ANCHOR, p="power_watts").sort("device", "t")
    pairs = s.select(
        t0="t", p0="p", t1=pl.col("t").shift(-1).over("device"), p1=pl.col("p").shift(-1).over("device")).drop_nulls()
    energy = {}
    for name, a, b in windows(rows):
        inside = pairs.filter((pl.col("t1") > a) & (pl.col("t0") < b))
        energy[name] = inside.select(
            (pl.col("p0") + pl.col("p1")) / 2 * (pl.col("t1").clip(upper_bound=b) - pl.col("t0").clip(lower_bound=a)) / 1e9).sum().item()
    return energy


ENGINES = {"duckdb": by_duckdb, "polars": by_polars}


def stamp(nanos):
    nanos += ANCHOR
    return f"{nanos // 10**9}.{nanos % 10**9:09}"


def measure(argv):
    """Runs a process: its output, wall seconds and peak memory in MB."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(f"{argv[0]} failed")
        out.seek(0)
        return json.load(out), seconds, usage.ru_maxrss / 1000


def compare(reduce, rows, dir):
    path = os.path.join(dir, f"{rows}.arrows")
    write(path, rows)
    argv = [reduce, "--format", "json"]
    for name, a, b in windows(rows):
        argv += ["--window", f"{name}={stamp(a)}..{stamp(b)}"]
    report, seconds, memory = measure(argv + [path])
    truth = {p["name"]: p["metrics"]["total_gpu_energy"]["value"] for p in report["phases"]}
    print(f"{rows:>11,}  {'reduce':8} {seconds:8.2f} s {memory:8.0f} MB")
    for name in ENGINES:
        try:
            __import__(name)
        except ImportError:
            print(f"{rows:>11,}  {name:8} is not installed")
            continue
        energy, seconds, memory = measure([sys.executable, __file__, "--engine", name, path, str(rows)])
        worst = max(abs(energy[w] / truth[w] - 1) for w in energy)
        print(f"{rows:>11,}  {name:8} {seconds:8.2f} s {memory:8.0f} MB   differs from reduce by up to {100 * worst:.4f} %")
    os.remove(path)


def main():
    if sys.argv[1] == "--engine":
        json.dump(ENGINES[sys.argv[2]](sys.argv[3], int(sys.argv[4])), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as dir:
        for rows in [int(float(n)) for n in sys.argv[2:]] or [10**6, 10**7]:
            compare(sys.argv[1], rows, dir)


if __name__ == "__main__":
    main()
