# One image for everything of ours: `python -m collector`, `remediation`, `demo_services.catalog`, `demo_services.load`, …
#   docker build -t steersman:local .
# PYTHON is any image of Debian's kind with Python 3.11 or newer.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
COPY constraints.txt deploy/constraints-scalers.txt ./
# The lock files name every dependency with its hash. Into a folder that the second stage takes as it is.
RUN python3 -m venv /opt/steersman \
 && /opt/steersman/bin/pip install --quiet --no-cache-dir --require-hashes --no-deps -r constraints.txt -r constraints-scalers.txt
COPY . .
RUN /opt/steersman/bin/pip install --quiet --no-cache-dir --no-deps --no-build-isolation . \
 && mkdir -p /opt/steersman/share \
 && purelib=$(/opt/steersman/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && ln -s "$purelib/steersman/share" /opt/steersman/share/steersman

FROM ${PYTHON}
# The link: rules, policies and drills at a path without Python's version in it.
RUN useradd --uid 10001 --home-dir /var/lib/steersman --create-home steersman \
 && ln -s /opt/steersman/share/steersman /usr/share/steersman
COPY --from=build /opt/steersman /opt/steersman
ENV PATH=/opt/steersman/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/steersman
ENTRYPOINT ["python", "-m"]
CMD ["steersman", "--help"]
