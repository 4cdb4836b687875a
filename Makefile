# make quickstart   train, evaluate and report on synthetic people, in minutes on a CPU
# make test         the tests (minutes); make test-312 runs them on Python 3.12 as well
# make check        style, formatting and types
# Each does its own set-up: python3 (3.11 or newer) and make are all that a fresh clone needs.

PYTHON ?= python3
PYTHON312 ?= python3.12
VENV ?= .venv
UV_VERSION := 0.13.8
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

STAMP := $(VENV)/installed.stamp

.PHONY: help quickstart test test-312 check format lock clean

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

quickstart: $(STAMP)
	$(VENV)/bin/oasjax train --config quickstart --workdir runs/quickstart

test: $(STAMP)
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

# The same tests in an environment of their own; the lock holds another JAX for Python 3.12.
test-312:
	@if $(PYTHON312) -c '' 2>/dev/null; then \
	  $(MAKE) test PYTHON=$(PYTHON312) VENV=.venv-312; \
	else \
	  echo "Python 3.12 is not here ($(PYTHON312) does not run): its tests are skipped."; \
	fi

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(STAMP)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# requirements.txt anew from pyproject.toml; what is in it stays where the bounds still allow it.
lock: $(STAMP)
	$(VENV)/bin/uv pip compile --universal --python-version 3.11 --no-annotate --quiet \
	  --extra tfds --extra test --extra lint --custom-compile-command "make lock" \
	  pyproject.toml --output-file requirements.txt

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "oasjax needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -r requirements.txt
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps -e .
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .venv-312 build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
