# Two commands do all: `make demo` and `make test`. PYTHON=python3.13 make … uses another Python in a venv of its own.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# A pyenv shim may know the version without having it selected; then the newest installed one of that version is taken.
INTERPRETER := $(shell $(PYTHON) -c 'import sys; print(sys.executable)' 2>/dev/null || \
  ls -d $$(pyenv root 2>/dev/null)/versions/$(patsubst python%,%,$(notdir $(PYTHON)))*/bin/$(notdir $(PYTHON)) 2>/dev/null | tail -1)
VERSION := $(shell $(INTERPRETER) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV ?= .venv$(if $(filter-out 3.11,$(VERSION)),-$(VERSION))
CHECK_VENV := .venv-check
TPU_VENV := .venv-tpu
BIN := $(VENV)/bin
SEED ?= 0

.PHONY: help setup demo test test-thorough test-slow test-product test-own-interfaces test-workers test-tpu accelerator test-versions \
  benchmark check format clean

help:
	@echo "make demo       set up, train CartPole, Acrobot and MountainCar in one network, evaluate, export (SEED=0)"
	@echo "make test       set up, run the tests"
	@echo "make test-thorough  further cases of the same tests"
	@echo "make test-slow  the learning tests that take minutes"
	@echo "make test-product  every head with every aggregator and replay: trained, saved, on replicas, compiled for a TPU (hours)"
	@echo "make test-own-interfaces  the tests as they run where tf-agents cannot be installed"
	@echo "make test-workers  several processes as one run: their weights, one killed, resumed (ten minutes)"
	@echo "make test-tpu   compile the training step for a TPU that need not be there (installs JAX and libtpu)"
	@echo "make accelerator  run the in-graph training loops by JAX without TensorFlow, here on the CPU"
	@echo "make test-versions  some tests with the oldest and the newest Keras and TensorFlow (installs both, 5 GB)"
	@echo "make benchmark  speed beside tf-agents and Stable-Baselines3, also on images (installs the latter, with torch)"
	@echo "make check      lint, format and types"
	@echo "make format     fix lint and format"
	@echo "make setup      only set up; PYTHON=python3.13 for another Python"

setup: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@test -n "$(VERSION)" || { echo "There is no Python at '$(PYTHON)'. Give one of 3.11 to 3.13: PYTHON=python3.11 make setup"; exit 1; }
	@$(INTERPRETER) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "mtq needs Python 3.11, 3.12 or 3.13. '$(PYTHON)' is $(VERSION). Give another: PYTHON=python3.11 make setup"; exit 1; }
	@echo "Setting up $(VENV) with Python $(VERSION); this takes a minute or two."
	$(INTERPRETER) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: setup
	$(BIN)/python recipes/classic_control.py --seed $(SEED) --overwrite

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-thorough: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "thorough and not slow"

test-slow: setup
	$(BIN)/python -m pytest -m "slow and not product"

test-product: setup $(TPU_VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m product
	$(BIN)/python -m tests.tpu.lower build/tpu_product ".*"
	$(TPU_VENV)/bin/python -m tests.tpu.compile build/tpu_product

test-own-interfaces: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal --without-tf-agents $(TESTS)

test-workers: setup
	$(BIN)/python -m pytest -m slow tests/slow/multi_worker_test.py -k "2 and killed or end_where"

$(TPU_VENV)/.installed: requirements-tpu.txt
	$(INTERPRETER) -m venv $(TPU_VENV)
	$(TPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-tpu.txt
	@touch $@

test-tpu: setup $(TPU_VENV)/.installed
	$(BIN)/python -m tests.tpu.lower build/tpu
	$(TPU_VENV)/bin/python -m tests.tpu.compile build/tpu

accelerator: setup $(TPU_VENV)/.installed
	$(BIN)/python -m tests.accelerator.lower build/accelerator
	JAX_PLATFORMS=cpu $(TPU_VENV)/bin/python -m tests.accelerator.run build/accelerator

# The oldest and the newest Keras and TensorFlow that setup.cfg allows; all other packages as in constraints.txt.
STACK := keras|tensorflow|tensorboard|tf[-_]keras

.venv-oldest/.installed .venv-newest/.installed: .venv-%/.installed: setup.cfg constraints.txt
	$(INTERPRETER) -m venv .venv-$*
	grep -vE '^($(STACK))==' constraints.txt > .venv-$*/constraints.txt
	$(if $(filter oldest,$*),sed -nE 's/^ +($(STACK))>=([0-9.]+).*/\1==\2/p' setup.cfg >> .venv-$*/constraints.txt)
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-$*/constraints.txt -e '.[test]'
	@touch $@

test-versions: .venv-oldest/.installed .venv-newest/.installed
	for venv in oldest newest; do \
	  .venv-$$venv/bin/python -m pip list --disable-pip-version-check | grep -E '^($(STACK)) ' && \
	  .venv-$$venv/bin/python -m pytest tests/keras_internals_test.py tests/import_test.py tests/old_files_test.py \
	    tests/conformance/networks_test.py tests/storage/saving_test.py tests/learning/progress_test.py || exit 1; \
	done

.venv-benchmarks/.installed: requirements-benchmarks.txt
	$(INTERPRETER) -m venv .venv-benchmarks
	.venv-benchmarks/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-benchmarks.txt
	@touch $@

benchmark: setup .venv-benchmarks/.installed
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.images
	$(BIN)/python -m benchmarks.images --suite atari

$(CHECK_VENV)/.installed: requirements-check.txt
	$(INTERPRETER) -m venv $(CHECK_VENV)
	$(CHECK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-check.txt
	@touch $@

check: $(CHECK_VENV)/.installed
	$(CHECK_VENV)/bin/ruff check .
	$(CHECK_VENV)/bin/ruff format --check .
	$(CHECK_VENV)/bin/mypy

format: $(CHECK_VENV)/.installed
	$(CHECK_VENV)/bin/ruff check --fix .
	$(CHECK_VENV)/bin/ruff format .

clean:
	rm -rf .venv* build *.egg-info
