# make run   environment, train the default model, analyse it, draw and report: runs/mainline/
# make results  the pages docs/results/*.md from the records in results/
# make check environment, lint, format, types, the fast tests: a minute and a half
# make test  environment, lint, format, types, all tests
# make test-newest  environment, the fast tests and those of proofs: for a new release of Python or jax
# make docs  the site of docs/, in site/: built without network, by an environment of its own
# With PYTHON=python3.13 VENV=.venv-3.13 any of them uses that Python, in an environment of its own.
PYTHON ?= python3
VENV ?= .venv
DOCS_VENV ?= .venv-docs
PY := $(VENV)/bin/python
VERSIONS := $(PY) -c "import sys, jax; print('Python', sys.version.split()[0], 'with jax', jax.__version__)"
# The tests' compiled programs are kept: what has not changed is not compiled again. Without a limit of size,
# for which jax locks the cache and reads the whole directory at every program.
PYTEST := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.cache/tests \
  $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PROOFS := tests/test_certificates tests/test_checker tests/test_commands/test_certify.py tests/test_studies/test_frontier.py

.PHONY: run lint check test test-newest docs env clean-env

run: $(VENV)/ready
	$(PY) -m experiments.reproduce --workdir runs/mainline

.PHONY: results
results: $(VENV)/ready
	$(PY) -m experiments.results

lint: $(VENV)/ready
	@$(VERSIONS)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

check: lint
	$(PYTEST) -m "not slow"

test: lint
	$(PYTEST)

test-newest: $(VENV)/ready
	@$(VERSIONS)
	$(PYTEST) -m "not slow"
	$(PYTEST) -m slow $(PROOFS)

docs: $(DOCS_VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/python -m mkdocs build --quiet
	@echo "open site/index.html; for its search: $(DOCS_VENV)/bin/python -m http.server -d site"

env: $(VENV)/ready

$(VENV)/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "error: cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -r requirements.txt
	@touch $@

# What builds the site reads the docstrings and imports nothing of the package: its environment is small.
$(DOCS_VENV)/ready: pyproject.toml
	@$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet $$($(DOCS_VENV)/bin/python -c \
	  "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'])")
	@touch $@

clean-env:
	rm -rf $(VENV) $(DOCS_VENV) .cache site
