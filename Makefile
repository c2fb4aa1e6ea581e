# Every command of this project, for people and for CI alike.
#
#   make up      the whole product on this machine, in the foreground; Ctrl-C ends it. ARGS="--nodes 5"
#   make demo-serving  load makes replicas, replicas make machines, and all goes away again
#   make test    all tests but the long ones; TESTS="tests/core -k fold" runs some of them
#   make check   format, lint, types, import contracts, tidiness, the site of the documentation
#   make docs    the documentation as a site, in build/site; ARGS=serve shows it while you write
#   make bench   every benchmark of bench/ as one table; ARGS="--quick", "--only NAME", "--long"
#   make soak    10,000 seeds of faults with what they covered, 20,000 crash points, the long tests
#   make format  put the format right, and the lint faults that can be put right by a machine
#   make package wheel and source archive into dist, held against the tree
#   make lock    choose the versions of all dependencies anew
#   make clean   remove what these commands made, never the data of a fleet
#
# Needed: Python 3.11 or later, make, and a package index that pip can reach.

.PHONY: up demo-serving test check docs bench soak format package lock clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# Twice as many as the smallest machine has processors: half of the time tests wait for others.
JOBS ?= 4
# Kept, whatever the environment says: without them each process compiles all that it imports anew,
# and each worker of the tests all tests, which is a third of its time.
unexport PYTHONDONTWRITEBYTECODE
CPUS ?= $(shell getconf _NPROCESSORS_ONLN)
SEEDS ?= 10000
TESTS ?= tests
ARGS ?=

# A stamp tells what was installed; it is as old as the lock it was made from, or younger.
RUN_READY := $(VENV)/run-ready
DEV_READY := $(VENV)/dev-ready
# The tests were compiled once, so that the workers need not all do it at the same moment.
COMPILED := $(VENV)/tests-compiled

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

up: $(RUN_READY)
	@exec $(BIN)/navarch up $(ARGS)

demo-serving: $(DEV_READY)
	@exec $(BIN)/python examples/serving/demo/demo.py

test: $(COMPILED)
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not soak" $(TESTS)

check: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/tidy.py
	$(BIN)/python tools/check_site.py

# Its maintainers' notice of what comes after mkdocs would stand above every build: read it in
# docs/decisions/0037-the-site.md. Warnings about pages are shown, and end the build.
docs: $(DEV_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(ARGS),build --strict)

bench: $(DEV_READY)
	$(BIN)/python bench/run.py $(ARGS)

soak: $(DEV_READY)
	$(BIN)/python -m navarch.simulator.sweep --seeds $(SEEDS) --coverage --jobs $(CPUS)
	$(BIN)/python -m navarch.simulator.sweep --crash-points 20000 --jobs $(CPUS)
	HYPOTHESIS_PROFILE=search $(BIN)/pytest -n $(JOBS) --dist worksteal $(TESTS)

format: $(DEV_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

package: $(DEV_READY)
	$(BIN)/python tools/package.py $(ARGS)

# Hashes and no addresses: the same versions, byte for byte, from whichever index pip is set to.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --quiet \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

lock: $(DEV_READY)
	$(LOCK) --upgrade --group build -o requirements.lock
	$(LOCK) --upgrade --group build --extra dev -c requirements.lock -o requirements-dev.lock
	$(LOCK) --group build --extra all --extra http2 -c requirements-dev.lock \
	  -o deploy/docker/requirements.lock

clean:
	rm -rf $(VENV) build dist src/navarch.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis .import_linter_cache .grimp_cache
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -c 'import ensurepip' 2>/dev/null || { \
	    echo "make: $$python has no ensurepip; install its venv package (Debian: python3-venv)"; \
	    exit 1; }; \
	  echo "making $(VENV) with $$python"; \
	  exec "$$python" -m venv $(VENV); \
	done; \
	echo "make: no Python 3.11 or later $(if $(PYTHON),at $(PYTHON),on PATH); install one, or say" \
	  "make PYTHON=/path/to/python"; \
	exit 1

# What is wrong with a test is said by the run that follows, not here.
$(COMPILED): $(DEV_READY)
	@for half in '[a-l]*' '[m-z]*'; do \
	  $(BIN)/pytest --collect-only --quiet tests/$$half/ >/dev/null 2>&1 & \
	done; wait
	@touch $@

$(RUN_READY): requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what Navarch runs on (requirements.lock)"
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_READY): requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "installing what Navarch is built and tested with (requirements-dev.lock)"
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@
