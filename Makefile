# Everyday tasks. Every target installs what it needs into .venv; a machine needs nothing but Python 3.11.

PYTHON ?= python3.11
BIN := .venv/bin

help: ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/'

serve: .venv/served ## start the service on http://127.0.0.1:8000
	$(BIN)/n3denoise serve

test: check ## run all checks and the everyday tests
	$(BIN)/pytest

check: .venv/tested ## check lint, format, types, import directions and spelling; never edits
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

fix: .venv/tested ## format, and fix what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: .venv/served ## train on image folders: make train DATA="folder folder --max-minutes 60"
	$(BIN)/n3denoise train $(DATA) -o runs/default

bench: .venv/benched ## compare with other denoisers, and precisions on a folder (SET12=...); writes benchmarks/results/comparison.md
	$(BIN)/python -m benchmarks.quality.comparison $(if $(SET12),--set12 $(SET12))

load: .venv/tested ## measure overload, fairness and disconnects on a real server; writes benchmarks/results/load.md
	$(BIN)/python -m benchmarks.serving.load

endurance: .venv/tested ## run 20 terminations, a soak test and 100,000 bad requests; writes benchmarks/results/endurance.md
	$(BIN)/python -m benchmarks.serving.endurance

studies: .venv/tested ## run the studies; writes docs/studies/
	$(BIN)/python -m studies

lock: .venv/bin/pip ## write docker/requirements.lock, the versions and hashes for the container, from requirements.lock
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	CUSTOM_COMPILE_COMMAND="make lock" .venv/lock/bin/pip-compile --quiet --generate-hashes --strip-extras --no-annotate \
	  --no-emit-options --no-emit-index-url --no-emit-find-links --build-deps-for wheel --unsafe-package torch \
	  --constraint requirements.lock --output-file docker/requirements.lock pyproject.toml

.venv/bin/pip:
	$(PYTHON) -m venv .venv

# One stamp file for each set of packages. It is newer than the files that name the packages, or they are installed again.
.venv/served: .venv/bin/pip pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

.venv/tested: .venv/bin/pip pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@ .venv/served

.venv/benched: .venv/bin/pip pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev,bench]'
	@touch $@ .venv/tested .venv/served

.PHONY: help serve test check fix train bench load endurance studies lock
