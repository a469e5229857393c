# `make demo` and `make test` do everything on a fresh machine: own virtual environment, install, run.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test test-fast lint format docs clean

$(STAMP): requirements.txt pyproject.toml
	@echo "installing TensorFlow and the rest into $(VENV): this takes a few minutes; pip prints nothing"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -r requirements.txt
	PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --no-deps --editable .
	touch $(STAMP)

# The whole method on the digits, with 5 labels per class. A finished stage is not run again.
DEMO := runs/demo
demo: $(STAMP)
	$(PY) train.py --mode=supervised --recipe=digits_supervised --model_dir=$(DEMO)/supervised
	$(PY) train.py --mode=pretrain --recipe=digits_demo --labels_per_class=5 --model_dir=$(DEMO)/pretrain
	$(PY) train.py --mode=finetune --recipe=digits_finetune --init=$(DEMO)/pretrain --head_layer=0 --model_dir=$(DEMO)/finetune-layer0
	$(PY) train.py --mode=finetune --recipe=digits_finetune --init=$(DEMO)/pretrain --head_layer=1 --model_dir=$(DEMO)/finetune-layer1
	$(PY) train.py --mode=distill --recipe=digits_distill --teacher=$(DEMO)/finetune-layer1 --model_dir=$(DEMO)/distill
	$(PY) -m simclr_keras.tools.report $(DEMO) --out=$(DEMO)/report.png
	$(PY) export.py --run=$(DEMO)/distill --out=exports/digits --overwrite
	$(PY) examples/classify_digit.py exports/digits

test: $(STAMP) lint
	$(PY) -m pytest -n 2 --dist loadfile

test-fast: $(STAMP)
	$(PY) -m pytest -n 2 --dist loadfile -m "not slow"

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
