#!/usr/bin/env python3
"""A load for record --characterise: every GPU on and off together, 0.5 to 1.5 s each.

The lengths are random, so that the edges come at all phases of a sensor. It runs
until it is told to end. Needs PyTorch.
"""
import random
import time

import torch

size = 8192
matrices = []
for i in range(torch.cuda.device_count()):
    a = torch.randn(size, size, device=f"cuda:{i}", dtype=torch.bfloat16)
    matrices.append((a, torch.empty_like(a)))


def step():
    for a, out in matrices:
        torch.matmul(a, a, out=out)  # some milliseconds
    for a, _ in matrices:
        torch.cuda.synchronize(a.device)


while True:
    end = time.monotonic() + random.uniform(0.5, 1.5)
    while time.monotonic() < end:
        step()
    time.sleep(random.uniform(0.5, 1.5))
