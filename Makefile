# make setup    everything that is needed: Debian packages, .venv, the football engine (about 5 minutes, once)
# make demo     trains a scorer, evaluates it and writes a video
# make test     the tests that take seconds;  make test-all adds the slow ones
# make docs     the documentation site, into site/
# make audit    the curiosity audit in two minutes;  make lint     ruff
# make clean    removes what setup and the tests made, but not runs/ and not the built engine
#
# PYTHON=python3.12 make setup chooses the Python that .venv is made from.

SHELL := /bin/bash
BIN := .venv/bin
PYTEST := $(BIN)/pytest -q --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: setup demo test test-all docs lint audit clean

setup:
	@bash scripts/setup.sh

demo: setup
	$(BIN)/touchline demo

test: setup
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST)

docs: setup
	$(BIN)/python scripts/docs_tables.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html; with its search: python3 -m http.server --directory site"

audit: setup
	$(BIN)/touchline curiosity-audit --quick

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .ruff_cache
	find touchline tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
