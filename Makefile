# `make demo` and `make test` do everything on a fresh machine: own virtual environment, install, run.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTEST := $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-thorough test-fast test-portable wheel-test lint format docs clean

$(STAMP): requirements.txt pyproject.toml
	@echo "installing TensorFlow and the rest into $(VENV): this takes a few minutes; pip prints nothing"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -r requirements.txt
	PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --no-deps --editable .
	touch $(STAMP)

# The whole method on the digits, with 5 labels per class. A finished stage is not run again.
demo: $(STAMP)
	$(PY) -m simclr_keras demo

# The wheel, installed into an environment of its own, in an empty folder. The packages it needs are those of .venv.
wheel-test: $(STAMP)
	.ci/wheel-test $(abspath $(PY))

test: $(STAMP) lint
	$(PYTEST) -m "not thorough"

# The rest: tests/thorough.txt.
test-thorough: $(STAMP)
	$(PYTEST) -m thorough

test-fast: $(STAMP)
	$(PYTEST) -m "not slow and not thorough"

# As on Windows: without fcntl, without symbolic links, without flushing folders.
test-portable: $(STAMP)
	SIMCLR_TEST_AS_WINDOWS=1 $(PYTEST) -m "not slow and not thorough"

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy simclr_keras/config simclr_keras/runs

format: $(STAMP)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(STAMP)
	$(PY) docs/generate.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
