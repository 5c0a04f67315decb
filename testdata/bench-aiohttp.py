"""A minimal aiohttp client, as Python load generators are built: it stamps each
event of N streams and says how late, by the send times that the server gives.

usage: bench-aiohttp.py URL BODY STREAMS GAP_SECONDS
"""
import asyncio, json, sys, time

import aiohttp

url, body, streams, gap = sys.argv[1], open(sys.argv[2], "rb").read(), int(sys.argv[3]), float(sys.argv[4])
lags = []


async def one(session, delay):
    await asyncio.sleep(delay)
    stamps, sent = [], []
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as resp:
        async for line in resp.content:
            now = time.monotonic_ns()
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                stamps.append(now)
            elif "usage" in event:
                sent = event["usage"]["sent_nanos"]
    at = 0
    for stamp, d in zip(stamps, sent):
        at += d
        lags.append(stamp - at)


async def main():
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        await asyncio.gather(*(one(session, gap * i / streams) for i in range(streams)))


asyncio.run(main())
lags.sort()
json.dump({"chunks": len(lags), "p50": lags[(len(lags) - 1) // 2], "p99": lags[(len(lags) - 1) * 99 // 100]}, sys.stdout)
