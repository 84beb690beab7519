# Everything needs Python 3.11 or later, make and git; the rest is installed into .venv from the lock files.
PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: demo dev test lint lock wheel bench-check clean

.venv/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	$(PIP) install --require-hashes --no-deps --requirement requirements-dev.lock
	touch $@

demo: .venv/.runtime ## From nothing to a published warehouse; KEEP=1 leaves the demo's Postgres running.
	.venv/bin/americano demo run $(if $(KEEP),--keep)

dev: .venv/.runtime ## The Dagster UI and daemon on http://127.0.0.1:3000.
	.venv/bin/americano dev

# Three at a time on two cores: most of it waits for servers and processes. A file stays together, for what its tests
# share; the longest begin (conftest.py), not those with the most tests. Compiled once, not in each process that the
# tests start.
test: .venv/.dev ## The quick part of the suite; SLOW=1 adds the long tests.
	.venv/bin/python -m compileall -q americano_pipelines
	.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(if $(SLOW),,-m "not slow")

lint: .venv/.dev ## ruff, ruff format, mypy strict, the import rules between packages.
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench-check: .venv/.runtime ## The budgets and targets of docs/performance.md, as ratios of one run; about half an hour.
	.venv/bin/americano bench sync --check
	.venv/bin/americano bench queries --check
	.venv/bin/americano bench commands --check
	.venv/bin/americano bench serving --check

# The same flags for both files; the development one may only add to what the other pins.
COMPILE = .venv/bin/uv pip compile pyproject.toml --universal --generate-hashes --no-strip-extras \
	--no-emit-index-url --quiet --custom-compile-command "make lock"

lock: .venv/.dev ## Resolve the lock files anew.
	$(COMPILE) --extra demo --extra build --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

wheel: .venv/.runtime ## dist/americano_pipelines-*.whl, to install elsewhere.
	.venv/bin/python -m hatchling build --target wheel

clean: ## Remove the environment, not the data.
	rm -rf .venv
