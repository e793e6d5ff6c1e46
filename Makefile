# Everything a developer does. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
INSTALLED := $(VENV)/.installed
PIP_INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'

.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: install
install: $(INSTALLED) ## Make .venv with everything in it; quick when nothing changed

.PHONY: install-runtime
install-runtime: $(RUNTIME) ## The same with only what running needs

# A .venv of an older Python, or one whose Python is gone, is replaced.
$(RUNTIME): pyproject.toml requirements/runtime.txt requirements/build.txt
	@$(BIN)/python $(IS_NEW_ENOUGH) 2>/dev/null || { \
	  $(PYTHON) $(IS_NEW_ENOUGH) || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 1; }; \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@echo "installing what running needs into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(INSTALLED): $(RUNTIME) requirements/dev.txt
	@echo "installing what tests and checks need into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# --- web: the client for browsers, and the page at / made with it, built into gateway/static ---

# Empty without Node: what is in web/ is then left out, with a line that says so.
NPM := $(shell command -v npm)
WEB_INSTALLED := web/node_modules/.installed
PAGE := gateway/static/index.html
PAGE_SOURCES := $(shell find web/client/src web/room -type f -not -path '*/node_modules/*' -not -path '*/tests/*') \
  $(wildcard web/*.json web/*/package.json web/client/tsconfig*.json)

