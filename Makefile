# Two commands matter: `make demo` and `make test`. Both set everything up themselves.
PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests at a time: most of them wait for a process, a timer or a lease.
JOBS ?= 5

# Dozens of processes import the same modules, and so does each sandbox of a workflow: compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-full test-real explore test-faults test-faults-quick screenshots lint lock clean
.PHONY: bench bench-replacement bench-fleet bench-history bench-startup bench-report

setup: $(VENV)/.ready

# Every package comes from the lock, by hash, as a wheel; the project itself is installed in place.
# What is never imported need not be compiled. (worker.py is copied by the editable install: a new one has to be copied anew.)
$(VENV)/.ready: requirements.lock pyproject.toml worker.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python has no venv or no pip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --only-binary :all: --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/replace-etcd demo $(ARGS)

test: setup lint
	$(BIN)/python -m pytest --numprocesses=$(JOBS) $(ARGS)

# Everything, with a real control plane and releases of etcd where KUBEBUILDER_ASSETS and ETCD_ASSETS name them.
test-full: setup lint
	REPLACE_ETCD_TEST_FULL=1 $(BIN)/python -m pytest --numprocesses=$(JOBS) $(ARGS)
	$(MAKE) test-real
	$(MAKE) test-faults

# What tests/e2e and tests/attacks do on the simulated control plane, on the real one as well.
test-real: setup
	@if [ -z "$$KUBEBUILDER_ASSETS" ]; then echo "no real control plane: set KUBEBUILDER_ASSETS"; else \
	REPLACE_ETCD_TEST_FULL=1 REPLACE_ETCD_TEST_KUBERNETES=real $(BIN)/python -m pytest --numprocesses=2 \
	  tests/e2e tests/attacks -k "not simulated and not real" $(ARGS); fi

# Random faults, many to a run: `make explore SEEDS=100`, or `make explore SEED=7` to replay one.
SEEDS ?= 10
explore: setup
	$(BIN)/python -m tests.robustness.explorer $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

# Every cell of the fault matrix with real etcd, in a quarter of an hour; make test-faults ARGS="--lab --resume verdicts.jsonl"
# plays each one alone on a lab, which takes hours.
test-faults: setup
	$(BIN)/python -m tests.robustness.full $(ARGS)

# The same cells against the model of etcd, many to a replacement: as in `make test`.
test-faults-quick: setup
	$(BIN)/python -m tests.robustness.quick $(ARGS)

# The README's pictures of the Web UI, by the system's Chromium.
screenshots: setup
	$(BIN)/python -m tests.ui.screenshots

# Measured on a quiet machine (docs/benchmarks.md); `make bench RUNS=3` takes about a quarter of an hour.
RUNS ?= 10
DATABASE ?= 0
FLEET ?= 1 10 10real $(if $(filter 1 2 3 4,$(RUNS)),50,100 500)
BENCH := $(BIN)/python -m benchmarks

bench: bench-startup bench-history bench-replacement bench-fleet bench-report

bench-replacement: setup
	$(BENCH) replacement --runs $(RUNS) --database-size $(DATABASE) \
	  --name replacement$(if $(filter-out 0,$(DATABASE)),-$(DATABASE)) $(ARGS)

bench-fleet: setup
	$(BENCH) fleet --sizes $(FLEET)

bench-history: setup
	$(BENCH) history

bench-startup: setup
	$(BENCH) startup --runs $(RUNS)

bench-report: setup
	$(BENCH) report

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Both locks hold for every supported CPython, on x86-64 and arm64: `--universal` writes markers, not one machine's
# choice. Pins stay as they are; `make lock ARGS=--upgrade` moves them.
COMPILE := pip compile --quiet --universal --generate-hashes --python-version 3.11 --only-binary :all: \
	--no-emit-index-url --no-header $(ARGS) pyproject.toml

lock:
	@command -v $(UV) >/dev/null || { echo "uv is needed to make the locks; name one with: make lock UV=path/to/uv" >&2; exit 1; }
	$(UV) $(COMPILE) --all-extras --output-file requirements.lock
	$(UV) $(COMPILE) --extra api --extra postgres --constraint requirements.lock --output-file requirements-runtime.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
