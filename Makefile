# The two commands that a newcomer needs: make run, make test.
# Everything else is a part of them; `make help` lists it.

DIR    ?= data
LISTEN ?= :8443

# What the programs need to be built, and what the tests start for real.
BUILD_PACKAGES = gcc g++ libc6-dev ca-certificates clang llvm libbpf-dev
TEST_PACKAGES  = $(BUILD_PACKAGES) iproute2 nftables transmission-daemon transmission-cli aria2 opentracker tcpdump \
	libevtx-utils chromium fonts-noto-cjk poppler-utils openssh-server openssh-client python3-libtorrent syncthing restic curl openssl jq apt-utils dpkg-dev procps conntrack postgresql \
	snmpd snmp freeradius softflowd pmacct wine64 clang lld slapd systemd gdb clamav-daemon zstd gpg gpg-agent \
	libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 samba samba-vfs-modules sshfs mariadb-server ldap-utils libreoffice-writer-nogui libreoffice-calc-nogui fuse3 pgbackrest zip

# Packages in which goroutines meet. Their tests run once, with the race
# detector; those of all others run without it. The longest begin first.
RACE = ./hub ./agent/backup ./protect/repository/rest ./protect/vault ./ui ./bus ./state ./ledger/... ./auth ./alert ./notify ./incident ./playbook ./action ./agent/... ./source/agentlink/... ./blob/... ./search ./detect ./detect/keep ./detect/tuning ./scan ./protect/repository/...

# C that was translated to Go keeps its data outside of what the detector looks
# at, and a hash of a password is sums: to tell it of each access there is slow
# and finds nothing.
UNRACED = -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=golang.org/x/crypto/argon2=-race=false -gcflags=golang.org/x/crypto/scrypt=-race=false

# Packages that take longest begin first. Many wait for other programs most of
# the time, so more of them run at once than there are processors.
SLOW = ./cmd/sonae ./protect/restic ./protect/repository/rest ./protect/drill ./protect/engine ./archive ./action/device ./report
JOBS ?= $(shell echo $$(($$(nproc) * 2)))

# The same holds for tests of one package that say that they may run together:
# each has a hub of its own and mostly waits for it.
TOGETHER ?= $(shell echo $$(($$(nproc) + 1)))

# The revision goes into the programs where git can tell it; a copy without
# history, or one that belongs to another user, is built all the same.
VCS := $(shell git status --porcelain >/dev/null 2>&1 || echo -buildvcs=false)
BUILD = go build $(VCS)

.NOTPARALLEL:
.PHONY: run build web bpf test unit race e2e windows torture fuzz bench bench-store bench-search bench-detect bench-sensor bench-forensic bench-guard bench-anomaly bench-agent bench-forecast bench-protect bench-room test-desktop lint clean help need-build need-test s3

# Where the tests find the S3 server that they start.
export SONAE_VERSITYGW = $(CURDIR)/bin/versitygw

# A version of restic that tests use besides the machine's own, if it is there.
export SONAE_RESTICS = $(CURDIR)/bin/restic-next

# Debian's kernel for virtual machines, which tests of restore drills boot.
export SONAE_GUEST_KERNEL = $(CURDIR)/bin/guest-kernel

run: build
	./bin/sonae serve --dir $(DIR) --listen $(LISTEN)

build: need-build web bpf
	@echo "== build: bin/sonae, bin/sonae-agent (the first time this takes minutes)"
	@CGO_ENABLED=1 $(BUILD) -o bin/sonae ./cmd/sonae
	@CGO_ENABLED=0 $(BUILD) -o bin/sonae-agent ./cmd/sonae-agent

web: ui/web/dist/app.js

