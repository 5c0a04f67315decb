"""Read a recording, or what convert made of it, with one engine, and say what it holds.

    python3 energy.py pyarrow|polars|duckdb FILE

FILE is .arrows (what record writes), .arrow (convert --to arrow) or .parquet. It knows
nothing of wattrace but the names of the columns. It prints one JSON object: rows, nulls
by column, the counter's last minus first and the trapezoid of power by device, the
largest bit mask, and from pyarrow also the units and the keys of the metadata.
"""

import json
import sys

engine, path = sys.argv[1:]
COLUMNS = ("power_watts", "energy_joules", "status")


def arrow_table():
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.endswith(".parquet"):
        return pq.read_table(path)
    if path.endswith(".arrow"):
        with pa.memory_map(path) as source:
            return pa.ipc.open_file(source).read_all()
    streams = []
    with pa.memory_map(path) as source:
        while source.tell() < source.size():
            with pa.ipc.open_stream(source) as reader:
                streams.append(reader.read_all())
    table = pa.concat_tables(streams, promote_options="default")
    return table.replace_schema_metadata(streams[-1].schema.metadata)


def by_pyarrow():
    t = arrow_table()
    readings = {}
    columns = t["device"], t["time"].cast("int64"), t["power_watts"], t["energy_joules"]
    for d, at, w, j in zip(*(c.to_pylist() for c in columns)):
        readings.setdefault(d, []).append((at, w, j))
    out = {
        "rows": t.num_rows, "nulls": {c: t[c].null_count for c in COLUMNS}, "joules": {}, "trapezoid": {},
        "mask": str(max((m for m in t["clock_event_reasons"].to_pylist() if m is not None), default=0)),
        "units": {f.name: f.metadata[b"unit"].decode() for f in t.schema if f.metadata and b"unit" in f.metadata},
        "keys": sorted(k.decode() for k in t.schema.metadata),
    }
    for d, rows in readings.items():
        rows.sort()
        counter = [j for _, _, j in rows if j is not None]
        power = [(at, w) for at, w, _ in rows if w is not None]
        if counter:
            out["joules"][d] = counter[-1] - counter[0]
        if power:
            out["trapezoid"][d] = sum((b[1] + a[1]) / 2 * (b[0] - a[0]) / 1e9 for a, b in zip(power, power[1:]))
    return out


def by_polars():
    import polars as pl

    read = {"arrows": pl.read_ipc_stream, "arrow": pl.read_ipc, "parquet": pl.read_parquet}
    df = read[path.rsplit(".", 1)[1]](path).with_columns(pl.col("device").cast(pl.String)).sort("time")
    counter = df.drop_nulls("energy_joules").group_by("device").agg(j=pl.col("energy_joules").last() - pl.col("energy_joules").first())
    pairs = df.drop_nulls("power_watts").select(
        "device", s=pl.col("time").diff().over("device").dt.total_nanoseconds() / 1e9,
        w=(pl.col("power_watts") + pl.col("power_watts").shift(1).over("device")) / 2)
    power = pairs.group_by("device").agg(j=(pl.col("s") * pl.col("w")).sum())
    return {
        "rows": df.height, "nulls": {c: df[c].null_count() for c in COLUMNS},
        "joules": dict(counter.iter_rows()), "trapezoid": dict(power.iter_rows()),
        "mask": str(df["clock_event_reasons"].max() or 0),
    }


def by_duckdb():
    import duckdb

    db = duckdb.connect()
    if path.endswith(".parquet"):
        db.execute(f"create view t as select * from '{path}'")
    else:  # DuckDB itself reads Arrow by an extension only
        db.register("t", arrow_table())

    def one(expression):
        return db.execute(f"select {expression} from t").fetchall()[0][0]

    joules = db.execute("""
        select device::varchar, last(energy_joules order by time) - first(energy_joules order by time)
        from t where energy_joules is not null group by device""").fetchall()
    trapezoid = db.execute("""
        with pairs as (
            select device::varchar as device, power_watts as w, epoch_ns(time) as ns,
                lag(power_watts) over d as w0, lag(epoch_ns(time)) over d as ns0
            from t where power_watts is not null window d as (partition by device order by time))
        select device, coalesce(sum((w + w0) / 2 * (ns - ns0) / 1e9), 0) from pairs group by device""").fetchall()
    return {
        "rows": one("count(*)"), "nulls": {c: one(f"count(*) - count({c})") for c in COLUMNS},
        "joules": dict(joules), "trapezoid": dict(trapezoid), "mask": str(one("coalesce(max(clock_event_reasons), 0)")),
    }


print(json.dumps({"pyarrow": by_pyarrow, "polars": by_polars, "duckdb": by_duckdb}[engine]()))
