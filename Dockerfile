# The image of the service: n3denoise and its weights on a slim base, run by an unprivileged user.
#   docker build -t n3denoise .
#   docker build -t n3denoise --build-arg TORCH_INDEX_URL=… .   (another build of PyTorch: CPU only, or another CUDA version)
#   docker build -t n3denoise --build-arg BASE_IMAGE=python:3.11-slim-bookworm@sha256:… .   (a base image pinned by its digest)

ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE} AS packages
ARG TORCH_INDEX_URL=""
# The environment needs no pip of its own: that of the base image installs into it.
RUN python -m venv --without-pip /opt/n3denoise
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PYTHON=/opt/n3denoise/bin/python
WORKDIR /src
# All packages but PyTorch, with verified hashes, the build tool and what PyTorch itself imports among them.
COPY docker/requirements.lock hashed.lock
RUN pip install --require-hashes -r hashed.lock
# PyTorch is pinned by its version only, because its hash depends on the index; it pins the GPU libraries that it installs.
COPY requirements.lock ./
# hadolint ignore=DL3013
RUN pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' requirements.lock)"
# Packages bring their own tests along, PyTorch also headers and test programs, scikit-image its sample pictures, and some packages
# the sources of compiled modules and stubs for type checkers. The service uses none of them.
RUN find /opt/n3denoise -type d -name tests -prune -exec rm -r {} + \
 && find /opt/n3denoise/lib \( -path '*/torch/include/*' -o -path '*/torch/test/*' \
      -o -path '*/torch/bin/*' ! -name torch_shm_manager \
      -o -path '*/skimage/data/*' -type f ! -name '*.py*' -o -name '*.pyx' \
      -o -path '*/torch/*.pyi' -o -path '*/numpy/*.pyi' \) -delete

# A wheel, not an editable install, so that a missing weights file or page is noticed here. This downloads nothing.
FROM packages AS build
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY service service
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${BASE_IMAGE}
# The packages are a layer of their own, which stays the same when only the code changes.
COPY --from=packages /opt/n3denoise /opt/n3denoise
# On a GPU, Triton compiles a C module when it is first used. Builds of PyTorch for CPUs need no compiler.
# hadolint ignore=DL3008
RUN if /opt/n3denoise/bin/python -c 'import sys, torch; sys.exit(torch.version.cuda is None)'; then \
      apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi
# Without MALLOC_ARENA_MAX, glibc keeps a memory arena for every thread that ever decoded an image.
# The user has no home; Triton, for example, keeps the kernels that it compiled in HOME.
ENV MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PATH=/opt/n3denoise/bin:$PATH \
    N3DENOISE_HOST=0.0.0.0 \
    N3DENOISE_LOG_FORMAT=json
# The software bill of materials, written by `make sbom`.
COPY docker/sbom.cdx.json /usr/share/n3denoise/
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    export PIP_PYTHON=/opt/n3denoise/bin/python \
 && pip install --no-cache-dir --no-index --no-deps /wheels/*.whl \
 && pip check
# The build fails if the weights do not match their SHA-256.
RUN python -c "from models.weights.files import load_weights; print(load_weights('default').sha256)"
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["n3denoise", "health"]
STOPSIGNAL SIGTERM
# The list form starts the process without a shell, so that it receives signals directly.
ENTRYPOINT ["n3denoise"]
CMD ["serve"]
