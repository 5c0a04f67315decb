"""Load a run's directory as aiperf plot does, and say what it found.

    python3 aiperf.py DIRECTORY

Needs aiperf. It prints one JSON object, with the figures of the summary and the same
made anew by numpy of the requests.
"""

import json
import os
import sys
from pathlib import Path

sys.path = [p for p in sys.path if os.path.realpath(p or ".") != os.path.dirname(os.path.realpath(__file__))]
import numpy as np
from aiperf.plot.core.data_loader import DataLoader

run = DataLoader().load_run(Path(sys.argv[1]))
df = run.requests
profiling = df[df["benchmark_phase"].astype(str).str.contains("profiling", case=False)]
ok = profiling[profiling["error"].isna()] if "error" in df else profiling
again = {}
for tag in ("request_latency", "time_to_first_token", "inter_token_latency", "output_sequence_length"):
    if tag in ok:
        v = ok[tag].dropna().to_numpy(dtype=float)
        again[tag] = {
            "avg": v.mean(), "std": v.std(), "min": v.min(), "max": v.max(), "count": len(v), "sum": v.sum(),
            **{f"p{p}": np.percentile(v, p) for p in (1, 5, 10, 25, 50, 75, 90, 95, 99)},
        }
print(json.dumps({
    "requests": len(df), "profiling": len(profiling), "model": run.metadata.model, "concurrency": run.metadata.concurrency,
    "duration_seconds": run.metadata.duration_seconds,
    "summary": {tag: {k: v for k, v in run.aggregated[tag].items() if k != "unit"} for tag in again},
    "again": again,
}))
