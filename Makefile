# The five commands, and their helpers. `make` alone lists them.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m local.install

FEED ?= simulator
DATA ?=
SPEED ?= 60
SYMBOLS ?=
RULESET ?=
ARGS ?=
MINUTES ?= 30
SEED ?= 1
RESULTS ?= data/benchmarks
export FEED DATA SPEED SYMBOLS RULESET

.DEFAULT_GOAL := help
.PHONY: help up down doctor test check bench chaos backup docs lab clean

help: ## list the commands
	@echo 'tickstream: make <command>'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | while read -r name text; do printf '  %-7s %s\n' "$$name" "$$text"; done

up: $(VENV)/run.stamp ## start everything; Ctrl-C stops it  [FEED=simulator|replay|coinbase|binance|kraken DATA=PATH SPEED=60|max SYMBOLS=BTC-USD,ETH-USD BACKUP=kraken RULESET=NAME]
	@$(RUN) -m local up

down: $(VENV)/run.stamp ## stop, from elsewhere, the stack that `make up` started here
	@$(RUN) -m local down

doctor: ## what is missing on this machine, and how to get it
	@$(if $(wildcard $(RUN)),$(RUN),$(or $(PYTHON),python3)) -m local doctor

test: $(VENV)/dev.stamp ## run the tests on servers of their own  [ARGS="-k name"]
	@$(RUN) -m local jars >/dev/null
	@$(RUN) -m local classes || echo 'the tests go on without; their JVMs start slower'
	@$(RUN) $(if $(ARGS),-m pytest $(ARGS),-m tests.run)

check: $(VENV)/dev.stamp ## lint, format, types and the API's contract; changes nothing
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m api openapi check
	@$(RUN) -m api openapi gate

bench: $(VENV)/run.stamp ## measure latency, throughput, recovery, indicators, feed, rest, sockets and pixels into RESULTS=data/benchmarks  [ARGS="--help"]
	@$(RUN) -m local jars >/dev/null
	@mkdir -p $(RESULTS)
	@for what in latency throughput recovery indicators feed rest sockets pixels; do \
		$(RUN) -m benchmarks $$what --json $(RESULTS)/$$what.json $(ARGS) || exit 1; done

chaos: $(VENV)/run.stamp ## break a stack of its own for MINUTES=30 and hold what comes out against the truth  [SEED=1 ARGS="--help"]
	@$(RUN) -m local jars >/dev/null
	@$(RUN) -m chaos --minutes $(MINUTES) --seed $(SEED) $(ARGS)

backup: $(VENV)/run.stamp ## back up the running stack into data/backups  [ARGS="--into DIR"]
	@servers=$$($(RUN) -m local addresses); \
		if [ -f "$$servers" ]; then . "$$servers"; fi; $(RUN) -m jobs.backup create $(ARGS)

docs: $(VENV)/run.stamp ## check the links of README.md and docs/
	@$(RUN) -m local docs-check

# In core mode, since Dash brings an extension of its own, which JupyterLab would ask to build with Node.
lab: $(VENV)/lab.stamp ## the notebooks in JupyterLab, on loopback  [ARGS="--no-browser"; root needs ARGS=--allow-root]
	@cd notebooks && PYTHONPATH='$(CURDIR)' '$(CURDIR)/$(RUN)' -m jupyterlab --ip=127.0.0.1 --core-mode $(ARGS)

clean: ## remove the virtual environment, the jars and the caches; data/ stays
	rm -rf $(VENV) .jars .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse
	find . -name __pycache__ -not -path './data/*' -prune -exec rm -rf {} +

# A stamp is newer than the requirements it was installed from.
$(VENV)/run.stamp: requirements.txt | $(RUN)
	@echo 'installing requirements.txt into $(VENV) (about 600 MB, once) …'
	@$(INSTALL) requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt requirements.txt | $(RUN)
	@echo 'installing requirements-dev.txt into $(VENV) (once) …'
	@$(INSTALL) requirements-dev.txt
	@touch $(VENV)/run.stamp $@

$(VENV)/lab.stamp: requirements-notebooks.txt requirements.txt | $(RUN)
	@echo 'installing requirements-notebooks.txt into $(VENV) (once) …'
	@$(INSTALL) requirements-notebooks.txt
	@touch $(VENV)/run.stamp $@

$(RUN):
	@command -v '$(PYTHON)' >/dev/null || { echo 'error: Python 3.11 to 3.14 is needed and was not found: install one, or run' \
		'make PYTHON=/path/to/python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 14) else \
		f"error: Python 3.11 to 3.14 is needed, this is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.12 …")'
	@echo 'creating $(VENV) with $(PYTHON) …'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'error: no virtual environment could be made' \
		'(Debian: apt-get install python3-venv)' >&2; exit 1; }
