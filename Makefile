# make demo   set up, run a real miner against bundled queries, score it, write out/demo/
# make test   set up, run the tests
# make lint   style and types
# make clean  take away the virtual environment and what was written

PYTHON ?= $(shell command -v python3.12 || command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint clean setup

setup: .venv/.core

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else f"Python 3.11 or 3.12 is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.12")'
	$(PYTHON) -m venv .venv

.venv/.core: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable .
	@touch $@

# The tests cover the classifier extra and the training script, so they need torch as well.
.venv/.test: .venv/.core
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[classifier,train,test]'
	@touch $@

demo: .venv/.core
	$(BIN)/natix-miner demo

test: .venv/.test
	$(BIN)/python -m pytest

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy natix_miner

clean:
	rm -rf .venv out
