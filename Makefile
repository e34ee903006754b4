# Everything a checkout needs: Python 3.11 to 3.13, git and make.

PYTHON ?= python3
BIN := .venv/bin
# The environment is made anew when the lock or the project's own description changes.
READY := .venv/.ready

.PHONY: demo test quick setup check docs format lock

demo: $(READY)  ## a dozen questions through layers of calls, on a real model in this process
	$(BIN)/archon-batch submit jobs/samples/questions.jsonl --arch quickstart -o answers.jsonl --force
	$(BIN)/archon-batch show questions-quickstart
	$(BIN)/archon-batch cost questions-quickstart

test: $(READY)  ## every test that this machine can run
	$(BIN)/pytest -q -n auto --dist worksteal

quick: $(READY)  ## the tests that need no server and no other process
	$(BIN)/pytest -q -n auto --dist worksteal -m "not slow" --hypothesis-profile quick

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

check: $(READY) docs  ## format, lint, types, import contracts, docs, wheel
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.plain_english
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cog --check -r docs/cli.md
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	rm -rf dist && $(BIN)/python -m build --wheel --no-isolation >/dev/null && $(BIN)/check-wheel-contents dist

docs: $(READY)  ## the docs as a site in site/; without the network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## resolve again; nothing younger than a week
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url \
	  --exclude-newer "$$(date -u -d '7 days ago' +%F)" -o requirements.lock
