# `make help` lists what there is. demo and test need Go and make, nothing else.
GO       ?= go
BIN      := bin/edgeagent
VERSION  ?= $(shell cat VERSION)
COMMIT   ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -buildid= -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)"
LINT     := bin/tools/golangci-lint
LINT_VER := v2.15.0
ARCHES   := arm64 armv7 amd64

.PHONY: help demo build test race e2e e2e-full powercut bench lint size release clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## build the agent into bin/
	$(BUILD) -o $(BIN) ./cmd/edgeagent

demo: build ## build, start the simulated plant and the agent, show the page's URL
	$(BIN) demo -c config.toml

test: ## unit and package tests; nothing but Go is needed
	$(GO) test -timeout 20m ./...
	$(GO) test -tags failpoints -run 'Failpoint|OneErrorMore' ./queue

race: ## the same under the race detector (needs a C compiler)
	GORACE=atexit_sleep_ms=0 EDGEAGENT_DAMAGE=15 CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...

e2e: build ## the built binary against real peers, power cuts and a dropped VPN (root, Debian; installs them)
	e2e/setup.sh
	cd e2e && $(GO) test -count=1 -parallel 4 -timeout 40m ./...

e2e-full: build ## the same with the full numbers: 100 kills, five idle minutes, a million values, 200 episodes
	CGO_ENABLED=1 EDGEAGENT_EPISODES=200 EDGEAGENT_ORACLE_VALUES=1000000 $(GO) test -race -count=1 -timeout 30m ./plc/modbus ./plc/opcua
	e2e/setup.sh
	cd e2e && E2E_FULL=1 $(GO) test -count=1 -timeout 85m -v ./...

powercut: build ## cut the power of an arm64 machine in qemu 24 times, and catch the mutants (root, Debian; installs qemu and a kernel)
	e2e/qemu/setup.sh
	cd e2e && REQUIRE_RIGS=1 $(GO) test -tags qemu -run OfAMachine -count=1 -timeout 40m -v .

bench: ## measure against peers and the disk; medians of three, as in docs/performance.md
	@MODBUS_BENCH_C_PEERS=$(CURDIR)/e2e/out \
	$(GO) test -p 1 -run '^$$' -bench . -benchtime 2s -count 3 ./plc ./plc/modbus ./plc/opcua ./cmd/edgeagent ./tags ./alarm ./queue ./llm ./llm/runbook | awk "$$MEDIANS"
	@cd bench && $(GO) test -run '^$$' -bench . -benchtime 2s -count 3 -timeout 60m . | awk "$$MEDIANS"

# One package after the other (-p 1), or they would measure each other. Plain
# times of a run are left out: they say more of the machine than of the agent.
define MEDIANS
/^(FAIL|--- FAIL|panic)/ { print; bad = 1 }
/SKIPPED:/ { print }
/^Benchmark/ { sub(/-[0-9]+$$/, "", $$1)
  for (i = 3; i < NF; i += 2) if ($$(i+1) !~ /^(ns|B|allocs)\/op$$/) {
    k = $$1 " " $$(i+1); if (!n[k]++) key[++keys] = k; v[k, n[k]] = $$i + 0 } }
END { for (j = 1; j <= keys; j++) { k = key[j]
  for (a = 1; a <= n[k]; a++) for (b = a + 1; b <= n[k]; b++)
    if (v[k, b] < v[k, a]) { t = v[k, a]; v[k, a] = v[k, b]; v[k, b] = t }
  split(substr(k, 10), w, " "); printf "%-24s %10.4g  %s\n", w[1], v[k, int((n[k] + 1) / 2)], w[2] }
  exit bad }
endef
export MEDIANS

lint: $(LINT) size ## go vet, gofmt, golangci-lint, the size of the arm64 binary
	$(GO) vet ./...
	cd e2e && $(GO) vet ./... && $(GO) vet -tags qemu .
	test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/bin/tools CGO_ENABLED=0 GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VER)

size: ## build for arm64 and hold it to the size budget
	build/arm64/release.sh --size "$(VERSION)" "$(COMMIT)"

release: ## cross-compile and pack for arm64, armv7 and amd64 into dist/
	build/arm64/release.sh "$(VERSION)" "$(COMMIT)" $(ARCHES)

clean: ## remove what was built
	rm -rf bin dist
