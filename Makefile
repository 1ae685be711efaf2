# Two words do everything on a fresh machine: `make search` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: search test check setup

setup: $(BIN)/.ready

$(BIN)/.ready: pyproject.toml constraints.txt tests/peers.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps --requirement tests/peers.txt
	touch $@

search: setup
	$(BIN)/nas run studies/digits.toml

test: setup
	$(BIN)/pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest
