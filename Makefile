# Two words do everything on a fresh machine: `make search` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

# The tests by lane: quick (no server, no process, no training), test (all but the nightly ones),
# stress (processes and servers alone) and chaos (the nightly ones).
PROCESSES ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(PROCESSES) --dist worksteal

# Compiled files are kept: the tests start many processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: search quick test stress chaos check lint setup

setup: $(BIN)/.ready

$(BIN)/.ready: pyproject.toml constraints.txt tests/peers.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps --requirement tests/peers.txt
	touch $@

search: setup
	$(BIN)/nas run studies/digits.toml

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

quick: lint
	$(PYTEST) -m "not process and not server and not training and not nightly"

test: setup
	$(PYTEST)

stress: setup
	$(PYTEST) -m "(process or server) and not nightly"

chaos: setup
	$(PYTEST) -m nightly

check: lint test
