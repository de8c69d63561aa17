# The packages change seldom, the code often: stages and layers in this order rebuild a code change in seconds.
FROM python:3.14-slim AS packages
RUN python -m venv --without-pip /venv
COPY requirements.txt .
# Wheels only, so that no stage needs a compiler; compiled to bytecode once here, not at every start.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --disable-pip-version-check --python /venv/bin/python install \
        --require-hashes --only-binary :all: --no-compile --requirement requirements.txt \
    && python -m compileall -q -j 0 /venv/lib

FROM python:3.14-slim AS development
RUN useradd --system --uid 10001 --no-create-home app
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1
COPY --from=packages /venv /venv
COPY pyproject.toml gunicorn.conf.py gunicorn.dev.conf.py ./
COPY migrations migrations/
COPY src src/
# A number, so that Kubernetes' runAsNonRoot can see that it isn't root.
USER 10001:10001
CMD ["gunicorn", "-c", "gunicorn.conf.py"]

# Code that does not compile replaces nothing in production; in development it may be mended while all runs.
FROM development
USER root
RUN python -m compileall -q src migrations
USER 10001:10001
