#!/usr/bin/env python3
"""A load of known shape for one GPU, its switches logged on three clocks.

    load.py [--scale S] > events.jsonl

Every line is one switch: {"part", "state": "on"|"off", "boot_nanos",
"mono_nanos", "wall_nanos"}. "on" is stamped before the first kernel is
launched, "off" after the last one has ended (device synchronised), so the
work lies between the two. --scale shortens every part. Needs PyTorch.
"""
import argparse
import json
import random
import sys
import time

import torch

arguments = argparse.ArgumentParser()
arguments.add_argument("--scale", type=float, default=1.0)
scale = arguments.parse_args().scale

gpu = torch.device("cuda")
torch.manual_seed(1)
a = torch.randn(8192, 8192, device=gpu, dtype=torch.bfloat16)
b = torch.randn(8192, 8192, device=gpu, dtype=torch.bfloat16)
c = torch.empty_like(a)
weights = torch.randn(8, 16384, 16384, device=gpu, dtype=torch.bfloat16)  # 4 GiB, many times the L2
x = torch.randn(16384, 16, device=gpu, dtype=torch.bfloat16)
y = torch.empty(16384, 16, device=gpu, dtype=torch.bfloat16)


def event(part, state):
    print(json.dumps({
        "part": part, "state": state,
        "boot_nanos": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "mono_nanos": time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        "wall_nanos": time.time_ns(),
    }), flush=True)


def product():
    torch.matmul(a, b, out=c)  # about 1.4 ms, bound by the matrix units
    torch.cuda.synchronize()


def sweep():
    for w in weights:  # about 0.13 ms each, bound by memory: as decoding is
        torch.matmul(w, x, out=y)
    torch.cuda.synchronize()


def until(end, work):
    while time.monotonic() < end:
        work()


def on(part, seconds, work=product):
    event(part, "on")
    until(time.monotonic() + seconds, work)
    event(part, "off")


def square(part, period, seconds):
    start = time.monotonic()
    k = 0
    while k * period < seconds:
        event(part, "on")
        until(start + (k + 0.5) * period, product)
        event(part, "off")
        k += 1
        time.sleep(max(0, start + k * period - time.monotonic()))


product()
sweep()
event("rest", "off")
time.sleep(12 * scale)
on("constant", 12 * scale)
time.sleep(6 * scale)
square("square2s", 2.0, 12 * scale)
square("square1s", 1.0, 8 * scale)
random.seed(7)
end = time.monotonic() + 16 * scale
while time.monotonic() < end:
    on("random", random.uniform(0.08, 0.9))
    time.sleep(random.uniform(0.08, 0.9))
square("square100ms", 0.1, 8 * scale)
time.sleep(3 * scale)
square("square20ms", 0.02, 6 * scale)
time.sleep(3 * scale)
on("decode", 8 * scale, sweep)
time.sleep(10 * scale)
event("end", "off")
print("load: done", file=sys.stderr)
