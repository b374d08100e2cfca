# What a person or CI types. The work is done in tools/, which needs no more than the system's python3.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# When these files are newer than pyproject.toml, the environment has what it asks for.
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development

.DEFAULT_GOAL := help
.PHONY: help demo test lint soak fuzz mutants bench docs venv clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(RUNTIME)  ## show a simulated fleet of twenty Pis, from the queue to the status table
	@$(PYTHON) -m tools.install demo
	@$(BIN)/python -m tools.demo

test:  ## install the servers that the tests need, and run all checks and tests
	@$(PYTHON) -m tools.install test
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 3 --dist worksteal
	$(BIN)/python -m tools.unit_matrix

lint: $(DEVELOPMENT)  ## check format, style, types and the layers of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p rpi_health -p tools -p benchmarks
	$(BIN)/lint-imports

soak: $(DEVELOPMENT)  ## cause random faults for ten minutes; with SOAK=--help: what can be chosen
	@$(PYTHON) -m tools.install test
	$(BIN)/python -m tests.soak $(SOAK)

fuzz: $(DEVELOPMENT)  ## let a fuzzer try to break the decoders, a minute each; with FUZZ=--help: what can be chosen
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	$(BIN)/python -m tools.fuzz $(FUZZ)

mutants: $(DEVELOPMENT)  ## break the code in each of many ways, and expect the tests to notice
	@$(PYTHON) -m tools.install test
	$(BIN)/python -m tools.mutants $(MUTANTS)

bench: $(DEVELOPMENT)  ## measure the speed beside yardsticks, for some minutes; with BENCH=--help: what can be chosen
	@$(PYTHON) -m tools.install bench
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(DEVELOPMENT)  ## build the documentation as a site, in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going --quiet docs docs/_build/html

venv: $(DEVELOPMENT)  ## make .venv, with all that development needs

clean:  ## remove the environments, caches and builds
	rm -rf .venv .venv-3.* build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml
	@$(PYTHON) -m tools.install venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEVELOPMENT): pyproject.toml $(RUNTIME)
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev --group docs
	@touch $@
