#!/usr/bin/env python3
"""A seeded trace for serve.py: 600 completions of 32 to 900 words in, 32 to 256 tokens out."""
import json
import random

random.seed(11)
for i in range(600):
    n = min(900, max(32, int(random.lognormvariate(5.3, 0.8))))
    m = min(256, max(32, int(random.lognormvariate(4.6, 0.6))))
    print(json.dumps({
        "model": "random-8b", "prompt": " ".join("w%d" % random.randrange(30000) for _ in range(n)), "max_tokens": m,
        "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True, "temperature": 0,
    }))
