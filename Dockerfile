# One image for every service: `docker run studyroom gateway`. What is installed is what requirements/runtime.txt locks, by
# hash. Releases name their bases by digest, too (--build-arg PYTHON=python:3.13-slim@sha256:…), and have it in a label.
ARG PYTHON=python:3.13-slim
ARG NODE=node:20-slim

FROM ${NODE} AS page
WORKDIR /build/web
COPY web/package.json web/package-lock.json web/.npmrc ./
COPY web/client/package.json client/
COPY web/room/package.json room/
RUN npm ci --ignore-scripts
COPY web/ ./
RUN npm run build

FROM ${PYTHON} AS build
# With a date given, wheels and compiled files depend on their sources only, not on when they were made.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore SOURCE_DATE_EPOCH=1767225600
WORKDIR /build
# For the compiled data path. A base with the Python of Debian has its C headers in another package.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && { [ -e "$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] \
      || apt-get install -y --no-install-recommends libpython3-dev; } \
 && rm -rf /var/lib/apt/lists/*
# The environment gets no pip of its own: nothing is installed in a running container.
RUN python -m venv --without-pip /opt/studyroom
COPY requirements/ requirements/
RUN pip --python /opt/studyroom/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt
RUN python -m venv /opt/hatchling \
 && /opt/hatchling/bin/pip install --require-hashes -r requirements/build.txt -r requirements/compile.txt
COPY pyproject.toml hatch_build.py hatch_compile.py README.md LICENSE ./
COPY studyroom/ studyroom/
COPY shared/ shared/
COPY services/ services/
COPY gateway/ gateway/
COPY --from=page /build/gateway/static/ gateway/static/
COPY presence/ presence/
RUN STUDYROOM_WHEEL_COMPILED=true /opt/hatchling/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/studyroom/bin/python install --no-deps --no-index dist/*.whl
# The server of the embedded stack (`studyroom up`) is for developers; scripts of other packages are for nobody here.
RUN find /opt/studyroom/bin -type f ! -name studyroom -delete

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="studyroom" \
      org.opencontainers.image.description="Real-time collaboration in study rooms: gateway, presence, documents and provisioner" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/studyroom /opt/studyroom
# Nobody can reach a container's loopback, so it listens on all interfaces.
ENV PATH=/opt/studyroom/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STUDYROOM_ADMIN_HOST=0.0.0.0 \
    STUDYROOM_GATEWAY_HOST=0.0.0.0
# A number, since Kubernetes cannot tell that a name is not root.
USER 10001:10001
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["studyroom"]
CMD ["--help"]
