# The commands of a developer. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
INSTALLED := $(VENV)/.installed
PIP_INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: install
install: $(INSTALLED) ## Install everything into .venv (quick if nothing has changed)

.PHONY: install-runtime
install-runtime: $(RUNTIME) ## Install only what running needs into .venv

# Replaces a .venv whose Python is too old or gone.
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

# --- web: the client for browsers, and the page at /, which is built into gateway/static ---

# Empty without Node. The targets then leave web/ out and print a line about it.
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
web-install: $(WEB_INSTALLED) ## Install what web/ needs into web/node_modules (quick if nothing has changed)
else
web-install:
	@echo "without Node: web/ is left out"
endif

$(PAGE): $(WEB_INSTALLED) $(PAGE_SOURCES)
	@echo "building the page"
	@npm run build --silent --prefix web
	@touch $@

.PHONY: page
page: $(PAGE) ## Build the page at / into gateway/static, with Node 20.19 or newer (quick if nothing has changed)

# Without Node, or if the build fails, everything but the page works.
.PHONY: page-if-possible
page-if-possible:
	@if command -v npm >/dev/null; then \
	  $(MAKE) --silent page || echo "the page could not be built: going on without what is new in it"; \
	else \
	  echo "no page at /: install Node 20.19 or newer to have it built"; \
	fi

# --- the compiled data path of the gateway, in gateway/compiled ---

COMPILER := $(VENV)/.compiler

$(COMPILER): $(RUNTIME) requirements/compile.txt
	@$(PIP_INSTALL) --require-hashes -r requirements/compile.txt
	@touch $@

.PHONY: compiled
compiled: $(COMPILER) ## Compile the data path of the gateway, with a C compiler (quick if nothing has changed)
	@$(BIN)/python hatch_compile.py

# Without a compiler everything works, slower.
.PHONY: compiled-if-possible
compiled-if-possible: $(COMPILER)
	@$(BIN)/python hatch_compile.py --if-possible

# Installs Python's packages and builds the page in parallel, because both mostly wait for the network.
.PHONY: up
up: ## Run the whole system on this machine, with options such as ARGS="--gateways 2"
	@$(MAKE) --no-print-directory -j2 install-runtime page-if-possible
	@$(BIN)/studyroom up $(ARGS)

# Most tests wait for something, so one more runs than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(1 + len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 3)')

.PHONY: test
test: install web-install page-if-possible compiled-if-possible ## Run all tests, a few at a time, with options such as ARGS="-k name"
	@$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder $(ARGS)

.PHONY: test-quick
test-quick: install ## Run the tests that start no process
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: screenshots
screenshots: install page ## Take the screenshots in docs/images again
	@$(BIN)/python -m tests.e2e.screenshots

.PHONY: crowd
crowd: install page ## Take pictures of a room of thirty people, into a folder such as ARGS=pictures
	@$(BIN)/python -m tests.e2e.crowd $(ARGS)

.PHONY: long
long: install web-install page ## Run the tests that take too long for `make test`, without the containers
	@$(BIN)/python -m pytest -m long tests/e2e tests/faults tests/integration $(ARGS)

.PHONY: compose-check
compose-check: install ## Kill, freeze, cut off and scale the containers of docker-compose.yml under load (takes minutes)
	@$(BIN)/python -m pytest -s -m long tests/containers $(ARGS)

# The people of the check have the client for browsers, which is built with the page.
.PHONY: kube-check
kube-check: install web-install page-if-possible ## Roll, evict, kill and freeze everything in a test cluster of Kubernetes under people who chat (takes half an hour)
	@$(BIN)/python -m tests.kube $(ARGS)

.PHONY: soak
soak: install ## Inject random faults under load and check the result, such as ARGS="--minutes 20 --seed 7"
	@$(BIN)/python -m tests.faults.soak $(ARGS)

.PHONY: skew
skew: install ## Upgrade from the previous release and go back under load, and check the result, such as ARGS="--from v1.2.0"
	@$(BIN)/python -m tests.faults.skew $(ARGS)

.PHONY: autobahn
autobahn: install ## Run the Autobahn test suite and print a table (needs Docker and the suite's image)
	@$(BIN)/python -m tests.e2e.test_autobahn

.PHONY: fuzz
fuzz: install ## Fuzz all parsers of untrusted input, guided by coverage, such as ARGS="--minutes 20"
	@$(PIP_INSTALL) --require-hashes -r requirements/fuzz.txt
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: attacks
attacks: install ## Measure how each attack on the gateway affects other clients (takes minutes)
	@$(BIN)/python -m benchmarks.attacks $(ARGS)

.PHONY: bench
bench: install compiled-if-possible ## Compare with other servers on an idle machine, such as ARGS="--groups traffic --repeats 1", or ARGS="--check frontier"
	@case '$(ARGS)' in *--check*home*) exit 0 ;; esac; \
	$(PIP_INSTALL) --require-hashes -r requirements/bench.txt && \
	for peer in bun socketio_node hocuspocus y_websocket; do \
	  cd benchmarks/peers/$$peer && { [ node_modules/.package-lock.json -nt package-lock.json ] || \
	    ! command -v npm >/dev/null || npm ci --silent; } ; cd ../../..; \
	done
	@$(BIN)/python -m benchmarks.run $(ARGS)

