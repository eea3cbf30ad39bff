# make run   environment, train the default model, analyse it: runs/mainline/
# make check environment, lint, format, types, the fast tests: about a minute
# make test  environment, lint, format, types, all tests
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: run lint check test env clean-env

run: .venv/ready
	$(PY) -m experiments.train --workdir runs/mainline
	$(PY) -m experiments.analyze --workdir runs/mainline

lint: .venv/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The tests' compiled programs are kept: what has not changed is not compiled again.
TESTS := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.cache/tests JAX_COMPILATION_CACHE_MAX_SIZE=1000000000 \
  $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: lint
	$(TESTS) -m "not slow"

test: lint
	$(TESTS)

env: .venv/ready

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "error: cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	.venv/bin/pip install --quiet --upgrade pip
	.venv/bin/pip install --quiet -r requirements.txt
	@touch $@

clean-env:
	rm -rf .venv .cache
