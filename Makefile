# wattrace: make help says what there is.

MAKEFLAGS += --no-print-directory
GO ?= go
TOOLS := compare convert measure monitor plot record reduce replay simulate
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
BENCHSTAT := $(GO) run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

# go-nvml's header marks calls as deprecated that old drivers still need.
export CGO_CFLAGS := -O2 -g -Wno-deprecated-declarations

# RACE=-race runs the tests under the race detector, which needs cgo.
RACE ?=
FUZZTIME ?= 20s
BENCHCOUNT ?= 6

.PHONY: help build test race lint layers bench benchstat screenshots bench-sql bench-replay bench-record flips kills meter attribution fidelity demo fuzz golden golden-arch schema setup interop man completions install uninstall dist deb ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## all binaries, in bin/; only record links cgo
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ $(addprefix ./cmd/,$(filter-out record,$(TOOLS)))
	CGO_ENABLED=1 $(GO) build -trimpath -o bin/ ./cmd/record

test: ## all tests (RACE=-race: under the race detector)
	$(GO) test $(RACE) -timeout 20m ./...

race: ## all tests under the race detector, none from the cache
	$(GO) test -race -count=1 -timeout 20m ./...

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

meter: ## what the power fields say beside a power meter (WATTRACE_METER_DATA names the recordings), and a run of aiperf (WATTRACE_AIPERF_DATA); WATTRACE_DATA names a folder of both and of traces, all of which convert and reduce
	$(GO) test -count=1 -v -run 'TestMeter|TestGaugesAgainstTruth' ./reduce
	$(GO) test -count=1 -v -run TestAIPerfRun ./cmd/internal/reduce
	$(GO) test -count=1 -v -run TestRealData ./cmd/internal/script

attribution: ## how close the joules of a request come to its Shapley value, on simulated servers
	$(GO) test -count=1 -v -run TestAttributionAgainstShapley ./reduce/attribute

fidelity: ## energies and their uncertainties against simulated truth, beside other tools' estimators: some minutes
	WATTRACE_FIDELITY=full $(GO) test -count=1 -v -timeout 20m -run 'TestFidelity' ./reduce

benchstat: ## compare beside benchstat on the same numbers, and 50,000 generated comparisons: false positives, power (some minutes)
	WATTRACE_BENCHSTAT="$(BENCHSTAT)" $(GO) test -count=1 -v -run TestBesideBenchstat ./reduce/compare
	WATTRACE_TRIALS=full $(GO) test -count=1 -v -timeout 90m -run 'TestFalsePositives|TestPower' ./reduce/compare

demo: build ## the whole pipeline against a simulated server and simulated GPUs
	@bash testdata/demo.sh

fuzz: ## every fuzzer for FUZZTIME
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz || true); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$p; \
		done; \
	done

golden: ## rewrite the golden files, and show what changed
	$(GO) test ./formats/comparison ./formats/report ./formats/telemetry ./replay/simserver ./cmd/internal/reduce ./cmd/internal/convert ./cmd/internal/monitor ./cmd/internal/script -update
	git diff --stat

# QEMU runs the binaries of arm64, whose compiler fuses what it may of x*y + z.
golden-arch: ## the golden reports on other processors: GOAMD64=v3, and arm64 under QEMU
	@test "$$($(GO) env GOARCH)" != amd64 || ! grep -q avx2 /proc/cpuinfo || { set -x; GOAMD64=v3 CGO_ENABLED=0 $(GO) test -count=1 -run Golden ./formats/report ./formats/comparison ./cmd/internal/reduce; }
	@command -v qemu-aarch64-static qemu-aarch64 >/dev/null || { apt-get update && apt-get install -y qemu-user-static; }
	GOARCH=arm64 CGO_ENABLED=0 $(GO) test -count=1 -run Golden -exec "$$(command -v qemu-aarch64-static || command -v qemu-aarch64)" ./formats/report ./formats/comparison ./cmd/internal/reduce

schema: ## write the JSON Schemas of report, comparison and summary anew; fails where a committed one was stale
	$(GO) test -count=1 ./formats/report ./formats/comparison ./formats/summary -run 'TestSchema$$' -update
	git diff --exit-code formats/report/report.schema.json formats/comparison/comparison.schema.json formats/summary/summary.schema.json

screenshots: build ## the pages of README, in testdata/screenshots (needs Chromium: make setup)
	@mkdir -p testdata/screenshots
	WATTRACE_SCREENSHOTS="$$PWD/testdata/screenshots" $(GO) test -count=1 -v -timeout 10m -run 'TestScreenshots$$' ./cmd/internal/plot

# A package that cannot be had leaves its tests out.
setup: ## what the interop tests read recordings with, and Chromium for plot's pages, where it can be had
	@command -v chromium chromium-browser google-chrome >/dev/null || { apt-get install -y -q chromium || { apt-get update -q && apt-get install -y -q chromium; }; } >/dev/null 2>&1 || echo "left out: chromium"
	@test -x dist/interop/bin/python3 || python3 -m venv dist/interop || echo "left out: Python's venv"
	@for p in 'pyarrow==21.*' polars duckdb perfetto 'tokenizers==0.23.*'; do dist/interop/bin/pip install -q --retries 1 --timeout 20 "$$p" || echo "left out: $$p"; done

