# The image of the service: n3denoise and its weights on a slim base, run by an unprivileged user.
#   docker build -t n3denoise .
#   docker build -t n3denoise --build-arg TORCH_INDEX_URL=… .   (another build of PyTorch: CPU only, or another CUDA version)
#   docker build -t n3denoise --build-arg BASE_IMAGE=python:3.11-slim-bookworm@sha256:… .   (a base image pinned by its digest)

ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE} AS build
ARG TORCH_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/n3denoise
ENV PATH=/opt/n3denoise/bin:$PATH
WORKDIR /src
# All packages but PyTorch, with verified hashes, the build tool and what PyTorch itself imports among them.
COPY docker/requirements.lock hashed.lock
RUN pip install --require-hashes -r hashed.lock
# PyTorch is pinned by its version only, because its hash depends on the index; it pins the GPU libraries that it installs.
# It comes before the code because it is the largest layer and changes less often.
COPY requirements.lock ./
RUN pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' requirements.lock)"
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY service service
# Install a wheel, not an editable install, so that a missing weights file or page is noticed here.
# Nothing is downloaded from here on.
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip install --no-index --no-deps /wheels/*.whl \
 && pip check
# The build fails if the weights do not match their SHA-256.
RUN cd / && python -c "from models.weights.files import load_weights; print(load_weights('default').sha256)"

FROM ${BASE_IMAGE}
# Without MALLOC_ARENA_MAX, glibc keeps a memory arena for every thread that ever decoded an image.
ENV MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/n3denoise/bin:$PATH \
    N3DENOISE_HOST=0.0.0.0 \
    N3DENOISE_LOG_FORMAT=json
COPY --from=build /opt/n3denoise /opt/n3denoise
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["n3denoise", "health"]
STOPSIGNAL SIGTERM
# The list form starts the process without a shell, so that it receives signals directly.
ENTRYPOINT ["n3denoise"]
CMD ["serve"]
