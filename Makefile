# make demo   set up, run a real miner against bundled queries, score it, write out/demo/
# make demo-vlm  the same with a vLLM server on the CPU as last level (scripts/install_vllm.sh --cpu)
# make test   set up, run the tests
# make soak   break things on purpose for MINUTES=20 and tell how it was taken
# make lint   style and types
# make audit  known holes in the pinned packages
# make clean  take away the virtual environment and what was written

# The first of these that runs and is of a version we support; `make PYTHON=...` takes another.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.11 python3.12; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && command -v $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: audit clean demo demo-vlm lint setup soak test

setup: .venv/.core

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.12"; exit 1; }
	"$(PYTHON)" -m venv .venv

.venv/.core: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable .
	@touch $@

# The tests cover the detectors and the training scripts, so they need torch as well. ultralytics comes
# without its dependencies: opencv-python would overwrite opencv-python-headless and want libGL.
.venv/.test: .venv/.core
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[detectors,memory,train,test]'
	$(PIP) --no-deps ultralytics ultralytics-thop polars polars-runtime-32 psutil
	@touch $@

demo: .venv/.core
	$(BIN)/natix-miner demo

demo-vlm: .venv/.core
	@test -x .venv-vllm/bin/vllm || { echo "vLLM is missing: scripts/install_vllm.sh --cpu"; exit 1; }
	$(BIN)/natix-miner demo --profile configs/embedded-vlm.yaml --out out/demo-vlm

# What measures times or starts servers runs by itself, the rest in two processes.
test: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy natix_miner

# Things are broken on purpose, in turn, for so many minutes (docs/soak.md).
MINUTES ?= 20
soak: .venv/.test
	@mkdir -p out
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --json out/soak.json

# Known holes in what is pinned; needs the internet. --strict: no answer is no pass.
audit: .venv/bin/python
	$(BIN)/python -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet pip-audit==2.10.1
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt

clean:
	rm -rf .venv out
