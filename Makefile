# Auricle's everyday commands; `make help` lists them. Needs python3 (3.11 or newer), git and nothing else.

.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# Set-up is done again when a pinned file, the project file or the installer changes; else it costs nothing.
$(VENV)/.installed-%: requirements/%.txt requirements/bootstrap.txt requirements/install.sh pyproject.toml
	@requirements/install.sh $*

.PHONY: help demo setup test lint types lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s%s\n", $$1, $$2 }'

demo: $(VENV)/.installed-runtime ## the main job on bundled recordings; live: make demo ARGS="--source mic"
	@$(BIN)/auricle demo $(ARGS)

setup: $(VENV)/.installed-train ## only install, with what training needs; then .venv/bin/auricle
	@$(BIN)/auricle --version

test: lint types ## lint, types and all tests; ARGS go to pytest
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-dev ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## mypy --strict
	$(BIN)/mypy

lock: $(VENV)/.installed-dev ## pin all dependencies again
	@requirements/compile.sh

clean: ## remove .venv and everything built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
