# What a person or CI types. `make` alone says what there is. The scripts install what is missing and do nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# CI tests exactly the versions that are checked in.
LOCKED := $(if $(CI),--locked)
# Tools that scripts/install-tools.sh made.
export PATH := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/perennial/tools/bin:$(PATH)

# Arguments for the program behind a target: make test TESTARGS=a_name_of_a_test
TESTARGS ?=
BENCHARGS ?=
SOAKARGS ?=
SOAKSECONDS ?= 3600
FUZZSECONDS ?= 300
DEMOARGS ?=
# make demo XRAY=real: the real server instead of a simulated one.
XRAY ?=

# What the Debian package holds, and what writes its pages.
SHIPPED := -p perennial-admin -p perennial-renew -p perennial-notify-trials -p perennial-expire-fast \
	-p perennial-reconcile-xray -p perennial-deploy --bins

# Looked for when the tests are about to run, not by every make.
NEXTEST = $(shell $(CARGO) nextest --version 2>/dev/null)
RUN_TESTS = $(if $(NEXTEST),nextest run,test)
# Programs that tests can have die at a point. Every build of them says so, or the last one without it would win.
POINTS = --features perennial-core/crash-points
# The documentation's examples are tests, too; nextest leaves them out.
RUN_EXAMPLES = $(if $(NEXTEST),$(CARGO) test $(LOCKED) --workspace $(POINTS) --doc --quiet)

.PHONY: help demo test bench soak fuzz pooled docs lint man deb deb-test clean build-tools server peers

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | while IFS=$$'\t' read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: build-tools server ## Build and run the demo on a throw-away server (DEMOARGS=..., XRAY=real)
	$(if $(filter real,$(XRAY)),@scripts/install-xray.sh)
	@echo '== building (dev profile: the quicker to build)'
	$(CARGO) build $(LOCKED) --workspace --bins
	@echo '== the demo, on a throw-away server'
	$(TARGET_DIR)/debug/with-postgres $(TARGET_DIR)/debug/with-xray $(if $(filter real,$(XRAY)),--real) -- \
		$(TARGET_DIR)/debug/admin demo $(DEMOARGS)

test: build-tools server peers ## Build and run all tests on a throw-away server (TESTARGS=...)
	@echo '== building the tests'
	$(if $(TESTARGS),$(CARGO) build $(LOCKED) --workspace --bins $(POINTS))
	$(CARGO) $(RUN_TESTS) $(LOCKED) --workspace $(POINTS) --no-run
	@echo '== running the tests'
	$(TARGET_DIR)/debug/with-postgres $(CARGO) $(RUN_TESTS) $(LOCKED) --workspace $(POINTS) $(TESTARGS)
	$(if $(TESTARGS),,$(RUN_EXAMPLES))

bench: build-tools server ## Run the benchmarks on a throw-away server that flushes to disk (BENCHARGS=...)
	@echo '== building (release profile)'
	$(CARGO) build $(LOCKED) --release --workspace --bins
	@! grep -l tx.before_commit $(foreach pass,renew notify-trials expire-fast reconcile-xray,$(TARGET_DIR)/release/$(pass)) \
		|| { echo 'a release build holds points at which tests have it die' >&2; exit 1; }
	$(CARGO) bench $(LOCKED) -p perennial-tests --no-run
	@echo '== running the benchmarks'
	$(TARGET_DIR)/release/with-postgres --durable $(CARGO) bench $(LOCKED) -p perennial-tests $(BENCHARGS)

soak: build-tools server peers ## Kill passes at every point and at random for an hour, simulate years (SOAKSECONDS=... SOAKARGS=...)
	$(CARGO) build $(LOCKED) --workspace --bins --features perennial-core/crash-points
	PERENNIAL_SOAK=1 PERENNIAL_SOAK_SECONDS=$(SOAKSECONDS) $(TARGET_DIR)/debug/with-postgres \
		$(CARGO) $(RUN_TESTS) $(LOCKED) -p perennial-tests --test access_model --test crash_points --test interleavings --test random_kills --test real_xray \
		--test renew_simulation --test service_simulation \
		$(if $(NEXTEST),--profile soak --no-fail-fast --no-capture,--no-fail-fast) $(SOAKARGS) $(if $(NEXTEST),,-- --nocapture)

docs: ## Write docs/configuration.md from flags and settings
	PERENNIAL_WRITE_DOCS=1 $(CARGO) test $(LOCKED) -p perennial-tests --test configuration --quiet

fuzz: build-tools ## Feed nonsense to what reads settings, texts, plans and answers (FUZZSECONDS=...)
	@scripts/fuzz.sh $(FUZZSECONDS)

soak: fuzz

# Tests whose point is another way to the server, or a session, go there by themselves.
pooled: build-tools server peers ## Run all tests with the passes behind PgBouncer in transaction mode (TESTARGS=...)
	$(CARGO) $(RUN_TESTS) $(LOCKED) --workspace $(POINTS) --no-run
	PERENNIAL_TEST_THROUGH=pgbouncer $(TARGET_DIR)/debug/with-postgres \
		$(CARGO) $(RUN_TESTS) $(LOCKED) --workspace $(POINTS) $(TESTARGS)

lint: ## Check format, lints, licences, shell scripts
	@scripts/install-tools.sh lint
	@echo '== format'
	$(CARGO) fmt --all --check
	@echo '== clippy'
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	@echo '== licences, forbidden crates, sources'
	$(CARGO) deny $(LOCKED) --log-level warn check licenses bans sources
	@echo '== shell scripts'
	shellcheck -x scripts/*.sh .ci/run deploy/hooks/* deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm

man: ## Write man pages and shell completions into target/pages
	$(CARGO) run $(LOCKED) --quiet -p perennial-deploy --bin write-pages -- $(TARGET_DIR)/pages

deb: build-tools ## Build the Debian package into target/deb (release profile: some minutes)
	@echo '== building (release profile)'
	PERENNIAL_REVISION="$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" $(CARGO) build $(LOCKED) --release $(SHIPPED)
	@scripts/make-deb.sh $(TARGET_DIR)/release $(TARGET_DIR)/deb

deb-test: build-tools ## Install, upgrade, remove and purge the package in a clean Debian (root; some minutes)
	@echo '== building (dev profile: the quicker to build)'
	$(CARGO) build $(LOCKED) $(SHIPPED)
	@scripts/test-deb.sh $(TARGET_DIR)/debug $(TARGET_DIR)/deb-test

clean: ## Remove what was built
	$(CARGO) clean

build-tools:
	@scripts/install-tools.sh build

server:
	@scripts/install-postgres.sh

# Servers and tools of others that ours are tried with. Where they cannot be had, their tests are skipped and say so; in CI
# such a test fails if the server could have been installed.
peers:
	@scripts/install-xray.sh || echo '== no real Xray here: its tests are SKIPPED' >&2
	@scripts/install-promtool.sh || echo '== no promtool here: tests of metrics and alert rules are SKIPPED' >&2
	@scripts/install-browser.sh >/dev/null || echo '== no Chromium here: the page of admin status is not drawn: SKIPPED' >&2
	@scripts/install-example-tools.sh || echo '== no Python or Node.js here: the examples for bots are SKIPPED' >&2
	@scripts/install-telegram-emulator.sh || echo '== no Telegram emulator here: its tests are SKIPPED' >&2
	@scripts/install-pgbouncer.sh || echo '== no PgBouncer here: its tests are SKIPPED' >&2
	@scripts/install-faketime.sh || echo '== no libfaketime here: the test of a wrong clock is SKIPPED' >&2
