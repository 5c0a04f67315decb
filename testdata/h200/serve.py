#!/usr/bin/env python3
"""An OpenAI-compatible server that does an 8B model's work on one GPU.

    serve.py --port 8000

The weights are random and so are the tokens, but the work is a language
model's: 32 layers of grouped-query attention and gated feed-forward in
bfloat16, one prefill a request, continuous batching, a KV cache of 64 slots.
It stands in for a serving engine where none can be installed, so that real
requests meet real power. A prompt is one token for each word; ignore_eos is
always on. /v1/completions and /v1/chat/completions, streaming or not. Needs
PyTorch and aiohttp.
"""
import argparse
import asyncio
import json
import queue
import threading
import time

import torch
import torch.nn.functional as F
from aiohttp import web

SLOTS, LENGTH = 64, 1280
DIM, LAYERS, HEADS, KV, FFN, VOCAB = 4096, 32, 32, 8, 14336, 32000
HEAD = DIM // HEADS


class Model:
    def __init__(self):
        def w(*shape):
            return torch.randn(*shape, device="cuda", dtype=torch.bfloat16) * shape[0] ** -0.5
        self.embedding = w(VOCAB, DIM)
        self.layers = [(w(DIM, (HEADS + 2 * KV) * HEAD), w(DIM, DIM), w(DIM, 2 * FFN), w(FFN, DIM)) for _ in range(LAYERS)]
        self.out = w(DIM, VOCAB)
        self.keys = torch.zeros(LAYERS, SLOTS, KV, LENGTH, HEAD, device="cuda", dtype=torch.bfloat16)
        self.values = torch.zeros_like(self.keys)
        self.norm = torch.ones(DIM, device="cuda", dtype=torch.bfloat16)

    def feed(self, x, l):
        up, gate = (F.rms_norm(x, (DIM,), self.norm) @ l[2]).chunk(2, -1)
        return x + (F.silu(gate) * up) @ l[3]

    @torch.inference_mode()
    def prefill(self, slot, tokens):
        x = self.embedding[tokens]
        n = len(tokens)
        for i, l in enumerate(self.layers):
            q, k, v = (F.rms_norm(x, (DIM,), self.norm) @ l[0]).split([HEADS * HEAD, KV * HEAD, KV * HEAD], -1)
            q = q.view(n, HEADS, HEAD).transpose(0, 1)
            k = k.view(n, KV, HEAD).transpose(0, 1)
            v = v.view(n, KV, HEAD).transpose(0, 1)
            self.keys[i, slot, :, :n] = k
            self.values[i, slot, :, :n] = v
            o = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=True)[0]
            x = self.feed(x + o.transpose(0, 1).reshape(n, DIM) @ l[1], l)
        return int((x[-1:] @ self.out).argmax())

    @torch.inference_mode()
    def decode(self, slots, tokens, positions):
        b, n = len(slots), max(positions) + 1
        s = torch.tensor(slots, device="cuda")
        p = torch.tensor(positions, device="cuda")
        x = self.embedding[torch.tensor(tokens, device="cuda")]
        mask = (torch.arange(n, device="cuda")[None] <= p[:, None])[:, None, None]
        for i, l in enumerate(self.layers):
            q, k, v = (F.rms_norm(x, (DIM,), self.norm) @ l[0]).split([HEADS * HEAD, KV * HEAD, KV * HEAD], -1)
            self.keys[i, s, :, p] = k.view(b, KV, HEAD)
            self.values[i, s, :, p] = v.view(b, KV, HEAD)
            o = F.scaled_dot_product_attention(q.view(b, HEADS, 1, HEAD), self.keys[i, s, :, :n], self.values[i, s, :, :n],
                                               attn_mask=mask, enable_gqa=True)
            x = self.feed(x + o.reshape(b, DIM) @ l[1], l)
        return (x @ self.out).argmax(-1).tolist()


