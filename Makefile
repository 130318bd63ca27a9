# The two commands that a newcomer needs: make run, make test.
# Everything else is a part of them.

DIR   ?= data
LISTEN ?= :8443

# What the programs need to be built, and what the tests start for real.
BUILD_PACKAGES = gcc g++ libc6-dev ca-certificates
TEST_PACKAGES  = $(BUILD_PACKAGES) iproute2 nftables transmission-daemon transmission-cli aria2 opentracker tcpdump \
	chromium fonts-noto-cjk poppler-utils openssh-server openssh-client curl openssl jq apt-utils dpkg-dev procps conntrack

# Packages in which goroutines meet, tested with the race detector too.
RACE = ./bus ./state ./ledger ./auth ./alert ./incident ./action ./agent/... ./source/agentlink/... ./ui

.PHONY: run build web test unit race e2e bench lint fuzz clean need-build need-test

run: build
	./bin/sonae serve --dir $(DIR) --listen $(LISTEN)

build: need-build web
	go build -trimpath -o bin/sonae ./cmd/sonae
	CGO_ENABLED=0 go build -trimpath -o bin/sonae-agent ./cmd/sonae-agent

web: ui/web/dist/app.js

ui/web/dist/app.js: $(wildcard ui/web/src/*) ui/web/package.json ui/web/package-lock.json
	sh ui/web/build.sh

test: need-test web lint unit race e2e

unit:
	go test -timeout 15m ./...

race:
	go test -race -timeout 15m $(RACE)

# Real clients in network namespaces and a real browser; needs root on Linux.
e2e: need-test web
	go test -tags e2e -timeout 20m -count 1 ./e2e/... ./ui

bench:
	go test -run '^$$' -bench . -benchmem ./bus ./ledger ./archive ./flow ./detect/...

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./... && go vet -tags e2e ./e2e/... ./ui/...
	GOOS=windows go vet ./agent/... ./cmd/sonae-agent
	go tool -modfile=tools/go.mod staticcheck ./...

clean:
	rm -rf bin ui/web/node_modules && find ui/web/dist -mindepth 1 ! -name .keep -delete

need-build:
	@sh tools/need.sh $(BUILD_PACKAGES)

need-test:
	@sh tools/need.sh $(TEST_PACKAGES)
