# From a fresh clone, with Python 3.11 or newer, pip and a compiler:  make demo,  make test.
# Every target sets up what it needs; what is already there is not done again.

PYTHON ?= python3
DOMAINS ?= 1000
KILLS ?= 200
PROBES ?= 60000
HOSTILE ?= 10

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The build backend is pinned too; older versions of pip know only the first of the two names.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-real lint check chaos hostile golden bench bench-dns bench-probe bench-soak bench-crowd bench-trust bench-scan bench-start notebooks sample constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## a virtual environment in .venv with everything installed

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; install Python 3.11 or newer, or say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old; this needs 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@if $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	elif $(PYTHON) -c 'import venv, pip' 2>/dev/null; then $(PYTHON) -m venv --without-pip $(VENV); \
	else echo "$(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 1; fi
	@echo "Installing into $(VENV); this takes a minute once."
	@if [ -x $(BIN)/pip ]; then pip=$(BIN)/pip; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	$(PINNED) $$pip install --quiet -e '.[dev]'
	@touch $@

demo: $(READY) ## a pretend Internet on loopback, a real scan of it, a report to open (DOMAINS=1000)
	@$(BIN)/starttls-crawler demo --domains $(DOMAINS) --data demo/data --out demo/site

test: $(READY) ## the test suite, in parallel; no network, no root
	@$(BIN)/pytest -q -n auto

test-real: $(READY) ## tests against real mail and name servers; needs root, stays on loopback
	@$(BIN)/pytest -q -m real tests/real -n 2 --dist loadfile

chaos: $(READY) ## kill scans of the lab at random moments, KILLS=200 times; each must finish its dataset
	@$(BIN)/python -m tools.chaos --kills $(KILLS)

hostile: $(READY) ## scan the lab with HOSTILE=10 domains that attack us and without, and compare rows and cost (DOMAINS=1000)
	@$(BIN)/python -m tools.hostile --domains $(DOMAINS) --hostile $(HOSTILE)

lint: $(READY) ## ruff, formatting and strict types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

check: lint test ## all that a change must pass

golden: $(READY) ## write everything anew that is derived from the source: schema, dictionary, settings, limits, figures, lab
	@$(BIN)/python -m tools.golden

bench: bench-dns bench-probe bench-scan ## all benchmarks

bench-dns: $(READY) ## questions per second and per CPU-second
	@$(BIN)/python -m bench.dns

bench-probe: $(READY) ## endpoints per second and per CPU-second
	@$(BIN)/python -m bench.probe

bench-soak: $(READY) ## one prober for a long time: nothing may pile up (PROBES=60000)
	@$(BIN)/python -m bench.soak --probes $(PROBES)

bench-crowd: $(READY) ## two processes with 10,000 connections in flight each
	@$(BIN)/python -m bench.crowd

bench-trust: $(READY) ## what verdicts add to PROBE, and fetching policies to RESOLVE
	@$(BIN)/python -m bench.trust

bench-scan: $(READY) ## list to dataset beside other programs: CPU with start-up, memory, bytes (MILLION=1: a million domains)
	@$(BIN)/python -m bench.scan $(if $(MILLION),--million)

bench-start: $(READY) ## CPU of commands that do nearly nothing (AGAINST=DIR: in turns with another source tree)
	@$(BIN)/python -m bench.startup $(if $(AGAINST),--against $(AGAINST))

notebooks: $(READY) ## run every notebook from top to bottom
	@for notebook in notebooks/*.ipynb; do echo "$$notebook"; $(BIN)/jupyter-execute "$$notebook" || exit 1; done

sample: $(READY) ## scan a small lab anew for data/sample, which the notebooks explore
	@$(BIN)/python data/sample/regenerate.py

constraints: ## write constraints.txt anew from the newest versions that pyproject.toml admits
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && $(PYTHON) -m venv "$$scratch" \
	&& "$$scratch/bin/pip" install --quiet hatchling editables -e '.[dev,readers]' \
	&& { sed '/^#/!d' constraints.txt; "$$scratch/bin/pip" freeze --exclude-editable | LC_ALL=C sort -fu; } > "$$scratch/new" \
	&& cp "$$scratch/new" constraints.txt

clean: ## remove what make created
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find crawler analysis tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +
