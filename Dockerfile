# One image for everything of ours: `python -m collector`, `remediation`, `demo_services.catalog`, `demo_services.load`, …
#   docker build -t steersman .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
COPY constraints.txt ./
# The lock file names every dependency with its hash. Into a folder that the second stage takes as it is.
RUN python -m venv /opt/steersman \
 && /opt/steersman/bin/pip install --quiet --no-cache-dir --require-hashes --no-deps -r constraints.txt
COPY . .
RUN /opt/steersman/bin/pip install --quiet --no-cache-dir --no-deps --no-build-isolation .

FROM ${PYTHON}
RUN useradd --system --uid 10001 --home-dir /var/lib/steersman --create-home steersman
COPY --from=build /opt/steersman /opt/steersman
ENV PATH=/opt/steersman/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/steersman
ENTRYPOINT ["python", "-m"]
CMD ["steersman", "--help"]
