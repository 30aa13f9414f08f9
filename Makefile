# n3denoise: what one does with it. Each target sets up what it needs; Python 3.11 is all a machine must have.

PYTHON ?= python3.11
BIN := .venv/bin

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/'

serve: .venv/served ## set all up and serve on http://127.0.0.1:8000
	$(BIN)/n3denoise serve

test: check ## set all up, check, and run the everyday tests
	$(BIN)/pytest

check: .venv/tested ## lint, format and types; never edits
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/tested ## format, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: .venv/served ## train on image folders (make train DATA="a b --max-minutes 60")
	$(BIN)/n3denoise train $(DATA) -o runs/default

bench: .venv/benched ## compare with other denoisers, and dtypes on a folder (SET12=...); writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.peers $(if $(SET12),--set12 $(SET12))

load: .venv/tested ## overload, fairness and hang-ups against a real server; writes benchmarks/LOAD.md
	$(BIN)/python -m benchmarks.load

endurance: .venv/tested ## 20 terminations, a soak and 100,000 bad requests; writes benchmarks/ENDURANCE.md
	$(BIN)/python -m benchmarks.endurance

studies: .venv/tested ## run the studies; writes docs/studies/
	$(BIN)/python -m studies

.venv/bin/pip:
	$(PYTHON) -m venv .venv

# A stamp each for what a target needs installed, newer than the versions it was installed from.
.venv/served: .venv/bin/pip pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

.venv/tested: .venv/bin/pip pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@ .venv/served

.venv/benched: .venv/bin/pip pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev,bench]'
	@touch $@ .venv/tested .venv/served

.PHONY: help serve test check fix train bench load endurance studies
