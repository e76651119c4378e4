# One image for everything of ours: `python -m collector`, `remediation`, `demo_services.catalog`, `demo_services.load`, …
#   docker build -t steersman:local .
# PYTHON is any image of Debian's kind with Python 3.11 or newer. The mounts want BuildKit, Docker's own since 23.
ARG PYTHON=python:3.11-slim-bookworm
FROM ${PYTHON}
# The link: rules, policies and drills at a path without Python's version in it.
RUN useradd --uid 10001 --home-dir /var/lib/steersman --create-home steersman \
 && ln -s /opt/steersman/share/steersman /usr/share/steersman
# The lock files name every dependency with its hash. Compiled on all cores at once, which pip does on one; what cannot
# be compiled is a template among them, which pip leaves out as well.
RUN --mount=type=bind,source=constraints.txt,target=/src/constraints.txt \
    --mount=type=bind,source=deploy/constraints-scalers.txt,target=/src/constraints-scalers.txt \
    cd /src && python3 -m venv /opt/steersman \
 && /opt/steersman/bin/pip install --quiet --no-cache-dir --no-compile --require-hashes --no-deps -r constraints.txt -r constraints-scalers.txt \
 && { /opt/steersman/bin/python -m compileall -qq -j 0 /opt/steersman/lib || true; }
RUN --mount=type=bind,target=/src \
    /opt/steersman/bin/pip install --quiet --no-cache-dir --no-deps --no-build-isolation /src \
 && mkdir -p /opt/steersman/share \
 && purelib=$(/opt/steersman/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && ln -s "$purelib/steersman/share" /opt/steersman/share/steersman
ENV PATH=/opt/steersman/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/steersman
ENTRYPOINT ["python", "-m"]
CMD ["steersman", "--help"]
