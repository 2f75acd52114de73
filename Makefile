# Sigmawatch: `make run` and `make test` do all set-up by themselves (scripts/setup).
.DEFAULT_GOAL := help
.PHONY: help setup web web-check run build test kills faults fuzz bench growth figures budget accuracy fmt lint install deb

CONFIG ?= config.toml
ROWS ?= all
CARGO ?= cargo
PREFIX ?= /usr/local
ETC ?= /etc
UNITS ?= $(ETC)/systemd/system

# Where rustup puts cargo, for shells that have not read its profile yet.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# A variable's text as one word of the shell, whatever it holds.
quoted = '$(subst ','\'',$(value $(1)))'

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## Install what is missing: system packages, Rust, Node.js, ONNX Runtime
	scripts/setup run

# npm marks the folder that it has filled. The page is built anew only when something of it has changed.
WEB := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f -print)

web: web/dist/index.html ## Build the page (web/dist), which the program embeds

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	scripts/setup web
	cd web && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB)
	cd web && npm run --silent build

web-check: web ## Check the page's types, run its own tests
	cd web && npm run --silent check
	cd web && npm run --silent test

run: setup web ## Build and start the daemon [CONFIG=config.toml]
	$(CARGO) build --release --locked
	target/release/sigmawatch run --config $(call quoted,CONFIG)

build: setup web ## Build the program (target/release/sigmawatch)
	$(CARGO) build --release --locked

test: ## Set up, check format and lints, run every test
	scripts/setup test
	$(MAKE) web-check
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked

kills: ## Kill the daemon 200 times while it alerts, and look at what is left
	scripts/setup test
	SIGMAWATCH_KILLS=200 $(CARGO) test --locked --test it -- --exact --nocapture kills::no_kill_loses_or_corrupts_anything

faults: ## Make every fault on purpose, and say what came of it [ROWS=all, or numbers: 1,12]
	scripts/setup test
	SIGMAWATCH_FAULTS=$(ROWS) $(CARGO) test --locked --test it -- --exact --nocapture faults::the_matrix

SECONDS ?= 600

fuzz: ## Fuzz everything that reads what others write [SECONDS=600 for each target]
	scripts/setup test
	$(MAKE) web
	SIGMAWATCH_SEEDS=$(CURDIR)/fuzz/corpus $(CARGO) test --locked --test it -- fuzz::
	scripts/fuzz $(call quoted,SECONDS)

SECTIONS ?= all
export SECTIONS

bench: ## Measure each stage, and the whole path against its limits and a peer [SECTIONS=ends,memory,i3d,learning]
	scripts/setup bench
	$(MAKE) web
	-$(MAKE) target/peer/made
	[ "$$SECTIONS" != all ] || $(CARGO) bench --locked --bench stages
	$(CARGO) bench --locked --bench bench

# Without it (no network, say) the rest is measured.
target/peer/made: benches/peer/requirements.txt
	python3 -m venv --clear target/peer
	target/peer/bin/pip install --quiet --disable-pip-version-check --requirement benches/peer/requirements.txt
	touch $@

growth: ## Measure 1, 2, 4 ... 128 cameras on this machine
	scripts/setup test
	$(MAKE) web
	$(CARGO) bench --locked --bench growth

figures: ## Measure what the program promises
	scripts/setup test
	$(MAKE) web
	$(CARGO) bench --locked --bench figures

budget: ## Measure false alarms against the budget asked for
	scripts/setup test
	$(MAKE) web
	$(CARGO) bench --locked --bench budget

accuracy: ## Measure every extractor with every scorer on every dataset
	scripts/setup test
	$(MAKE) web
	$(CARGO) bench --locked --bench accuracy

fmt: ## Format the code
	$(CARGO) fmt

lint: web ## Check format and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

# An installed configuration is never overwritten.
install: ## Install what `make build` built, with systemd unit and configuration (as root)
	@test -x target/release/sigmawatch || { echo "run \`make build\` first" >&2; exit 1; }
	install -D target/release/sigmawatch $(DESTDIR)$(PREFIX)/bin/sigmawatch
	install -D -m 644 runtime/libonnxruntime.so $(DESTDIR)$(PREFIX)/lib/sigmawatch/libonnxruntime.so
	install -d $(DESTDIR)$(ETC)/sigmawatch/pipelines $(DESTDIR)$(UNITS)
	install -m 644 pipelines/*.pipeline $(DESTDIR)$(ETC)/sigmawatch/pipelines
	test -e $(DESTDIR)$(ETC)/sigmawatch/config.toml || sed \
		-e 's|^# onnxruntime = .*|onnxruntime = "$(PREFIX)/lib/sigmawatch/libonnxruntime.so"|' \
		-e 's|^# dir = .*|dir = "/var/lib/sigmawatch"|' \
		config.toml > $(DESTDIR)$(ETC)/sigmawatch/config.toml
	sed -e 's|/usr/local/bin|$(PREFIX)/bin|' -e 's|/etc/sigmawatch|$(ETC)/sigmawatch|' \
		systemd/sigmawatch.service > $(DESTDIR)$(UNITS)/sigmawatch.service

deb: build ## Make a Debian package of it (target/sigmawatch_VERSION_ARCHITECTURE.deb)
	scripts/deb
