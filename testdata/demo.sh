#!/usr/bin/env bash
# The whole pipeline on one machine without a GPU: make demo runs it after the
# build. Only the server and the GPUs are simulated; the HTTP, the NVML calls, the
# files and the arithmetic are what a real run uses.
set -euo pipefail
cd "$(dirname "$0")/.."

run() { printf '\n$ %s\n' "$*" >&2; "$@"; }

mkdir -p demo
rm -f demo/trace.jsonl* demo/requests.jsonl demo/power.arrows demo/report.json demo/report.html demo/truth.jsonl demo/server.url demo/nvml.state

# The stub of the NVIDIA driver's library shows the simulated GPUs' sensors.
run gcc -shared -fPIC -O2 -Wl,-soname,libnvidia-ml.so.1 -o demo/libnvidia-ml.so.1 sample/sampletest/testdata/nvml.c

run bin/convert --model demo --target vllm -o demo/trace.jsonl testdata/trtllm-bench/azure200.jsonl

bin/simulate --listen 127.0.0.1:0 --addr-file demo/server.url --model demo --gpus 4 \
	--truth demo/truth.jsonl --nvml-state demo/nvml.state &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
for _ in $(seq 100); do [ -s demo/server.url ] && break; sleep 0.1; done
url=$(cat demo/server.url)

export WATTRACE_NVML_STATE=demo/nvml.state
run bin/record -o demo/power.arrows --interval 20ms --nvml-library demo/libnvidia-ml.so.1 -- \
	bin/replay --url "$url" --concurrency 2 --warmup-requests 40 -o demo/requests.jsonl demo/trace.jsonl

kill -TERM "$server"
wait "$server" || true
trap - EXIT

run bin/reduce --truth demo/truth.jsonl --format json -o demo/report.json demo/requests.jsonl demo/power.arrows
run bin/reduce --truth demo/truth.jsonl demo/requests.jsonl demo/power.arrows
run bin/plot -o demo/report.html demo/requests.jsonl demo/power.arrows
printf '\nleft in demo/: requests.jsonl power.arrows report.json report.html truth.jsonl\n' >&2