DOCS := $(VENV)/.docs

$(DOCS): $(INSTALLED) requirements/docs.txt
	@echo "installing what the documentation site needs into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements/docs.txt
	@touch $@

# Without --quiet, which would hide warnings, so that they would not fail the build.
.PHONY: docs
docs: $(DOCS) ## Build the documentation site into site/, and fail on broken links
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict > $(VENV)/docs.log 2>&1 || { cat $(VENV)/docs.log; exit 1; }
	@echo "the documentation is in site/index.html"

.PHONY: prose
prose: install ## Check the prose of documents, and the comments, texts and names in code
	@$(BIN)/python -m tests.project.prose

.PHONY: packages
packages: install ## Print every package with its sentence and its imports
	@$(BIN)/python -m tests.project.packages

.PHONY: check
check: install ## Check format, lint, types, import contracts, dead code, generated files and documents
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
web-check: install web-install ## Check web/, with the size of the client and the types generated from the contract
ifneq ($(NPM),)
	@$(BIN)/studyroom schema | npm run --silent --prefix web/client generate -- --check
	@node web/client/scripts/check-asyncapi.mjs docs/asyncapi.json
	@npm run --silent --prefix web check
endif

.PHONY: format
format: install ## Format the code and fix what ruff can fix
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

.PHONY: schema
schema: install web-install ## Write the client protocol as AsyncAPI into docs, and as JSON Schema and TypeScript into web/client
	@$(BIN)/studyroom asyncapi > docs/asyncapi.json
ifneq ($(NPM),)
	@$(BIN)/studyroom schema | npm run --silent --prefix web/client generate
endif

.PHONY: dashboards
dashboards: install ## Write Grafana's dashboards and the rules in monitoring/ and k8s/
	@$(BIN)/python -m monitoring.dashboards && $(BIN)/python -m monitoring.slos

.PHONY: env-example
env-example: install ## Write .env.example from the settings
	@$(BIN)/studyroom settings > .env.example

.PHONY: lock
lock: install ## Resolve the dependencies again and write requirements/
	@for target in runtime dev build compile fuzz bench audit docs release; do \
	  case $$target in \
	    runtime) wanted="pyproject.toml --extra tracing" ;; \
	    dev) wanted="pyproject.toml --extra tracing --group dev" ;; \
	    build|compile|release) wanted="--group $$target --constraint requirements/dev.txt" ;; \
	    fuzz|bench|audit|docs) wanted="pyproject.toml --extra tracing --group $$target --constraint requirements/dev.txt" ;; \
	  esac; \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    $$wanted -o requirements/$$target.txt || exit 1; \
	done

.PHONY: audit
audit: install ## Check all locked packages for known vulnerabilities (passes if no advisory service answers)
	@$(PIP_INSTALL) --require-hashes -r requirements/audit.txt
	@$(BIN)/python -m tests.project.audit

.PHONY: release
release: ## Write a new version into all places and the changelog, such as VERSION=1.2.0
	@$(PYTHON) tests/project/release.py prepare "$(VERSION)"

RELEASE := $(VENV)/.release

$(RELEASE): $(INSTALLED) requirements/release.txt
	@echo "installing what releases need into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements/release.txt
	@touch $@

# The wheel is built from the source distribution, so that is complete. A bill of materials names what is locked.
.PHONY: dist
dist: $(RELEASE) $(COMPILER) page docs ## Build all files of a release into dist/: wheel, source, npm package, chart, documents
	@rm -rf dist && mkdir dist
	@export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) STUDYROOM_WHEEL_COMPILED=true && \
	  $(BIN)/hatchling build --target sdist --directory dist > /dev/null && \
	  $(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	@cd web && npm pack --silent --workspace client --pack-destination ../dist > /dev/null
	@if command -v helm > /dev/null; then helm package --destination dist charts/studyroom > /dev/null 2>&1; \
	  else echo "no chart: install helm to have it packed"; fi
	@tar --sort=name --owner=0 --group=0 --mtime="$$(git log -1 --format=%cI)" -czf dist/studyroom-documents.tar.gz -C site .
	@$(BIN)/cyclonedx-py requirements requirements/runtime.txt --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file dist/studyroom.cdx.json
	@cd web && npm sbom --sbom-format cyclonedx --omit dev --package-lock-only > ../dist/studyroom-web.cdx.json
	@cd dist && sha256sum -- * > SHA256SUMS && ls -1

.PHONY: workflows
workflows: $(RELEASE) ## Lint the workflows in .github, with actionlint if Go is installed
	@$(BIN)/zizmor --offline --no-progress --quiet .github
	@if command -v go > /dev/null; then go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12; \
	  else echo "without Go: actionlint is left out"; fi

.PHONY: hooks
hooks: install ## Install the git hook that runs the checks before each commit
	@$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove installed packages, builds, caches and data of runs
	@rm -rf $(VENV) site dist gateway/static gateway/compiled web/node_modules web/*/dist .studyroom .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
