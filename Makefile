# `make bench` and `make test` set up all they need in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ARGS ?=
BASE ?= main
HEAD ?= HEAD
COMMITS ?= 5
MACHINE ?=
DIST ?= dist

# Measurements use one thread; a BLAS that takes all cores would distort them.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help bench tasks report paper test test-slow test-hostile test-environments test-gate lint format plots clean gate docs asv asv-here site pytest-benchmark wheels

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.bench: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[lap]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[torch,hf,study,lap,dask,asv,oracles,report,docs,test,dev]'
	@touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[docs]'
	@touch $@

$(VENV)/.report: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[lap,report]'
	@touch $@

$(VENV)/.study: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[study,lap]'
	@touch $@

$(VENV)/.asv: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[lap,asv]'
	@touch $@

bench: $(VENV)/.bench ## Measure solvers, RSM methods and metrics on shipped data; ARGS="--plugin my_solver.py" adds yours
	$(BIN)/semrsm-bench run --profile quick $(ARGS)

report: $(VENV)/.report ## One HTML page of the latest run; ARGS="RUN --out page.html" chooses
	$(BIN)/semrsm-bench report $(ARGS)

paper: $(VENV)/.bench ## The long version: every solver on all pairs, every metric in all tasks (ARGS=--estimate says how long first)
	$(BIN)/semrsm-bench run solvers metrics --profile paper $(ARGS)

tasks: $(VENV)/.study ## Every task but matching (ARGS="--profile paper" for all of it, ARGS="--plugin FILE" for methods of yours)
	$(BIN)/semrsm-bench run rsms instances metrics $(ARGS)

test: $(VENV)/.test lint ## Lint, type check and run the tests
	$(BIN)/python -m pytest -n 2 -m "not slow and not gate and not hostile and not environments" $(ARGS)

test-slow: $(VENV)/.test ## The tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

test-hostile: $(VENV)/.test ## Kills, fuzzed problems, faults of the machine (on two cores, under ten minutes)
	$(BIN)/python -m pytest -n 2 -m hostile $(ARGS)

test-environments: $(VENV)/.test ## Make the environments of all opponents (from the package index), and hold these to the optimum
	$(BIN)/semrsm-bench env create --all
	$(BIN)/python -m pytest -m environments $(ARGS)

test-gate: $(VENV)/.test ## Prove the gate in a throw-away repository: catches what it must, passes what it must (20 minutes)
	$(BIN)/python -m pytest -m gate $(ARGS)

gate: $(VENV)/.bench ## Fail when HEAD is worse than BASE: make gate BASE=main (ARGS=--help tells more)
	$(BIN)/semrsm-bench gate $(BASE) $(HEAD) $(ARGS)

asv-here: $(VENV)/.asv ## asv in this environment, results saved under the commit; ARGS="-b Quality" for a part
	@changed="$$(git status --porcelain -- semrsm_bench benchmarks data pyproject.toml constraints.txt asv.conf.json)"; \
	if [ -n "$$changed" ]; then echo "asv-here saves results under a commit; commit these first:"; echo "$$changed"; exit 2; fi
	@$(BIN)/asv machine --yes $(if $(MACHINE),--machine $(MACHINE)) > /dev/null
	$(BIN)/asv run -E existing:$(abspath $(BIN))/python --set-commit-hash "$$(git rev-parse HEAD)" $(if $(MACHINE),--machine $(MACHINE)) $(ARGS)

asv: $(VENV)/.asv ## asv in an environment of its own for each of the last COMMITS commits
	@$(BIN)/asv machine --yes $(if $(MACHINE),--machine $(MACHINE)) > /dev/null
	git rev-list --first-parent -n $(COMMITS) HEAD | $(BIN)/asv run HASHFILE:- --skip-existing-successful $(if $(MACHINE),--machine $(MACHINE)) $(ARGS)

site: $(VENV)/.asv ## Site of all asv results, without a network; look at it with: .venv/bin/asv preview
	$(BIN)/asv publish
	$(BIN)/python benchmarks/site/offline.py .asv/html

docs: $(VENV)/.docs ## The docs site, into docs/_build/html; works offline. A broken link or reference fails
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

pytest-benchmark: $(VENV)/.test ## The same cases under pytest-benchmark, into results/pytest-benchmark.json
	@mkdir -p results
	$(BIN)/python -m pytest tests/pytest_benchmarks/solvers.py --benchmark-json=results/pytest-benchmark.json \
		--benchmark-min-rounds=3 --benchmark-max-time=0.3 $(ARGS)

wheels: $(VENV)/.test ## Wheel and sdist of the package, and the wheel of its data, into dist/
	@rm -rf distributions/data/build
	$(BIN)/python -m build --quiet --no-isolation --outdir $(DIST) .
	$(BIN)/python -m build --quiet --no-isolation --wheel --outdir $(DIST) distributions/data
	@rm -rf distributions/data/build

lint: $(VENV)/.test ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the virtual environment and caches, keep results and data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
