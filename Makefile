PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: install demo test test-all lint clean

install: $(READY)

# torch comes first and alone, by exact version: a range resolves to a build with gigabytes of CUDA.
$(READY): setup.cfg setup.py constraints.txt memformer/memory/_fused.cpp
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,hf]'
	touch $@

demo: $(READY)
	$(BIN)/python experiments/demo.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -m "not slow and not gpu" --cov=memformer --cov-fail-under=90 --cov-report=term:skip-covered

test-all: lint
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) build dist *.egg-info