$(WEB_INSTALLED): $(wildcard web/package-lock.json web/package.json web/*/package.json)
	@echo "installing into web/node_modules"
	@npm ci --silent --prefix web
	@touch $@

.PHONY: web-install
ifneq ($(NPM),)
web-install: $(WEB_INSTALLED) ## Install what web/ needs into web/node_modules; quick when nothing changed
else
web-install:
	@echo "without Node: web/ is left out"
endif

$(PAGE): $(WEB_INSTALLED) $(PAGE_SOURCES)
	@echo "building the page"
	@npm run build --silent --prefix web
	@touch $@

.PHONY: page
page: $(PAGE) ## Build the page at / into gateway/static (Node 20.19 or newer); quick when nothing changed

# Without Node, or when the build fails, everything but the page works.
.PHONY: page-if-possible
page-if-possible:
	@if command -v npm >/dev/null; then \
	  $(MAKE) --silent page || echo "the page could not be built: going on without what is new in it"; \
	else \
	  echo "no page at /: install Node 20.19 or newer to have it built"; \
	fi

# Python's packages and the page at once: each waits for the network most of the time.
.PHONY: up
up: ## Run the whole system here; ARGS="--gateways 2" passes options on
	@$(MAKE) --no-print-directory -j2 install-runtime page-if-possible
	@$(BIN)/studyroom up $(ARGS)

.PHONY: test
test: install web-install page-if-possible ## Run all tests, two at a time; ARGS="-k name" passes options on
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(ARGS)

.PHONY: test-quick
test-quick: install ## Only the tests that start no process
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: screenshots
screenshots: install page ## Take the pictures in docs/images anew, of the running system
	@$(BIN)/python -m tests.e2e.screenshots

.PHONY: compose-check
compose-check: install ## Kill, freeze, cut off and scale the containers of docker-compose.yml under load; minutes
	@$(BIN)/python -m pytest -s -m long tests/containers $(ARGS)

.PHONY: soak
soak: install ## Random faults under load, judged by the checker; ARGS="--minutes 20 --seed 7"
	@$(BIN)/python -m tests.faults.soak $(ARGS)

.PHONY: autobahn
autobahn: install ## The Autobahn test suite against the WebSocket adapter, as a table; needs Docker and the suite's image
	@$(BIN)/python -m tests.e2e.test_autobahn

.PHONY: fuzz
fuzz: install ## Fuzz everything that reads what strangers wrote, guided by coverage; ARGS="--minutes 20"
	@$(PIP_INSTALL) --require-hashes -r requirements/fuzz.txt
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: attacks
attacks: install ## What others feel while somebody attacks the gateway, attack by attack; minutes
	@$(BIN)/python -m benchmarks.attacks $(ARGS)

.PHONY: bench
bench: install ## Measure against the peers, alone on the machine; ARGS="--groups traffic --repeats 1"
	@$(PIP_INSTALL) --require-hashes -r requirements/bench.txt
	@for peer in ws_node socketio_node; do \
	  if command -v npm >/dev/null; then npm ci --silent --prefix benchmarks/peers/$$peer; fi; \
	done
	@$(BIN)/python -m benchmarks.run $(ARGS)

DOCS := $(VENV)/.docs

$(DOCS): $(INSTALLED) requirements/docs.txt
	@echo "installing what the documentation site needs into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements/docs.txt
	@touch $@

# Not --quiet: warnings that are not logged would not count, and fail nothing.
.PHONY: docs
docs: $(DOCS) ## Build the documentation site into site/, strictly: every link and anchor has to lead somewhere
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict > $(VENV)/docs.log 2>&1 || { cat $(VENV)/docs.log; exit 1; }
	@echo "the documentation is in site/index.html"

.PHONY: prose
prose: install ## Check the prose of documents and code
	@$(BIN)/python -m tests.project.prose

.PHONY: packages
packages: install ## Every package with its sentence and what it imports
	@$(BIN)/python -m tests.project.packages

.PHONY: check
check: install ## Format, lint, types, import contracts, dead code, generated files, documents
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/vulture
	@$(BIN)/studyroom settings | diff - .env.example || { echo "run make env-example"; exit 1; }
	@$(BIN)/studyroom asyncapi | diff - docs/asyncapi.json || { echo "run make schema"; exit 1; }
	@$(MAKE) --no-print-directory prose web-check docs
	@$(BIN)/python -m monitoring.dashboards --check && $(BIN)/python -m monitoring.slos --check
	@echo "all checks passed"

.PHONY: web-check
web-check: install web-install ## The same for web/, with the size of the client and the types made from the contract
ifneq ($(NPM),)
	@$(BIN)/studyroom schema | npm run --silent --prefix web/client generate -- --check
	@node web/client/scripts/check-asyncapi.mjs docs/asyncapi.json
	@npm run --silent --prefix web check
endif

.PHONY: format
format: install ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

.PHONY: schema
schema: install web-install ## Write the client protocol: as AsyncAPI into docs, as JSON Schema and TypeScript into web/client
	@$(BIN)/studyroom asyncapi > docs/asyncapi.json
ifneq ($(NPM),)
	@$(BIN)/studyroom schema | npm run --silent --prefix web/client generate
endif

.PHONY: dashboards
dashboards: install ## Write Grafana's dashboards and the rules of the objectives from monitoring/
	@$(BIN)/python -m monitoring.dashboards && $(BIN)/python -m monitoring.slos

.PHONY: env-example
env-example: install ## Write .env.example from the settings
	@$(BIN)/studyroom settings > .env.example

.PHONY: lock
lock: install ## Resolve the dependencies anew into requirements/
	@for target in runtime dev build fuzz bench audit docs; do \
	  case $$target in \
	    runtime) wanted="pyproject.toml" ;; \
	    dev) wanted="pyproject.toml --group dev" ;; \
	    build) wanted="--group build --constraint requirements/dev.txt" ;; \
	    fuzz|bench|audit|docs) wanted="pyproject.toml --group $$target --constraint requirements/dev.txt" ;; \
	  esac; \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    $$wanted -o requirements/$$target.txt || exit 1; \
	done

.PHONY: audit
audit: install ## Ask advisory services about all that is locked; fails on a known vulnerability, not when nobody answers
	@$(PIP_INSTALL) --require-hashes -r requirements/audit.txt
	@$(BIN)/python -m tests.project.audit

.PHONY: hooks
hooks: install ## Let git run the checks before each commit
	@$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove what was installed and what runs left behind
	@rm -rf $(VENV) site gateway/static web/node_modules web/*/dist .studyroom .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
