#!/usr/bin/env bash
# What made the recordings of this directory, on a machine with one GPU:
#
#	record.sh BIN OUT [quick]
#
# BIN holds record, replay and reduce; the recordings go to OUT.
set -uo pipefail
bin=$(realpath "$1") out=$(realpath "$2") quick=${3:-}
cd "$(dirname "$0")"
scale=1 poll=35 plan=plan.yaml
[ -n "$quick" ] && scale=0.12 poll=3
say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }

say fields
nvidia-smi -q >"$out/nvidia-smi-q.txt"
python3 survey.py fields >"$out/fields.json" || say "survey failed"
"$bin/record" --list >"$out/list.txt" 2>&1 || say "list failed"
cat /sys/devices/system/clocksource/clocksource0/current_clocksource >"$out/clocksource.txt"

say load
for ms in 20 50 100; do
	"$bin/record" --interval ${ms}ms --for $(python3 -c "print(int(113*$scale+14))")s -o "$out/load-${ms}ms.arrows.zst" --force 2>"$out/load-${ms}ms.log" &
done
"$bin/record" --interval 10ms -o "$out/load-10ms.arrows.zst" --force -- python3 load.py --scale $scale >"$out/load-events.jsonl" 2>"$out/load-10ms.log"
wait

say survey
nvidia-smi --query-gpu=timestamp,index,uuid,name,power.draw,power.draw.average,power.draw.instant,clocks.sm,utilization.gpu,temperature.gpu \
	--format=csv -lms 50 >"$out/smi.csv" 2>"$out/smi.log" &
smi=$!
python3 load.py --scale "$(python3 -c "print(0.36*$scale)")" >"$out/poll-events.jsonl" 2>>"$out/load-10ms.log" &
load=$!
python3 survey.py ring $poll >"$out/ring.csv" &
ring=$!
python3 survey.py poll $poll >"$out/poll.csv"
wait $load $ring
kill $smi

say serve
python3 trace.py >/tmp/trace.jsonl
python3 serve.py --port 8000 >"$out/serve.log" 2>&1 &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 300); do python3 -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8000/health")' 2>/dev/null && break; sleep 0.2; done
say served
"$bin/record" --interval 50ms -o "$out/serve-50ms.arrows.zst" --force -- \
	"$bin/replay" --url http://127.0.0.1:8000 --phases $plan -o "$out/serve-requests.jsonl.zst" --force /tmp/trace.jsonl 2>"$out/serve.record.log"
say reduce
"$bin/reduce" "$out/serve-requests.jsonl.zst" "$out/serve-50ms.arrows.zst" >"$out/serve-report.txt" 2>&1
"$bin/reduce" "$out/load-20ms.arrows.zst" >"$out/load-report.txt" 2>&1
cat "$out/load-10ms.log" "$out"/load-*ms.log "$out/serve.record.log" "$out/serve-report.txt" "$out/load-report.txt" "$out/list.txt"
tail -5 "$out/serve.log"; head -3 "$out/load-events.jsonl"; head -3 "$out/poll.csv"; wc "$out"/*
say done
