# syntax=docker/dockerfile:1
# The image, where a Docker engine is at hand: docker build --build-arg BASE=… --build-arg PYTHON=… .
# `make image` builds the same one without an engine (dev/image_builder); a test holds the two together.
# Pin both images by digest in what you ship. Each must have Python 3.11.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm
ARG BASE=gcr.io/distroless/python3-debian12

FROM ${PYTHON} AS packages
ARG SOURCE_DATE_EPOCH=0
WORKDIR /source
COPY requirements/setup.txt requirements/runtime.txt requirements/dev.txt requirements/
RUN python -m pip install --quiet --no-cache-dir --require-hashes --requirement requirements/setup.txt \
 && uv pip install --quiet --target /opt/openscale-byok --only-binary :all: --require-hashes --requirement requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY operator operator
RUN uv build --quiet --wheel --require-hashes --build-constraints requirements/dev.txt --out-dir /wheel \
 && uv pip install --quiet --target /opt/openscale-byok --no-deps /wheel/*.whl \
 && rm -rf /opt/openscale-byok/bin \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/openscale-byok

FROM ${BASE}
LABEL org.opencontainers.image.title="openscale-byok" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/openscale-byok/openscale-byok"
COPY --from=packages /opt/openscale-byok /opt/openscale-byok
ENV PYTHONPATH=/opt/openscale-byok \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
WORKDIR /
ENTRYPOINT ["python3", "-m", "openscale_byok"]
