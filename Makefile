# Everything a newcomer needs. Nothing here wants root, Docker or Node.
PYTHON ?= python3
BACKEND ?= embedded
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
INSTALLED := $(VENV)/.installed
COMPILE := uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q

.DEFAULT_GOAL := help
.PHONY: help demo up compose-up compose-down test check ci soak bench lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# What running needs; tests and checks need more, so that a demo need not wait for browsers and clouds' clients.
$(RUNTIME): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Steersman needs Python 3.11 or newer; set PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(INSTALLED): $(RUNTIME) constraints-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints-dev.txt
	@touch $@

install: $(INSTALLED)

demo: $(RUNTIME)  ## Install, start the embedded stack, run a drill, print the graded report, stop (BACKEND=prometheus: with Debian's)
	$(BIN)/steersman demo --backend $(BACKEND)

up: $(RUNTIME)  ## Install and start the embedded stack; Ctrl-C stops it
	$(BIN)/steersman up

compose-up: $(RUNTIME)  ## The same stack on real Prometheus, Grafana and Jaeger (needs Docker)
	$(BIN)/python -m steersman.stack.compose .steersman/compose/secrets
	STEERSMAN_UID=$$(id -u) STEERSMAN_GID=$$(id -g) DOCKER_GID=$$(stat -c %g /var/run/docker.sock) docker compose up --build --detach --wait

compose-down:  ## Stop it; its data stays
	docker compose down

# Whole stacks want the machine for themselves; the rest share it, a process for each core, four at most, in the order of
# tests/conftest.py: some data is dated when it is collected.
SHARED := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not e2e and not chaos"

test: $(INSTALLED)  ## Install and run the tests
	$(BIN)/pytest $(SHARED)
	$(BIN)/pytest -m "e2e or chaos"

check: $(INSTALLED)  ## Format, lint, types, import contracts, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q $(SHARED)

soak: $(INSTALLED)  ## Long campaigns, by hand: ten demos in a row, kills, drills with and without, differential tests (hours)
	for run in 1 2 3 4 5 6 7 8 9 10; do $(BIN)/steersman demo || exit 1; done
	$(BIN)/python bench/loop.py --runs 10 --drill slow-dependency
	STEERSMAN_ALERT_KILLS=50 $(BIN)/pytest -q tests/collector/alerts/test_kill_in_a_storm.py
	STEERSMAN_FLOOD_S=60 $(BIN)/pytest -q tests/chaos/test_otlp_flood.py
	STEERSMAN_ARCHIVE_EXAMPLES=200 STEERSMAN_FIDELITY_EXAMPLES=500 $(BIN)/pytest -q tests/collector/otlp tests/collector/api/test_archive.py
	STEERSMAN_AGENT_S=180 $(BIN)/pytest -q tests/chaos/test_agent.py
	STEERSMAN_GUARD_EXAMPLES=1000 $(BIN)/pytest -q tests/remediation/test_guards_properties.py
	STEERSMAN_IMAGES=1 $(BIN)/pytest -q tests/deploy/test_images.py
	@for campaign in bench/soak/*.py; do echo "$$campaign"; PYTHONPATH=. $(BIN)/python "$$campaign" || exit 1; done

bench: $(INSTALLED)  ## Measure, by hand, on a machine that does nothing else: what docs/benchmarks.md tells
	@for bench in $(filter-out bench/autoscaling.py bench/loop_times.py,$(wildcard bench/*.py)); do echo "$$bench"; PYTHONPATH=. $(BIN)/python "$$bench" || exit 1; done

ci:  ## What continuous integration runs
	bash .ci/run

lock:  ## Pin the dependencies anew, with hashes (needs uv)
	$(COMPILE) --group dev -o constraints-dev.txt
	$(COMPILE) -c constraints-dev.txt -o constraints.txt
	$(BIN)/python deploy/lock_scalers.py

clean:  ## Remove the environment, caches and the stack's data
	rm -rf $(VENV) .steersman .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/interop/javascript/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
