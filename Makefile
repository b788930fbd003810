# Needs make and Python 3.11 or later, nothing else. Every target does its own set-up.

PYTHON ?= python3
VERSIONS := 3.11 3.12 3.13
PINS := requirements/dev.txt
# Two workers: the suite waits for real sockets and processes as often as for the processor.
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all coverage lint format bench mutants docs pins clean

help:
	@echo "make demo      bare httpx2, a stack glued by hand and Holdfast against failing servers"
	@echo "make test      the tests"
	@echo "make coverage  the tests, and which branches of the package none of them takes"
	@echo "make test-all  the tests on each of Python $(VERSIONS) that is installed"
	@echo "make lint      ruff, mypy, pyright on what users see, and the import rules"
	@echo "make format    let ruff format and mend what it can"
	@echo "make bench     the benchmarks, as ratios to bare httpx2"
	@echo "make mutants   break the core in every small way, and see which of it no test notices"
	@echo "make docs      the documentation, into build/site; also writes what it takes from the code"
	@echo "make venv      only .venv, with everything a developer needs"
	@echo "make pins      pin the newest versions in $(PINS)"
	@echo "make clean     remove the environments and what the tools left behind"

venv: .venv/.ready

# One rule for .venv (python from PYTHON) and for .venv-3.x; the stamp is older than its inputs when they change.
.venv/.ready: $(PINS) pyproject.toml scripts/make-venv
	@scripts/make-venv .venv "$(PYTHON)"

.venv-%/.ready: $(PINS) pyproject.toml scripts/make-venv
	@scripts/make-venv .venv-$* python$*

demo: .venv/.ready
	@.venv/bin/holdfast demo

test: .venv/.ready
	@.venv/bin/python -m pytest -n $(PYTEST_WORKERS) $(ARGS)

# Apart from the tests: measuring every server that they start takes as long as running them.
coverage: .venv/.ready
	@.venv/bin/python -m pytest -n $(PYTEST_WORKERS) --cov --cov-report=term $(ARGS)

test-all:
	@scripts/test-all $(VERSIONS) -- -n $(PYTEST_WORKERS) $(ARGS)

lint: .venv/.ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/basedpyright --pythonpath .venv/bin/python --project tests/service/typed
	.venv/bin/lint-imports

format: .venv/.ready
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench: .venv/.ready
	@.venv/bin/python benchmarks/run.py $(ARGS)

# Takes an hour. Interrupted, it goes on where it was; ARGS="holdfast.core.retry*" takes a part. `make clean` starts anew.
mutants: .venv/.ready
	@nice -n 19 .venv/bin/python scripts/mutants run --max-children $(PYTEST_WORKERS) $(ARGS)
	@.venv/bin/python scripts/mutants unexplained

docs: .venv/.ready
	@.venv/bin/python -m scripts.docs.build $(ARGS)

# Universal: one file for every supported Python and platform. No index, no links: where packages come from is the machine's business.
pins: .venv/.ready
	.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --strip-extras \
	    --no-header --extra all pyproject.toml requirements/dev.in --output-file $(PINS)
	.venv/bin/python scripts/check-pins $(PINS)

clean:
	rm -rf .venv .venv-3.* build dist htmlcov .coverage .coverage.* coverage.xml
	rm -rf mutants .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
