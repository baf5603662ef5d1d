# SNAS. `make help` lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?=
PIP_FLAGS := --disable-pip-version-check --quiet -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
BIN := .venv/bin
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1
STATE ?= .snas
DATA_DIR ?= $(or $(SNAS_DATA_DIR),data)
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo serve test test-slow test-browser check docker-check bench bench-search bench-fashion bench-cnn bench-set bench-methods bench-recurrent bench-stopping bench-demo bench-peers chaos load clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables: TORCH_INDEX=<index of torch builds>  PYTHON=<python 3.11>  STATE=.snas  DATA_DIR=<data sets>  WORKERS=2"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "SNAS needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Name one: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes the first time) ..."
	$(BIN)/pip install $(PIP_FLAGS) -e .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "installing the development tools ..."
	$(BIN)/pip install $(PIP_FLAGS) -e '.[dev]'
	@touch $@

install: .venv/installed ## create .venv and install SNAS into it

demo: .venv/installed ## a real job, end to end, on handwritten digits (under 3 minutes after the install)
	$(BIN)/snas run examples/digits_mlp.json --state $(STATE) --workers $(WORKERS)

serve: .venv/installed ## a server with workers on http://127.0.0.1:8000
	$(BIN)/snas serve --state $(STATE) --workers $(WORKERS) $(if $(wildcard $(DATA_DIR)),--data-dir $(DATA_DIR))

test: .venv/installed-dev ## the test suite, on two cores
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q

test-slow: .venv/installed-dev ## the minutes-long tests: chaos with killed workers
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow -q

test-browser: .venv/installed-dev ## the pages in headless Chromium (Debian: apt-get install chromium)
	$(ONE_THREAD) $(BIN)/python -m pytest -m browser -q

check: .venv/installed-dev ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docker-check: ## build the image without an engine and run both services' commands in it
	docker/check.sh

bench: .venv/installed-dev ## training steps in every way there is, convolutions, a million neurons, the storages' crossover
	$(ONE_THREAD) $(BIN)/python -m benchmarks.steps
	$(ONE_THREAD) $(BIN)/python -m benchmarks.convolution_step
	$(ONE_THREAD) $(BIN)/python -m benchmarks.growth
	$(ONE_THREAD) $(BIN)/python -m benchmarks.rates
	$(ONE_THREAD) $(BIN)/python -m benchmarks.trials
	$(ONE_THREAD) $(BIN)/python -m benchmarks.million
	$(ONE_THREAD) $(BIN)/snas bench calibrate --state $(STATE)

bench-peers: .venv/installed-dev ## the same steps beside SparseProp and SparseLab (installs them; needs g++)
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps sparselab==0.2.2 pybind11 setuptools wheel
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation sparseprop==0.1.14
	$(ONE_THREAD) $(BIN)/python -m benchmarks.peers

bench-search: .venv/installed-dev ## whole searches against a plain Optuna + masked PyTorch script (about 15 minutes)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.search_phase --data-dir $(DATA_DIR)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.headline --data-dir $(DATA_DIR)

bench-fashion: .venv/installed-dev ## Fashion-MNIST MLP at 26,620 weights: search, confirmation (about 20 minutes)
	$(BIN)/snas run examples/fashion_mnist_mlp.json --state $(STATE) --data-dir $(DATA_DIR) --workers $(WORKERS)

bench-cnn: .venv/installed-dev ## what the density search gains on a CNN at 5 % and 2 %, three searches each (about 30 minutes)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.density_search examples/fashion_mnist_cnn.json --state $(STATE) --data-dir $(DATA_DIR) --workers $(WORKERS)

bench-set: .venv/installed-dev ## SET against static connections on 2,000 Fashion-MNIST images (about 15 minutes)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.set_against_static --data-dir $(DATA_DIR) --workers $(WORKERS)

bench-recurrent: .venv/installed-dev ## sparse recurrent networks: a language model, waveforms, a compressed step (some 12 minutes)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.recurrent_step
	$(ONE_THREAD) $(BIN)/python -m benchmarks.recurrent_waveforms --data-dir $(DATA_DIR) --workers $(WORKERS)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.recurrent_language --data-dir $(DATA_DIR) --workers $(WORKERS)

bench-methods: .venv/installed-dev ## every family of methods on real data, side by side; goes on where it was cut (about an hour)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.lenet_methods --data-dir $(DATA_DIR) --workers $(WORKERS)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.lenet_widths --data-dir $(DATA_DIR) --workers $(WORKERS)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.neurons_removed --data-dir $(DATA_DIR) --workers $(WORKERS)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.mnist1d_tickets --data-dir $(DATA_DIR) --workers $(WORKERS)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.topologies_apart --data-dir $(DATA_DIR) --workers $(WORKERS)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.regimes --state $(STATE) --data-dir $(DATA_DIR) --workers $(WORKERS)

bench-stopping: .venv/installed-dev ## early stopping by loss and by gradient flow, replayed over the same searches
	$(ONE_THREAD) $(BIN)/python -m benchmarks.stopping --state $(STATE) --data-dir $(DATA_DIR) --workers $(WORKERS)

bench-demo: .venv/installed-dev ## the demo's verdict over ten job seeds
	$(ONE_THREAD) $(BIN)/python -m benchmarks.typical_demo examples/digits_mlp.json --state $(STATE) --workers $(WORKERS)

chaos: .venv/installed-dev ## kill workers, trainers, reaper and server all the time, on both databases; TRIALS=60 for a short one
	$(ONE_THREAD) $(BIN)/python tests/journeys/chaos.py $(if $(TRIALS),--trials $(TRIALS) --digits 0)

load: .venv/installed-dev ## 200 listeners, 50 submitters, 10,000 jobs in the database; then 16 workers on one SQLite
	$(ONE_THREAD) $(BIN)/python -m benchmarks.load --keep load
	$(ONE_THREAD) $(BIN)/python -m benchmarks.sixteen --keep sixteen

clean: ## remove .venv and caches (the state directory stays)
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
