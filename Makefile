# Everything that is done with this checkout. `make help` lists it.

# The first Python 3.11 or newer that runs; `make PYTHON=... test` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check -qq
# How many random seeds (or the seeds themselves: 1,2,), the seconds of each campaign, and the servers.
SEEDS ?= 3
SECONDS ?= 60
SERVERS ?= valkey,redis7,redis62
# Which campaigns, and the seconds of the overload.
CAMPAIGNS ?= faults,sentinel,replicas,cluster,links,mixed,rolling,frameworks,overload
OVERLOAD ?= 600
# How many processes run the tests, which mostly wait for others.
JOBS ?= 5
SUPPORTED = 3.11 3.12 3.13

# A real Lightbus 1.x to talk to in tests/wire. It needs packages that nothing else here may have.
PEER_VENV ?= $(VENV)-1x
PEER_PACKAGES = lightbus==1.1.2 aioredis==1.3.1 'async-timeout<5' 'setuptools<70' python-dateutil schedule

# What `make bench-peers` compares with; each has its packages in benchmarks/peers/NAME.txt, or
# direct/NAME.txt if it needs no Redis, and its own venv.
RIVALS = $(basename $(notdir $(wildcard benchmarks/peers/*.txt benchmarks/peers/direct/*.txt)))

.DEFAULT_GOAL := help
.PHONY: help run cluster console test ready compiled lint format pytest test-all installed soak bench bench-peers bench-growth bench-console bench-failover docs site-check dist clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.run-stamp ## host lightbus.yaml (options of `lightbus run`: ARGS="...")
	@exec $(VENV)/bin/lightbus run $(ARGS)

cluster: $(VENV)/.run-stamp ## a Redis Cluster of six nodes here, with the shop hosted on it; kill a node, and it goes on
	@exec $(VENV)/bin/python -m examples.cluster

console: $(VENV)/.run-stamp ## the shop with customers, failures and its console in a browser, on a Redis of its own
	@exec $(VENV)/bin/python -m examples.console

test: ## all checks and all tests
	@$(MAKE) --no-print-directory ready
	@$(MAKE) --no-print-directory pytest

# The two venvs are made at the same time. While mypy has one processor, the other one compiles the tests: else
# each process of pytest would do that, all at the same moment.
ready: ## all checks, and the venvs that the tests need
	@$(MAKE) --no-print-directory -j3 lint compiled $(PEER_VENV)/.stamp

compiled: $(VENV)/.dev-stamp
	@if ! $(VENV)/bin/python -m pytest --collect-only -q > $(VENV)/collected.log 2>&1; then \
	    cat $(VENV)/collected.log; exit 1; fi

lint: $(VENV)/.dev-stamp ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: $(VENV)/.dev-stamp ## let ruff rewrite the code
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

pytest: $(VENV)/.dev-stamp $(PEER_VENV)/.stamp ## the tests alone (options of pytest: ARGS="...", JOBS=5)
	@LIGHTBUS_PEER_PYTHON=$(abspath $(PEER_VENV))/bin/python $(VENV)/bin/python -m pytest \
	    -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(VENV)/.dev-stamp $(PEER_VENV)/.stamp ## what can go wrong, for as long as you like (SEEDS=3 SECONDS=60 SERVERS=... CAMPAIGNS=... OVERLOAD=600)
	@LIGHTBUS_PEER_PYTHON=$(abspath $(PEER_VENV))/bin/python $(VENV)/bin/python -m tests.faults \
	    --campaigns $(CAMPAIGNS) --seeds $(SEEDS) --seconds $(SECONDS) --servers $(SERVERS) --overload $(OVERLOAD)
	@$(VENV)/bin/python -m tests.faults --acl \
	    --campaigns faults,cluster --seeds $(SEEDS) --seconds $(SECONDS) --servers $(SERVERS)
	@LIGHTBUS_TEST_WHOLE=1 $(VENV)/bin/python -m pytest -n $(JOBS) \
	    tests/commands/test_every_command.py tests/guide/test_surroundings.py tests/transports/test_scripts_refused.py \
	    tests/web/test_browser.py tests/web/test_dead.py tests/web/test_server.py
	@LIGHTBUS_TEST_ACL=1 $(VENV)/bin/python -m pytest -n $(JOBS) tests/transports
	@for kind in valkey redis7; do for how in "" LIGHTBUS_TEST_ACL=1 LIGHTBUS_TEST_WAITING=bell; do \
	    env LIGHTBUS_TEST_SPREAD=$$kind $$how \
	        $(VENV)/bin/python -m pytest -n $(JOBS) tests/transports -k cluster || exit 1; done; done
	@$(VENV)/bin/python -m tests.faults --plants all
	@$(VENV)/bin/python -m tests.faults.schedules $(SECONDS)
	@$(VENV)/bin/python -m tests.outbox.campaign --kills 100
	@$(VENV)/bin/python -m tests.outbox.inbox.campaign --rounds 4
	@$(VENV)/bin/python -m tests.faults.groups 100000 $(SERVERS)
	@LIGHTBUS_PEER_PYTHON=$(abspath $(PEER_VENV))/bin/python $(VENV)/bin/python -m tests.faults.going_back 5 $(SECONDS)

bench: $(VENV)/.dev-stamp ## the speed of this bus against the bare floor (ARGS="--only rpc,consume --quick ...")
	@$(VENV)/bin/python -m benchmarks $(ARGS)

bench-peers: $(VENV)/.dev-stamp $(PEER_VENV)/.stamp $(RIVALS:%=.venv-peers/%/.stamp) nats-server ## the same against its peers, and calls against gRPC, FastAPI and NATS
	@$(VENV)/bin/python -m benchmarks --peers --server redis7 $(ARGS)

bench-growth: $(VENV)/.dev-stamp ## what grows with 1,000 APIs, 1,000 listeners, 64 processes and a million events (ARGS="--only apis")
	@$(VENV)/bin/python -m benchmarks --growth $(ARGS)

bench-console: $(VENV)/.dev-stamp ## the console's pages with 1,000 listeners, 500 processes (ARGS="overview graph", ARGS="--letters 1000000 --events 200000")
	@$(VENV)/bin/python -m benchmarks.console $(ARGS)
	@$(VENV)/bin/python -m benchmarks.dead_letters

bench-failover: $(VENV)/.dev-stamp ## how long firing stands still while a primary of a cluster is replaced, and what is lost
	@$(VENV)/bin/python -m benchmarks.failover $(ARGS)

# Here, each process of a test is an interpreter of its own, as it is for users; `make pytest` forks most.
test-all: lint ## the tests on every supported Python that is installed
	@failed=""; missing=""; \
	for version in $(SUPPORTED); do \
	    found=""; \
	    for python in python$$version $$HOME/.pyenv/versions/$$version*/bin/python; do \
	        if $$python -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null; \
	        then found=$$python; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then missing="$$missing $$version"; continue; fi; \
	    echo "== Python $$version ($$found)"; \
	    LIGHTBUS_TEST_EXEC=1 $(MAKE) --no-print-directory pytest PYTHON=$$found VENV=.venv-$$version \
	        PEER_VENV=$(PEER_VENV) \
	        || failed="$$failed $$version"; \
	done; \
	$(VENV)/bin/python -m tests.docs.installed || failed="$$failed installed"; \
	if [ -n "$$missing" ]; then echo "Not installed, so not tested:$$missing"; fi; \
	if [ -n "$$failed" ]; then echo "Failed on:$$failed"; exit 1; fi

installed: $(VENV)/.dev-stamp ## every page as a pip user reads it, in fresh venvs with the built wheel (ARGS="--pythons 3.12")
	@$(VENV)/bin/python -m tests.docs.installed $(ARGS)

docs: $(VENV)/.dev-stamp ## the documentation, as pages in site/
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet

site-check: docs ## every page in Chromium, read from the disk: what is cut, broken, missing or too pale
	@$(VENV)/bin/python -m tests.website site

dist: $(VENV)/.dev-stamp ## the files of a release, checked, in dist/
	@$(PIP) install -e '.[release]'
	@rm -rf dist build
	@$(VENV)/bin/python -m build --no-isolation > dist.log || { cat dist.log; exit 1; }
	@rm -rf build dist.log
	@$(VENV)/bin/python -m twine check --strict dist/*

clean: ## remove every venv and cache that make has put here
	@rm -rf .venv .venv-1x .venv-peers .venv-3.* .venv-*-1x .mypy_cache .ruff_cache .pytest_cache build dist ./*.egg-info

# A venv without pip (where Python came without ensurepip) is filled by the pip outside.
%/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found."; exit 1; }
	@mkdir -p $(dir $*)
	@$(PYTHON) -m venv $* > $*.log 2>&1 \
	    || { $(PYTHON) -m venv --clear --without-pip $* && $(PYTHON) -m pip -qq --python $*/bin/python install pip; } \
	    || { cat $*.log; exit 1; }
	@rm -f $*.log

.PRECIOUS: %/bin/python

$(VENV)/.run-stamp: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Lightbus into $(VENV) ..."
	@$(PIP) install -e '.[embedded,http,schedule,web]'
	@touch $@

$(VENV)/.dev-stamp: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Lightbus and its tools into $(VENV) ..."
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.run-stamp

$(PEER_VENV)/.stamp: Makefile | $(PEER_VENV)/bin/python
	@echo "Installing Lightbus 1.x into $(PEER_VENV) ..."
	@$(PEER_VENV)/bin/python -m pip --disable-pip-version-check -qq install $(PEER_PACKAGES)
	@touch $@

# One that can't be installed here is left out of the benchmark, which says so.
define install-peer
@echo "Installing $* into .venv-peers/$* ..."
@$(MAKE) --no-print-directory .venv-peers/$*/bin/python
@if .venv-peers/$*/bin/python -m pip --disable-pip-version-check -qq install -r $<; then touch $@; \
else rm -rf .venv-peers/$*; echo "$* can't be installed here."; fi
endef

.venv-peers/%/.stamp: benchmarks/peers/%.txt
	$(install-peer)

.venv-peers/%/.stamp: benchmarks/peers/direct/%.txt
	$(install-peer)

# Debian's package is unpacked and not installed: it would start a service.
.PHONY: nats-server
nats-server:
	@if ! PATH="$$PATH:/usr/sbin" command -v nats-server > /dev/null && [ ! -e .venv-peers/nats-server ]; then \
	    echo "Fetching nats-server into .venv-peers/nats-server ..."; \
	    mkdir -p .venv-peers && cd .venv-peers && apt-get download -qq nats-server 2> nats-server.log \
	        && dpkg-deb -x nats-server_*.deb nats-server && rm -f nats-server_*.deb nats-server.log \
	    || echo "nats-server can't be had here, so NATS is left out: apt-get update && apt-get install nats-server"; \
	fi
