# What changes rarely comes first, so that a change of the code rebuilds only the last, quick layers.
FROM python:3.14-slim AS base
RUN useradd --system --uid 10001 --no-create-home app \
    && python -m venv --without-pip /venv
WORKDIR /app
# Packages that are not in every image: `tracing`, `debug`, or none.
ARG EXTRAS=""
COPY requirements.txt requirements-tracing.txt requirements-debug.txt ./
# Only wheels, so that no compiler is needed; compiled to bytecode once here, not at every start.
RUN --mount=type=cache,target=/root/.cache/pip \
    PYTHONDONTWRITEBYTECODE=1 pip --disable-pip-version-check --python /venv/bin/python install \
        --require-hashes --only-binary :all: --no-compile --requirement requirements${EXTRAS:+-$EXTRAS}.txt \
    && python -m compileall -q -j 0 /venv/lib
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1

FROM base AS development
COPY pyproject.toml gunicorn.conf.py gunicorn.dev.conf.py ./
COPY migrations migrations/
COPY src src/
# Kubernetes' runAsNonRoot needs a number to see that the user isn't root.
USER 10001:10001
CMD ["gunicorn", "-c", "gunicorn.conf.py"]

FROM development AS production
USER 0:0
# A build fails if the code does not compile, so such code never replaces a running version.
RUN python -m compileall -q src migrations
USER 10001:10001