ui/web/dist/app.js: $(wildcard ui/web/src/*) report/html/sheet.css ui/web/package.json ui/web/package-lock.json ui/web/build.sh
	@echo "== web: script, style and fonts of the pages"
	@sh ui/web/build.sh

# The programs for the kernel. Without them the agent is built all the same,
# guards through fanotify and sees processes through the process connector.
bpf: agent/guard/bpf/obj/guard_amd64.o agent/collect/bpf/obj/telemetry_amd64.o

agent/guard/bpf/obj/guard_amd64.o agent/collect/bpf/obj/telemetry_amd64.o &: agent/guard/bpf/guard.bpf.c agent/collect/bpf/telemetry.bpf.c tools/bpf.sh
	@echo "== bpf: the programs for the kernel"
	@sh tools/bpf.sh

test: need-test lint build unit race windows e2e

# A real S3 server for the tests, built from source because Debian has none; and
# the restic of the next Debian release.
s3:
	@sh tools/s3server.sh
	@sh tools/resticnext.sh
	@sh tools/guestkernel.sh

unit: web bpf s3
	@echo "== unit: what is not tested with the race detector, with the real engines; all pages in a real browser"
	@all=$$(go list $(SLOW) ./...) && raced=$$(go list $(RACE)) && \
		sh tools/test.sh -tags e2e -p $(JOBS) -parallel $(TOGETHER) -timeout 40m ./ui $$(echo "$$all" | grep -vxF "$$raced" | grep -v /e2e)

race: web bpf s3
	@echo "== race: packages in which goroutines meet, with the race detector and the real engines"
	@sh tools/test.sh -race $(UNRACED) -p $(JOBS) -parallel $(TOGETHER) -timeout 40m $(RACE)
	go test -race -vet=off -timeout 5m -run 'Goroutines|Cache' ./detect/sigma

# What of the Windows agent runs under Wine, which keeps its files in bin/wine.
windows:
	@echo "== windows: the agent for Windows, and its own tests under Wine"
	GOOS=windows CGO_ENABLED=0 $(BUILD) -o bin/sonae-agent.exe ./cmd/sonae-agent
	WINEPREFIX=$(CURDIR)/bin/wine GOOS=windows CGO_ENABLED=0 go test -p 1 -timeout 5m -exec $(CURDIR)/tools/wine/run.sh -run 'Windows|Own|Gone|Known' \
		./agent/winproc ./agent/owner ./agent/collect

# Real clients in network namespaces and a real browser; needs root on Linux.
e2e: need-test web bpf s3
	@echo "== e2e: real BitTorrent clients, network namespaces, a real browser"
	@sh tools/test.sh -tags e2e -p 1 -parallel $(TOGETHER) -timeout 60m -count 1 ./e2e/...

# Half an hour and more: 500 kills under 20,000 events a second, a full disk, a
# wrong clock, a cut segment; three hubs killed in turn; 1,000 changed bytes.
torture: need-test web s3
	SONAE_TORTURE=full go test -tags e2e -p 1 -parallel 1 -timeout 120m -count 1 -v -run 'TestTorture|TestCluster' ./e2e
	SONAE_TORTURE=full go test -parallel 1 -timeout 60m -count 1 -v -run 'TestTamper|TestBackups' ./cmd/sonae ./archive
	SONAE_RESTIC_FILES=20000 go test -timeout 30m -count 1 -v -run TestAgreesWithResticOnEveryFile ./protect/restic

# Every parser of foreign bytes, and the compiled engine beside the naive one.
# What a run finds stays in testdata/fuzz and is tested from then on.
FUZZTIME      ?= 10m
FUZZTIME_EACH ?= 1m

fuzz:
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			case $$f in FuzzDifferential) t=$(FUZZTIME);; *) t=$(FUZZTIME_EACH);; esac; \
			echo "== fuzz: $$p $$f for $$t"; \
			go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $$t -fuzzminimizetime 20x $$p || exit 1; \
		done; \
	done

# The store beside PostgreSQL, ClickHouse and Loki on the same 10 million
# events; writes doc/bench-store.md. Needs about an hour and 25 GB of disk.
bench-store: need-test
	cd bench/store && go run . -n $(or $(N),10000000) -out ../../doc/bench-store.md

# The search page over ten million events; needs root, 2 GB of disk, minutes.
bench-search: need-test web
	cd bench/store && rm -rf $(CURDIR)/bin/bench-search && go run . -n $(or $(N),10000000) -engines sonae -warm 1 -keep -dir $(CURDIR)/bin/bench-search
	SONAE_BENCH_ARCHIVE=$(CURDIR)/bin/bench-search/sonae/archive go test -tags e2e -timeout 60m -count 1 -v -run TestSearchPageOverManyEvents ./e2e
	rm -rf $(CURDIR)/bin/bench-search

# The detection engine, from JSON lines to findings; writes doc/bench-detect.md.
# It needs the developers' data set beside the project. COUNT=1 is a quick look.
bench-detect:
	cd bench/detect && go run . -count $(or $(COUNT),3) -out ../../doc/bench-detect.md

# What a connection is, beside ndpiReader (Debian libndpi-bin) on the developers'
# captures; writes doc/bench-sensor.md. Needs them beside the project, and 500 MB.
# ONLY=found or ONLY=speed makes one of its tables.
bench-sensor:
	@command -v ndpiReader >/dev/null || { echo "ndpiReader is missing: apt-get install libndpi-bin"; exit 1; }
	cd bench/sensor && go run . -only "$(ONLY)" -count $(or $(COUNT),3) -out ../../doc/bench-sensor.md

# The ransomware guard: our simulator in every shape, and ordinary work under
# its eyes; writes doc/bench-guard.md. Needs root, 4 GB of memory, half an hour.
bench-guard: bpf
	@sh tools/need.sh --root restic zstd git postgresql imagemagick gpg gpg-agent logrotate
	go run ./bench/guard -count $(or $(COUNT),30) -out doc/bench-guard.md
	go run ./bench/guard -count $(or $(COUNT),5) -out doc/bench-guard.md -volume ext4 -backends ebpf -parts attacks

# The forecast of a recovery held to real restore drills with stock restic and
# PostgreSQL, and how quickly it is computed; writes doc/bench-forecast.md. Needs
# root and five minutes of a quiet machine.
bench-forecast:
	@sh tools/need.sh restic
	SONAE_BENCH_FORECAST=$(CURDIR)/doc/bench-forecast.md go test -count=1 -timeout 30m -run TestForecastOfRealDrills -bench Forecast -benchtime 3x ./protect/forecast

# What backups, restores and reading cost with agent and hub beside bare restic on
# the same data; writes doc/bench-protect.md. Six minutes of a quiet machine;
# ROUNDS=1 is a quick look.
bench-protect: web
	@sh tools/need.sh restic
	@sh tools/resticnext.sh
	SONAE_BENCH_PROTECT=$(CURDIR)/doc/bench-protect.md SONAE_BENCH_ROUNDS=$(or $(ROUNDS),3) go test -tags e2e -timeout 30m -count 1 -v -run TestBenchProtect ./e2e

# What scores of backups catch, and how often they cry wolf: a labelled set with
# the real restic; writes doc/bench-anomaly.md. Needs root and half an hour.
bench-anomaly:
	@sh tools/need.sh --root restic postgresql gpg gpg-agent zip apt-utils dpkg-dev
	go run ./bench/protect/anomaly -houses $(or $(HOUSES),10) -days $(or $(DAYS),200) $(if $(BENCH_DIR),-dir $(BENCH_DIR)) -out doc/bench-anomaly.md

# What the agent costs at rest and beside a compiler, and how fast it tells;
# writes doc/bench-agent.md. Needs root and gcc, a quarter of an hour.
bench-agent: bpf
	@sh tools/need.sh --root gcc iproute2
	SONAE_BENCH_AGENT=$(CURDIR)/doc/bench-agent.md SONAE_BENCH_SPAN=$(or $(SPAN),3m) go test -timeout 60m -count 1 -v -run TestBenchAgent ./cmd/sonae-agent

# A note on a desktop, and the press of its button, on a desktop without a screen.
test-desktop:
	@sh tools/need.sh --root libnotify-bin dunst xvfb dbus
	SONAE_TEST_DESKTOP=$(CURDIR)/tools/desktop.sh go test -count=1 -v -run Desktop ./agent/screen

# First paint and live updates of the room of a large incident, in Chromium;
# writes the table in doc/bench-room.md. A few minutes on a quiet machine.
bench-room: need-test web
	SONAE_BENCH_ROOM=$(CURDIR)/doc/bench-room.md go test -tags e2e -timeout 30m -count 1 -v -run TestBenchRoom ./e2e

# How long a collection of evidence takes on this machine, as root; the table
# stands in doc/user/en/evidence.md.
bench-forensic:
	go test -run '^$$' -bench Collect -benchtime 1x -v ./agent/forensic

bench: web
	go test -run '^$$' -bench . -benchmem ./bus ./ledger ./archive ./flow ./detect/... ./protect/restic

lint: web bpf
	@echo "== lint: gofmt, go vet (Linux, e2e, Windows), staticcheck, sh -n"
	@out=$$(gofmt -l .) && test -z "$$out" || { echo "not formatted:" "$$out"; exit 1; }
	go vet ./... && go vet -tags e2e ./e2e/... ./ui/...
	GOOS=windows go vet ./agent/... ./cmd/sonae-agent
	go tool -modfile=tools/go.mod staticcheck ./...
	@for f in tools/need.sh tools/test.sh tools/bpf.sh tools/s3server.sh tools/resticnext.sh tools/guestkernel.sh tools/wine/run.sh ui/web/build.sh; do sh -n $$f || exit 1; done

clean:
	rm -rf bin ui/web/node_modules && find ui/web/dist -mindepth 1 ! -name .keep -delete && find agent/guard/bpf/obj agent/collect/bpf/obj -mindepth 1 ! -name .keep -delete

help:
	@echo "make run     build, start the hub in DIR=$(DIR) on LISTEN=$(LISTEN), print the set-up link"
	@echo "make test    build and run everything below"
	@echo "make build | lint | unit | race | windows | e2e | clean"
	@echo "make torture | fuzz | bench | bench-store | bench-search | bench-detect | bench-sensor | bench-forensic | bench-guard | bench-agent | bench-room   take long and are no part of make test"

need-build:
	@sh tools/need.sh $(BUILD_PACKAGES)

need-test:
	@sh tools/need.sh --root $(TEST_PACKAGES)