interop: setup build ## pyarrow, Polars and DuckDB beside reduce, Perfetto's definitions, tokenizers beside ours, on what record and convert wrote; aiperf (1 GB): its plots, and against simulate beside reduce; vLLM's benchmark, where vllm is installed: some 8 minutes
	@mkdir -p dist/peers
	-test -x dist/peers/aiperf/bin/aiperf || { python3 -m venv dist/peers/aiperf && dist/peers/aiperf/bin/pip install -q 'aiperf==0.13.*'; } || rm -rf dist/peers/aiperf
	PATH="$$PWD/dist/interop/bin:$$PATH" $(GO) test -count=1 -v -run 'Interop|Other|CounterBesideReduce' ./formats/telemetry ./formats/tokenizer ./cmd/internal/convert
	@test ! -x dist/peers/aiperf/bin/aiperf || PATH="$$PWD/dist/peers/aiperf/bin:$$PATH" $(GO) test -count=1 -v -run InteropAIPerf ./cmd/internal/convert
	WATTRACE_VLLM="$$(command -v vllm)" WATTRACE_AIPERF="$$PWD/dist/peers/aiperf/bin/aiperf" WATTRACE_BIN="$$PWD/bin" $(GO) test -count=1 -v -timeout 15m -run 'TestInterop' ./cmd/internal/reduce

# What is otherwise without cgo: who calls NVML, and what runs it. All else has no C, and is tested with it.
WITHOUT_CGO := ./sample/... ./cmd/internal/record ./cmd/internal/monitor ./cmd/internal/measure ./cmd/internal/script

ci: setup ## what a change must pass; ends with go test's own lines
	$(MAKE) lint
	$(MAKE) layers
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) test $(WITHOUT_CGO)
	$(MAKE) build
	PATH="$$PWD/dist/interop/bin:$$PATH" $(MAKE) test RACE=-race

# What a tool says of itself is where its manual page and completions come from.
VERSION = $(shell sed -n 's/^const Version = "\(.*\)"/\1/p' cmd/internal/cli/doc.go)
DATE = $(shell git log -1 --format=%cs 2>/dev/null)

man completions: build ## manual pages and completions (bash, zsh, fish), in dist/share
	$(GO) run ./cmd/internal/pages -bin bin -o dist/share -date "$(DATE)" $(TOOLS)

# The short names lie in a directory of their own, since convert, compare and plot are others' programs too.
PREFIX ?= /usr/local
LIBDIR = $(DESTDIR)$(PREFIX)/lib/wattrace/bin
SHARE = $(DESTDIR)$(PREFIX)/share
COMPLETIONS = $(foreach t,$(TOOLS),$(SHARE)/bash-completion/completions/wattrace-$t $(SHARE)/zsh/site-functions/_wattrace-$t $(SHARE)/fish/vendor_completions.d/wattrace-$t.fish)

install: man ## into DESTDIR and PREFIX: lib/wattrace/bin/TOOL, bin/wattrace-TOOL, manual pages, completions
	install -d $(LIBDIR) $(DESTDIR)$(PREFIX)/bin $(SHARE)
	install $(addprefix bin/,$(TOOLS)) $(LIBDIR)
	for t in $(TOOLS); do ln -sf ../lib/wattrace/bin/$$t $(DESTDIR)$(PREFIX)/bin/wattrace-$$t; done
	cp -R dist/share/. $(SHARE)

uninstall: ## remove what install put there
	rm -f $(foreach t,$(TOOLS),$(LIBDIR)/$t $(DESTDIR)$(PREFIX)/bin/wattrace-$t $(SHARE)/man/man1/wattrace-$t.1) $(COMPLETIONS)
	-rmdir $(LIBDIR) $(DESTDIR)$(PREFIX)/lib/wattrace

# All but record are static. record needs the glibc that it was linked with, or a newer one;
# OLDEST is what is promised, and checked.
OLDEST := 2.34
CC_amd64 ?= gcc
CC_arm64 ?= aarch64-linux-gnu-gcc
DIST = wattrace-$(VERSION)-linux-$*
QEMU = $(shell command -v qemu-aarch64-static || command -v qemu-aarch64)

dist: dist-amd64 dist-arm64 ## archives of the binaries for linux/amd64 and linux/arm64, in dist (the second needs gcc-aarch64-linux-gnu and qemu-user-static)

dist-%: man
	@rm -rf dist/$(DIST); mkdir -p dist/$(DIST)/bin
	CGO_ENABLED=0 GOOS=linux GOARCH=$* $(GO) build -trimpath -ldflags=-s -o dist/$(DIST)/bin/ $(addprefix ./cmd/,$(filter-out record,$(TOOLS)))
	CGO_ENABLED=1 GOOS=linux GOARCH=$* CC="$(CC_$*)" $(GO) build -trimpath -ldflags=-s -o dist/$(DIST)/bin/ ./cmd/record
	@newest=$$(readelf -V dist/$(DIST)/bin/record | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1); \
	echo "record for $* needs $$newest"; \
	test "$$(printf '%s\n' GLIBC_$(OLDEST) $$newest | sort -V | tail -1)" = GLIBC_$(OLDEST) || { echo "more than GLIBC_$(OLDEST)"; exit 1; }
	@for t in $(TOOLS); do case $*$$(uname -m) in \
		amd64x86_64|arm64aarch64) dist/$(DIST)/bin/$$t --version ;; \
		arm64*) $(QEMU) -L /usr/aarch64-linux-gnu dist/$(DIST)/bin/$$t --version ;; \
	esac || exit 1; done
	@cp -R dist/share README.md CHANGELOG.md LICENSE cmd/record/record.service dist/$(DIST)
	tar -C dist --sort=name --owner=0 --group=0 --numeric-owner -czf dist/$(DIST).tar.gz $(DIST)

# The package that the commands of Debian make of it; DEBARCH=arm64 of the other build.
DEBARCH ?= $(shell dpkg --print-architecture)
deb: ## a Debian package, in dist
	$(MAKE) dist-$(DEBARCH)
	@bash testdata/deb.sh $(VERSION) $(DEBARCH) $(OLDEST) $(TOOLS)

clean: ## remove what was built
	rm -rf bin demo dist
