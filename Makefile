# Everything a person or CI types. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

BOOT_PYTHON ?= python3
PY := .venv/bin/python
UV := .boot/bin/uv
PYTEST := $(PY) -m pytest
WORKERS ?= 2
REPEAT ?= 20
SOAK_SECONDS ?= 7200
ROWS ?=
RELIABILITY ?= docs/reliability.md
CODE := schemas shared services tests $(wildcard benchmarks annotation_ui)

# One set of pins into .venv, by uv, or by pip where uv cannot be had; $(1) is the list of sets.
define install
	if [ -x $(UV) ]; then \
	  $(UV) pip install --compile-bytecode --python $(PY) --no-deps --require-hashes $(foreach set,$(1),-r requirements/$(set).txt); \
	  $(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation -e .; \
	else \
	  $(PY) -m pip install --no-deps --require-hashes $(foreach set,$(1),-r requirements/$(set).txt); \
	  $(PY) -m pip install --quiet --no-deps --no-build-isolation -e .; \
	fi
endef

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.vantage ## make .venv with vantage in it

.PHONY: demo
demo: setup ## start the simulated scene and open the console (Ctrl-C ends it)
	.venv/bin/vantage demo

.PHONY: up
up: setup ## run all services in one process on this machine
	.venv/bin/vantage up

.PHONY: test
test: .venv/.dev engines ## run the tests against real engines
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not chaos and not soak"

.PHONY: check
check: .venv/.dev ## lint, types, import contracts, fresh contract files
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy $(CODE)
	.venv/bin/lint-imports
	.venv/bin/vantage contracts --check

.PHONY: contracts
contracts: setup ## write JSON Schema, AsyncAPI and events.md to schemas/generated
	.venv/bin/vantage contracts

.PHONY: engines
engines: .venv/.dev ## get Kafka, PostgreSQL, Redis, an S3 store, RTSP server, Chromium, promtool for the tests
	@$(PY) -m tests.engines.obtain

.PHONY: bench
bench: .venv/.bench ## measure against bare loops, one after the other (benchmarks/README.md)
	@for file in $$(grep -l '__name__ == "__main__"' benchmarks/*.py); do \
	  name=$$(basename "$$file" .py); echo "== $$name"; $(PY) -m "benchmarks.$$name"; \
	done

.PHONY: chaos
chaos: .venv/.dev engines ## kill, freeze and cut, over and over; writes docs/reliability.md (REPEAT=20, ROWS=R4,R6)
	VANTAGE_CHAOS_REPEAT=$(REPEAT) VANTAGE_RELIABILITY=$(RELIABILITY) \
	  $(PYTEST) -m "(chaos or row) and not soak" --rows "$(ROWS)" --timeout 3600

.PHONY: soak
soak: .venv/.dev engines ## let the whole house run under faults and watch memory (SOAK_SECONDS=7200)
	VANTAGE_SOAK_SECONDS=$(SOAK_SECONDS) VANTAGE_RELIABILITY=$(RELIABILITY) $(PYTEST) -m soak --timeout 0

.PHONY: requirements
requirements: .boot/.ready ## resolve pyproject.toml again into requirements/*.txt
	@pins=$$(mktemp); trap 'rm -f "$$pins"' EXIT; \
	lock="$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate"; \
	$$lock pyproject.toml --extra dev --extra bench | grep -E '^[a-zA-Z0-9]' | sed 's/ *\\$$//' > "$$pins"; \
	$$lock pyproject.toml -c "$$pins" -o requirements/slim.txt; \
	$$lock pyproject.toml -c "$$pins" --extra vision -o requirements/vision.txt; \
	$$lock pyproject.toml -c "$$pins" --extra dev -o requirements/dev.txt; \
	$$lock pyproject.toml -c "$$pins" --extra dev --extra bench -o requirements/bench.txt; \
	echo hatchling editables | tr ' ' '\n' | $$lock - -o requirements/build.txt; \
	echo uv | $$lock - -o requirements/uv.txt

.PHONY: clean
clean: ## remove environments, caches and results; never the data
	rm -rf .venv .boot .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis benchmarks/out dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.boot/.ready: requirements/uv.txt
	@$(BOOT_PYTHON) -m venv .boot || { echo "no venv: install Python 3.11 or 3.12 with its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@.boot/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt || echo "uv cannot be had here: going on with pip, which is slower"
	@touch $@

.venv/bin/python: | .boot/.ready
	@if [ -x $(UV) ]; then $(UV) venv --quiet --python '>=3.11,<3.13' .venv; else $(BOOT_PYTHON) -m venv .venv; fi

.venv/.vantage: requirements/vision.txt requirements/build.txt pyproject.toml | .venv/bin/python
	@$(call install,build vision)
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.vantage
	@$(call install,dev)
	@touch $@

.venv/.bench: requirements/bench.txt .venv/.dev
	@$(call install,bench)
	@touch $@
