# The product image: n3denoise and its weights, on a slim base, as a user without rights.
#   docker build -t n3denoise .
#   docker build -t n3denoise --build-arg TORCH_INDEX_URL=… .   (another build of torch: CPU only, or another CUDA)

FROM python:3.11-slim AS build
ARG TORCH_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/n3denoise
ENV PATH=/opt/n3denoise/bin:$PATH
WORKDIR /src
# Torch and the other requirements first: they change less often than the code, and this layer is the large one.
COPY requirements.lock ./
RUN pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' requirements.lock)"
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY service service
# A wheel, not an editable install, so that weights or pages missing from the package show here.
RUN pip wheel --no-deps --wheel-dir /wheels . \
 && pip install -c requirements.lock /wheels/*.whl
# Weights that do not match their SHA-256 end the build.
RUN cd / && python -c "from models.weights.files import load_weights; print(load_weights('default').sha256)"

FROM python:3.11-slim
# glibc's arenas would grow with every thread that ever decoded an image.
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
# The list form: no shell between the signal and the process.
ENTRYPOINT ["n3denoise"]
CMD ["serve"]
