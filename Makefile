# make demo   explain two photos with the bundled model and write out what was found
# make test   lint, types, import contracts, tests with branch coverage
# Both build .venv first, on a fresh machine too; see tools/environment.sh.

PYTHON ?= python3
# Test processes side by side, one thread each; PYTEST= passes arguments on: make test PYTEST="-k occlusion"
JOBS ?= 2
PYTEST ?=

BIN := .venv/bin
SOURCES := src tests $(wildcard benchmarks) $(wildcard examples) $(wildcard tools)
RECIPE := pyproject.toml constraints.txt tools/environment.sh

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contracts format bench constraints clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "also: make lint, types, contracts, format, bench, constraints, clean"

.venv/.demo: $(RECIPE)
	@PYTHON="$(PYTHON)" bash tools/environment.sh demo

.venv/.test: $(RECIPE)
	@PYTHON="$(PYTHON)" bash tools/environment.sh test

demo: .venv/.demo
	@$(BIN)/pellucid demo

test: .venv/.test
	@PYTEST="$(PYTEST)" JOBS="$(JOBS)" bash tools/check.sh

lint: .venv/.test
	@$(BIN)/ruff check $(SOURCES); found=$$?; $(BIN)/ruff format --check $(SOURCES) && exit $$found

types: .venv/.test
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

contracts: .venv/.test
	@$(BIN)/lint-imports --no-cache --no-logo

format: .venv/.test
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

bench: .venv/.test
	@$(BIN)/python -m benchmarks docs/benchmarks.md

constraints: .venv/.test
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/pip freeze --exclude-editable | sed 's/+.*//' | LC_ALL=C sort -f; } > constraints.new
	@mv constraints.new constraints.txt

clean:
	@rm -rf .venv dist build htmlcov .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
