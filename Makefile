# make demo    enumerate every region of a digits network: a table and a picture, no torch
# make test    the whole test suite, in an environment of its own
# make lint    format, lint, import contracts, types, sizes
# make docs    the documentation, in docs/_build/html
# make clean   remove what builds and checks leave behind; runs/ and .venv stay
#
# Each target makes its environment if there is none, and installs again only when pyproject.toml
# or constraints.txt changed. PYTHON=python3.12 or VENV=/some/where choose another one.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint docs clean install-plot install-test install-docs

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: install-plot
	$(BIN)/byways regions --example digits --run-dir runs/digits --plot runs/digits.png

test: install-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

slow: install-test
	$(BIN)/python -m pytest -n $(JOBS) -m slow $(PYTEST_ARGS)

lint: install-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python tools/sizes.py

docs: install-docs
	$(BIN)/sphinx-build -W -n --keep-going -q -b html docs docs/_build/html
	@echo "The documentation is in docs/_build/html/index.html"

clean:
	rm -rf build dist docs/_build docs/gallery docs/sg_execution_times.rst
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests tools benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

install-plot: $(VENV)/.installed-plot
install-test: $(VENV)/.installed-test
install-docs: $(VENV)/.installed-docs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "byways needs Python 3.11 or newer; choose one with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-plot: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[plot]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[all,test]'
	@touch $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[all,docs]'
	@touch $@
