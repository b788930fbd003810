# Needs make and Python 3.11 or later, nothing else. Every target does its own set-up.

PYTHON ?= python3
VERSIONS := 3.11 3.12 3.13
PINS := requirements/dev.txt
BENCH_PINS := requirements/bench.txt
# More workers than there may be processors: the suite waits for real sockets and processes as often as it computes. Each
# begins with a part of its own, so that what the tests of a file share is made once.
PYTEST_WORKERS ?= 4
XDIST := -n $(PYTEST_WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all coverage lint format bench peers mutants docs pins clean

help:
	@echo "make demo      bare httpx2, a stack glued by hand and Holdfast against failing servers"
	@echo "make test      the tests"
	@echo "make coverage  the tests, and which branches of the package none of them takes"
	@echo "make test-all  the tests on each of Python $(VERSIONS) that is installed"
	@echo "make lint      ruff, mypy, pyright on what users see, and the import rules"
	@echo "make format    let ruff format and mend what it can"
	@echo "make bench     the benchmarks, as ratios to bare httpx2"
	@echo "make peers     the same load by Holdfast and by the clients of others"
	@echo "make mutants   break the core in every small way, and see which of it no test notices"
	@echo "make docs      the documentation, into build/site; also writes what it takes from the code"
	@echo "make venv      only .venv, with everything a developer needs"
	@echo "make pins      pin the newest versions in $(PINS) and $(BENCH_PINS)"
	@echo "make clean     remove the environments and what the tools left behind"

venv: .venv/.ready

# One rule for .venv (python from PYTHON) and for .venv-3.x; the stamp is older than its inputs when they change.
.venv/.ready: $(PINS) pyproject.toml scripts/make-venv
	@scripts/make-venv .venv "$(PYTHON)"

.venv-%/.ready: $(PINS) pyproject.toml scripts/make-venv
	@scripts/make-venv .venv-$* python$*

# The clients of others, apart from a developer's packages: niquests replaces urllib3. Without the project itself.
.venv-bench/.ready: $(BENCH_PINS) scripts/make-venv
	@scripts/make-venv .venv-bench "$(PYTHON)" $(BENCH_PINS)

demo: .venv/.ready
	@.venv/bin/holdfast demo

test: .venv/.ready
	@.venv/bin/python -m pytest $(XDIST) $(ARGS)

# Apart from the tests: measuring every server that they start takes as long as running them.
coverage: .venv/.ready
	@.venv/bin/python -m pytest $(XDIST) --cov --cov-report=term $(ARGS)

test-all:
	@scripts/test-all $(VERSIONS) -- $(XDIST) $(ARGS)

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

# ARGS="--quick" takes two minutes; ARGS="--html FILE" makes a page of it.
peers: .venv/.ready .venv-bench/.ready
	@.venv/bin/python benchmarks/peers.py $(ARGS)

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
	.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --strip-extras \
	    --no-header requirements/bench.in --output-file $(BENCH_PINS)
	.venv/bin/python scripts/check-pins $(PINS) $(BENCH_PINS)

clean:
	rm -rf .venv .venv-3.* .venv-bench build dist htmlcov .coverage .coverage.* coverage.xml
	rm -rf mutants .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
