PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PEERS := benchmarks/peers/.venv/ready
RESULTS := benchmarks/results

.PHONY: install demo test test-all lint bench clean

install: $(READY)

# torch comes first and alone, by exact version: a range resolves to a build with gigabytes of CUDA.
$(READY): setup.cfg setup.py constraints.txt $(wildcard memformer/memory/*.cpp memformer/memory/*.h)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,hf,rate]'
	touch $@

demo: $(READY)
	$(BIN)/python experiments/demo.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not gpu" --cov=memformer --cov-fail-under=90 --cov-report=term:skip-covered

test-all: lint
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray,slurm]'
	$(BIN)/python -m pytest

# the peer's environment is its own: its requirements do not fit ours
$(PEERS): benchmarks/peers/install.py constraints.txt
	$(PYTHON) benchmarks/peers/install.py
	touch $@

bench: $(READY) $(PEERS)
	$(BIN)/python benchmarks/search.py $(RESULTS)/search.json
	$(BIN)/python benchmarks/search.py $(RESULTS)/search.json --pairs 16384 65536 --keys novel
	$(BIN)/python benchmarks/search.py $(RESULTS)/search.json --queries 1 --pairs 1024 16384 131072
	$(BIN)/python benchmarks/train_step.py $(RESULTS)/train_step.json
	$(BIN)/python benchmarks/profile_steps.py $(RESULTS)/profile_steps.json
	$(BIN)/python benchmarks/peers/memorizing.py $(RESULTS)/memorizing.json
	$(BIN)/python benchmarks/decode.py $(RESULTS)/decode.json
	$(BIN)/python benchmarks/decode.py $(RESULTS)/decode.json --kv-heads 1
	$(BIN)/python benchmarks/fork_and_save.py $(RESULTS)/fork_and_save.json
	$(BIN)/python benchmarks/read_novel.py $(RESULTS)/read_novel.json
	$(BIN)/python benchmarks/table.py

clean:
	rm -rf $(VENV) benchmarks/peers/.venv build dist *.egg-info