class Request:
    def __init__(self, loop, tokens, limit):
        self.loop, self.tokens, self.limit, self.queue, self.gone = loop, tokens, limit, asyncio.Queue(), False

    def tell(self, what):
        self.loop.call_soon_threadsafe(self.queue.put_nowait, what)


def engine(model, waiting):
    free, running = list(range(SLOTS)), {}  # slot: [request, last token, position, made]
    while True:
        while free and (not running or not waiting.empty()):
            r = waiting.get()
            if r.gone:
                continue
            slot = free.pop()
            t = model.prefill(slot, torch.tensor([t % VOCAB for t in r.tokens], device="cuda"))
            running[slot] = [r, t, len(r.tokens), 1]
            r.tell(t)
            break  # one prefill between two decode steps
        for slot, (r, _, _, made) in list(running.items()):
            if made >= r.limit or r.gone:
                r.tell(None)
                free.append(slot)
                del running[slot]
        if not running:
            continue
        slots = list(running)
        next_tokens = model.decode(slots, [running[s][1] for s in slots], [running[s][2] for s in slots])
        for s, t in zip(slots, next_tokens):
            state = running[s]
            state[1], state[2], state[3] = t, state[2] + 1, state[3] + 1
            state[0].tell(t)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=8000)
    port = arguments.parse_args().port
    model, waiting = Model(), queue.Queue()
    model.prefill(0, torch.arange(64, device="cuda"))
    model.decode([0], [1], [64])
    threading.Thread(target=engine, args=(model, waiting), daemon=True).start()
    number = iter(range(1 << 60))

    async def complete(http):
        body = await http.json()
        chat = "messages" in body
        prompt = body["messages"] if chat else body["prompt"]
        if chat:
            prompt = " ".join(m["content"] for m in prompt)
        tokens = [hash(w) for w in prompt.split()] if isinstance(prompt, str) else [int(t) for t in prompt]
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        if not tokens or len(tokens) + limit > LENGTH:
            return web.json_response({"error": {"message": "too long", "type": "BadRequestError", "code": 400}}, status=400)
        r = Request(asyncio.get_running_loop(), tokens, limit)
        waiting.put(r)
        head = {"id": "cmpl-%d" % next(number), "created": int(time.time()), "model": body.get("model", "random-8b"),
                "object": "chat.completion.chunk" if chat else "text_completion"}
        usage = {"prompt_tokens": len(tokens), "completion_tokens": limit, "total_tokens": len(tokens) + limit}

        def choice(text, finish=None):
            return {"index": 0, "finish_reason": finish, **({"delta": {"content": text}} if chat else {"text": text})}
        try:
            if not body.get("stream"):
                n = 0
                while await r.queue.get() is not None:
                    n += 1
                text = " tok" * n
                c = {"index": 0, "finish_reason": "length", **({"message": {"role": "assistant", "content": text}} if chat else {"text": text})}
                return web.json_response({**head, "object": head["object"].replace(".chunk", ""), "choices": [c], "usage": usage})
            out = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await out.prepare(http)

            async def send(o):
                await out.write(b"data: " + json.dumps(o).encode() + b"\n\n")
            while (t := await r.queue.get()) is not None:
                await send({**head, "choices": [choice(" t%d" % t)]})
            await send({**head, "choices": [choice("", "length")]})
            if (body.get("stream_options") or {}).get("include_usage"):
                await send({**head, "choices": [], "usage": usage})
            await out.write(b"data: [DONE]\n\n")
            return out
        finally:
            r.gone = True

    async def health(_):
        return web.Response()

    async def models(_):
        return web.json_response({"object": "list", "data": [{"id": "random-8b", "object": "model"}]})
    app = web.Application(client_max_size=1 << 26)
    app.add_routes([web.post("/v1/completions", complete), web.post("/v1/chat/completions", complete),
                    web.get("/health", health), web.get("/v1/models", models)])
    web.run_app(app, host="127.0.0.1", port=port, print=None)


main()
