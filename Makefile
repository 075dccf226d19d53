# Few verbs. `make help` lists them; CONTRIBUTING.md tells which one to run when.
# Needs Python >= 3.11 and, for the compiled wheel only, a C compiler and Python's headers.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUN    := $(BIN)/python
ARGS   ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check coverage test-compiled docs wheel conformance bench clean

help: ## list the verbs
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.ready ## checkouts go on while a worker and the primary are killed, in this terminal
	@$(BIN)/seawall demo $(ARGS)

test: $(VENV)/.ready-test ## run the test suite (ARGS="-k breaker" passes options to pytest)
	$(RUN) -m pytest $(ARGS)

check: $(VENV)/.ready-check ## lint, formatting, types, import contracts
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	for program in examples/*/main.py; do [ ! -e "$$program" ] || $(RUN) -m mypy "$$program" || exit 1; done
	$(BIN)/lint-imports --no-logo

coverage: $(VENV)/.ready-test ## demand full branch coverage of the pure packages by their own tests
	$(RUN) -m tests.repo.coverage_gate $(ARGS)

test-compiled: wheel $(VENV)/.ready-test ## run the compiled files' tests against the compiled wheel
	$(RUN) -m tests.repo.run_compiled $(ARGS)

docs: $(VENV)/.ready-docs ## build the documentation into build/docs, warnings fatal
	$(RUN) -m sphinx -W --keep-going --quiet -b html -d build/doctrees docs build/docs
	@echo "open build/docs/index.html"

# Both wheels are built from an unpacked sdist: the mypyc hook compiles in place and moves pyproject.toml aside
# while it works, neither of which may happen to the tree that somebody is editing.
wheel: $(VENV)/.ready-build ## build dist/: sdist, pure wheel, compiled wheel
	@$(RUN) -m tests.repo.toolchain
	rm -rf dist build/compiled-wheel
	$(RUN) -m build --no-isolation --outdir dist .
	HATCH_BUILD_HOOK_ENABLE_MYPYC=true $(RUN) -m build --no-isolation --outdir build/compiled-wheel .
	mv build/compiled-wheel/*.whl dist/
	rm -rf build/compiled-wheel
	@ls -l dist

conformance: $(VENV)/.ready-test ## run foreign clients' own suites through the proxy (fetches them; ARGS="sqlalchemy django psycopg ...")
	$(RUN) -m tests.conformance.peers $(ARGS)

bench: ## tell how to run the benchmarks
	@echo "Benchmarks run one at a time, on an otherwise idle machine:"
	@echo "  $(RUN) -m pip install --group bench      (once: the rivals)"
	@for file in benchmarks/*.py; do \
		name=$$(basename "$$file" .py); \
		if grep -q '__main__' "$$file"; then echo "  $(RUN) -m benchmarks.$$name [--quick] [--json]"; fi; \
	done
	@echo "Full results are kept in benchmarks/results/."

clean: ## remove what the other verbs made, the virtual environment included
	rm -rf $(VENV) build dist docs/_build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp per dependency group, older than pyproject.toml when that has changed.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Seawall needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -c 'import ensurepip, venv; ensurepip.version()' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once)"
	@$(RUN) -m pip install --quiet 'pip>=25.1'
	@touch $@

$(VENV)/.ready: pyproject.toml $(VENV)/.created
	@$(RUN) -m pip install --quiet --editable ".[proxy,embedded,telemetry]"
	@touch $@

$(VENV)/.ready-%: pyproject.toml $(VENV)/.created
	@$(RUN) -m pip install --quiet --editable ".[proxy,embedded,telemetry]" --group $*
	@touch $@
