"""What a recorder in Python costs: all GPUs one after the other, power and
energy, on ticks of the clock. Prints one JSON object.

    bench-record.py INTERVAL_SECONDS DURATION_SECONDS OUT.csv
"""

import json
import resource
import sys
import time

import pynvml

interval, duration, path = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
pynvml.nvmlInit()
handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
late, rows, missed, inside = [], 0, 0, 0.0
before = resource.getrusage(resource.RUSAGE_SELF)
start = time.monotonic()
tick = 0
with open(path, "w") as out:
    while True:
        due = start + tick * interval
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
            now = time.monotonic()
        if now - start >= duration:
            break
        late.append(now - due)
        for i, h in enumerate(handles):
            t = time.time_ns()
            a = time.monotonic()
            power = pynvml.nvmlDeviceGetPowerUsage(h)
            energy = pynvml.nvmlDeviceGetTotalEnergyConsumption(h)
            inside += time.monotonic() - a
            out.write(f"{t},{i},{power},{energy}\n")
            rows += 1
        passed = int((time.monotonic() - start) / interval) + 1
        missed += max(0, passed - tick - 1)
        tick = max(tick + 1, passed)
after = resource.getrusage(resource.RUSAGE_SELF)
late.sort()
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({
    "rows": rows, "missed": missed * len(handles), "cpu_share": cpu / duration, "inside_share": inside / duration,
    "late_p50_micros": 1e6 * late[len(late) // 2], "late_p99_micros": 1e6 * late[int(len(late) * 0.99)], "late_max_micros": 1e6 * late[-1],
}))
