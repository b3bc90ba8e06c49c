# The commands of the house. Everything happens in .venv; `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install
BENCHMARKS := cold switch mixed tax overhead join preview encode cost

.DEFAULT_GOAL := help
.PHONY: help run test check bench

help: ## lists these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

run: .venv/run.stamp ## serves on http://127.0.0.1:8080; PORT=9000 moves it
	@exec $(BIN)/imagegen serve

test: .venv/test.stamp ## runs every test
	$(BIN)/python -m pytest -m "not alone" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest -m alone

check: .venv/test.stamp ## lint, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/run.stamp ## measures, on a machine that does nothing else: twenty minutes on two cores
	for name in $(BENCHMARKS); do $(BIN)/python -m bench.$$name || exit 1; done
	$(BIN)/python -m bench.report

# Each stamp is younger than what it was installed from, so a second run installs nothing.
.venv/run.stamp: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imagegen needs Python 3.11 or newer; say which with: make PYTHON=python3.11")'
	@echo "Installing into .venv, once: this takes a few minutes"
	$(PYTHON) -m venv .venv
	$(PIP) --requirement requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test.stamp: .venv/run.stamp tests/requirements.txt
	$(PIP) --requirement requirements.txt --requirement tests/requirements.txt
	@touch $@
