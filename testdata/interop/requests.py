"""Read a table of requests with pyarrow, Polars or DuckDB, and say what it holds.

    python3 requests.py ENGINE FILE

It knows nothing of wattrace but the names of columns. It prints one JSON object.
"""

import json
import sys

engine, path = sys.argv[1:]
if engine == "pyarrow":
    import pyarrow.compute as pc
    import pyarrow.feather
    import pyarrow.parquet

    t = pyarrow.parquet.read_table(path) if path.endswith(".parquet") else pyarrow.feather.read_table(path)
    out = {
        "rows": t.num_rows,
        "output_tokens": pc.sum(t["output_tokens"]).as_py(),
        "ttft_nanos": pc.sum(pc.subtract(t["first_token_nanos"], t["sent_nanos"])).as_py(),
        "events": pc.sum(pc.list_value_length(t["chunk_nanos"])).as_py(),
        "last_event_nanos": pc.max(pc.list_flatten(t["chunk_nanos"])).as_py(),
        "first_unix_nanos": pc.min(t["time"]).value,
        "keys": sorted(k.decode() for k in t.schema.metadata),
    }
elif engine == "polars":
    import polars as pl

    t = pl.read_parquet(path) if path.endswith(".parquet") else pl.read_ipc(path)
    out = {
        "rows": t.height,
        "output_tokens": t["output_tokens"].sum(),
        "ttft_nanos": (t["first_token_nanos"] - t["sent_nanos"]).sum(),
        "events": t["chunk_nanos"].list.len().sum(),
        "last_event_nanos": t["chunk_nanos"].explode().max(),
        "first_unix_nanos": t["time"].dt.epoch("ns").min(),
    }
else:
    import duckdb

    source = f"'{path}'"
    if not path.endswith(".parquet"):
        import pyarrow.feather

        table = pyarrow.feather.read_table(path)
        duckdb.register("table", table)
        source = '"table"'
    row = duckdb.sql(f"""
        select count(*), sum(output_tokens), sum(first_token_nanos - sent_nanos), sum(len(chunk_nanos)),
               max(list_max(chunk_nanos)), epoch_ns(min(time)) from {source}""").fetchall()[0]
    names = ["rows", "output_tokens", "ttft_nanos", "events", "last_event_nanos", "first_unix_nanos"]
    out = {k: int(v) for k, v in zip(names, row)}
print(json.dumps(out))
