# Everything a newcomer needs: make run, make test, make demo. Needs Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Warnings are errors in our own code; the package manager's notices are not ours.
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run demo test check format lint types imports unit acceptance lock sbom audit clean

help:  ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.run: requirements/run.txt pyproject.toml setup.py $(wildcard src/memrouter/native/*.pyx)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.audit: requirements/audit.txt $(VENV)/.run
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/audit.txt
	@touch $@

run: $(VENV)/.run  ## Start the router on 127.0.0.1:8484
	$(BIN)/memrouter serve

demo: $(VENV)/.run  ## See a memory last across conversations and a restart; needs no provider key
	$(BIN)/memrouter demo

check: $(VENV)/.dev  ## Format, lint, types, imports, unit, contract and integration tests
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -n 2 tests/unit tests/contract tests/integration

test: check  ## All that CI runs: check, and acceptance with real servers and SDKs
	$(BIN)/pytest tests/acceptance

format: $(VENV)/.dev  ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix src tests bench
	$(BIN)/ruff format src tests bench

lock: $(VENV)/.dev  ## Pin requirements anew
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  pyproject.toml requirements/build.in -o requirements/run.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --group dev pyproject.toml requirements/build.in -c requirements/run.txt -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 requirements/audit.in -o requirements/audit.txt

sbom: $(VENV)/.audit  ## Write dist/sbom.json, a bill of materials of what is pinned (CycloneDX)
	mkdir -p dist
	$(VENV)/audit/bin/python -W ignore -m cyclonedx_py requirements requirements/run.txt \
	  --pyproject pyproject.toml --output-reproducible -o dist/sbom.json

audit: $(VENV)/.audit  ## Look for known vulnerabilities of what is pinned, where the data can be had
	$(BIN)/python -m bench.drills.audit $(VENV)/audit/bin/pip-audit

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
