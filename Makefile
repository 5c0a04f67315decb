# wattrace: make help says what there is.

MAKEFLAGS += --no-print-directory
GO ?= go
TOOLS := convert measure record reduce replay simulate
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
BENCHSTAT := $(GO) run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

# go-nvml's header marks calls as deprecated that old drivers still need.
export CGO_CFLAGS := -O2 -g -Wno-deprecated-declarations

# RACE=-race runs the tests under the race detector, which needs cgo.
RACE ?=
FUZZTIME ?= 20s
BENCHCOUNT ?= 6

.PHONY: help build test race lint layers bench bench-sql bench-replay bench-record flips kills meter attribution fidelity demo fuzz golden golden-arch schema setup interop ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## all binaries, in bin/; only record links cgo
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ $(addprefix ./cmd/,$(filter-out record,$(TOOLS)))
	CGO_ENABLED=1 $(GO) build -trimpath -o bin/ ./cmd/record

test: ## all tests (RACE=-race: under the race detector)
	$(GO) test $(RACE) ./...

race: ## all tests under the race detector, none from the cache
	$(GO) test -race -count=1 ./...

lint: ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet ./...
	$(STATICCHECK) ./...

layers: ## who may import whom
	$(GO) test -count=1 ./cmd/internal/layers

bench: ## benchmarks, BENCHCOUNT runs each, summed up by benchstat
	@mkdir -p dist
	$(GO) test -run '^$$' -bench . -count=$(BENCHCOUNT) -benchmem ./... | tee dist/bench.txt
	$(BENCHSTAT) dist/bench.txt

bench-sql: build ## reduce beside DuckDB and Polars, on the same recordings of 10^6 and 10^7 rows
	@test -x dist/sql/bin/python || python3 -m venv dist/sql
	dist/sql/bin/pip install -q 'pyarrow==21.*' numpy duckdb polars
	dist/sql/bin/python testdata/bench-sql.py bin/reduce

# Peers that cannot be had are left out, and said to be.
bench-replay: build ## replay beside vegeta, hey, wrk, aiohttp and aiperf (1 GB), a core for the client and one for the server: some 5 minutes
	@mkdir -p dist/peers
	-GOBIN="$$PWD/dist/peers" $(GO) install github.com/tsenart/vegeta/v12@latest
	-GOBIN="$$PWD/dist/peers" $(GO) install github.com/rakyll/hey@latest
	-test -x dist/peers/aiohttp/bin/python || { python3 -m venv dist/peers/aiohttp && dist/peers/aiohttp/bin/pip install -q aiohttp; } || rm -rf dist/peers/aiohttp
	-test -x dist/peers/aiperf/bin/aiperf || { python3 -m venv dist/peers/aiperf && dist/peers/aiperf/bin/pip install -q 'aiperf==0.13.*'; } || rm -rf dist/peers/aiperf
	WATTRACE_BENCH_REPLAY="$$PWD/bin/replay" WATTRACE_BENCH_PEERS="$$PWD/dist/peers" $(GO) test -count=1 -v -timeout 15m -run 'TestBenchReplay$$' ./cmd/internal/replay

bench-record: build ## record on eight simulated GPUs every 20 ms, beside a poller in Python, and an hour of rows: some 4 minutes
	@mkdir -p dist/peers
	-test -x dist/peers/pynvml/bin/python || { python3 -m venv dist/peers/pynvml && dist/peers/pynvml/bin/pip install -q nvidia-ml-py; } || rm -rf dist/peers/pynvml
	WATTRACE_BENCH_RECORD="$$PWD/bin/record" WATTRACE_BENCH_PEERS="$$PWD/dist/peers" $(GO) test -count=1 -v -timeout 15m -run 'TestBenchRecord$$' -bench AnHour ./cmd/internal/record

flips: ## 100,000 damaged bytes of a real recording, some 5 minutes
	WATTRACE_FLIPS=100000 $(GO) test -count=1 -v -timeout 30m -run 'TestFlipsOfARealRecording$$' ./formats/telemetry

kills: ## 200 recorders killed at random
	WATTRACE_KILLS=200 $(GO) test -count=1 -v -timeout 10m -run 'TestKilledAtRandom$$' ./cmd/internal/record

meter: ## what the power fields say beside a power meter (WATTRACE_METER_DATA names the recordings), and a run of aiperf (WATTRACE_AIPERF_DATA)
	$(GO) test -count=1 -v -run 'TestMeter|TestGaugesAgainstTruth' ./reduce
	$(GO) test -count=1 -v -run TestAIPerfRun ./cmd/internal/reduce

attribution: ## how close the joules of a request come to its Shapley value, on simulated servers
	$(GO) test -count=1 -v -run TestAttributionAgainstShapley ./reduce/attribute

fidelity: ## energies and their uncertainties against simulated truth, beside other tools' estimators: some minutes
	WATTRACE_FIDELITY=full $(GO) test -count=1 -v -timeout 20m -run 'TestFidelity' ./reduce

demo: build ## the whole pipeline against a simulated server and simulated GPUs
	@bash testdata/demo.sh

fuzz: ## every fuzzer for FUZZTIME
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz || true); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$p; \
		done; \
	done

golden: ## rewrite the golden files, and show what changed
	$(GO) test ./formats/report ./formats/telemetry ./replay/simserver ./cmd/internal/reduce ./cmd/internal/convert ./cmd/internal/script -update
	git diff --stat

# QEMU runs the binaries of arm64, whose compiler fuses what it may of x*y + z.
golden-arch: ## the golden reports on other processors: GOAMD64=v3, and arm64 under QEMU
	@test "$$($(GO) env GOARCH)" != amd64 || ! grep -q avx2 /proc/cpuinfo || { set -x; GOAMD64=v3 CGO_ENABLED=0 $(GO) test -count=1 -run Golden ./formats/report ./cmd/internal/reduce; }
	@command -v qemu-aarch64-static qemu-aarch64 >/dev/null || { apt-get update && apt-get install -y qemu-user-static; }
	GOARCH=arm64 CGO_ENABLED=0 $(GO) test -count=1 -run Golden -exec "$$(command -v qemu-aarch64-static || command -v qemu-aarch64)" ./formats/report ./cmd/internal/reduce

schema: ## write the JSON Schemas of report and summary anew; fails where a committed one was stale
	$(GO) test -count=1 ./formats/report ./formats/summary -run 'TestSchema$$' -update
	git diff --exit-code formats/report/report.schema.json formats/summary/summary.schema.json

# A package that cannot be had leaves its tests out.
setup: ## what the interop tests read recordings with, where it can be had
	@test -x dist/interop/bin/python3 || python3 -m venv dist/interop || echo "left out: Python's venv"
	@for p in 'pyarrow==21.*' polars duckdb; do dist/interop/bin/pip install -q --retries 1 --timeout 20 "$$p" || echo "left out: $$p"; done

interop: setup ## pyarrow, Polars and DuckDB beside reduce, on what record wrote and convert sealed
	PATH="$$PWD/dist/interop/bin:$$PATH" $(GO) test -count=1 -v -run 'Interop|Other|CounterBesideReduce' ./formats/telemetry ./cmd/internal/convert

ci: setup ## what a change must pass; ends with go test's own lines
	$(MAKE) lint
	$(MAKE) layers
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) test ./...
	$(MAKE) build
	PATH="$$PWD/dist/interop/bin:$$PATH" $(MAKE) test RACE=-race

clean: ## remove what was built
	rm -rf bin demo dist
