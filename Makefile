# Far Labs Inference. `make demo` shows it, `make test` tests it, `make help` lists the rest.

export CGO_ENABLED ?= 0
GO      ?= go
BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/farlabs/inference/internal/version.Version=$(VERSION)
PKGS    := ./...
FUZZTIME ?= 30s
# Programs used for development, at exact versions, built into the cache.
TOOLS   := .cache/tools
STATICCHECK := $(TOOLS)/staticcheck
BENCHSTAT   := $(TOOLS)/benchstat

.DEFAULT_GOAL := build
.PHONY: help build model demo testdata test test-full client-test race fuzz check cross bench bench-gate bench-peer fmt generate clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## build start_node and farclient into bin/
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

model: ## fetch the demo model into the cache (94 MiB, once)
	@bash scripts/model.sh

demo: model build ## three nodes and a gateway on loopback answer a question
	@$(GO) run ./internal/demo -bin $(BIN) $(if $(KEEP),-keep)

testdata: ## fetch the vocabularies and templates that tests compare with
	@bash scripts/testdata.sh

test: build model testdata ## the tests: under 10 minutes on two cores
	$(GO) test -timeout 20m $(PKGS)

test-full: build model testdata ## all tests, long ones included
	FARLABS_FULL=1 $(GO) test -timeout 90m $(PKGS)

client-test: build model ## the official OpenAI clients ask a gateway over three nodes (needs pip)
	@GO='$(GO)' bash scripts/client-test.sh

race: testdata ## the tests that need no real model, under the race detector (needs cgo)
	@bash scripts/race.sh $(PKGS)

fuzz: ## every fuzz target for FUZZTIME (30 s)
	@bash scripts/fuzz.sh $(FUZZTIME)

fmt: ## format the code
	gofmt -w .

$(STATICCHECK): tools.versions
	@mkdir -p $(TOOLS)
	GOBIN=$(abspath $(TOOLS)) $(GO) install $$(grep staticcheck tools.versions)

$(BENCHSTAT): tools.versions
	@mkdir -p $(TOOLS)
	GOBIN=$(abspath $(TOOLS)) $(GO) install $$(grep benchstat tools.versions)

check: $(STATICCHECK) cross ## formatting, vet, staticcheck, generated files, other systems, licences
	@files=$$(gofmt -l .); test -z "$$files" || { echo "$$files" >&2; echo 'run: make fmt' >&2; exit 1; }
	$(GO) vet $(PKGS)
	$(GO) test -tags invariants -count 1 ./kernels/tensor ./model -short
	$(STATICCHECK) $(PKGS)
	@GO='$(GO)' bash scripts/generate.sh
	$(GO) mod verify >/dev/null
	bash scripts/licenses.sh --check

cross: ## build for macOS and Windows
	GOOS=darwin GOARCH=arm64 $(GO) build ./...
	GOOS=windows GOARCH=amd64 $(GO) build ./...

bench: $(BENCHSTAT) ## micro-benchmarks through benchstat
	$(GO) test -run '^$$' -bench . -benchtime 200ms -count 6 ./kernels/... ./pipeline/wire ./model/tokenizer ./model/sample | tee .cache/bench.txt
	$(BENCHSTAT) .cache/bench.txt

bench-gate: build model ## speed and latency rows: medians into docs/benchmarks.md, non-zero exit on a miss
	FARLABS_BIN=$(abspath $(BIN)) $(GO) test -tags bench -run '^TestGates$$' -count 1 -timeout 30m -v ./internal/e2e -report $(abspath docs/benchmarks.md)

bench-peer: build model ## us beside llama.cpp, built from source (minutes); ROWS=decode,http and QUICK=1 for less
	@bash scripts/llamacpp.sh
	$(GO) run ./internal/bench -bin $(BIN) -llamacpp "$$(bash scripts/llamacpp.sh --path)" -report docs/benchmarks.md $(if $(ROWS),-rows $(ROWS)) $(if $(QUICK),-quick)

generate: ## make generated files again
	$(GO) generate $(PKGS)

clean: ## remove what was built
	rm -rf $(BIN) .cache
