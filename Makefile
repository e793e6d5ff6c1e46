# Everything a developer does. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: install
install: $(INSTALLED) ## Make .venv with everything in it; quick when nothing changed

$(INSTALLED): pyproject.toml requirements/dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: up
up: install ## Run the whole system here; ARGS="--gateways 2" passes options on
	@$(BIN)/studyroom up $(ARGS)

.PHONY: test
test: install ## Run all tests; ARGS="-k name" passes options on
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: test-quick
test-quick: install ## Only the tests that start no process
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: compose-check
compose-check: install ## Kill, freeze, cut off and scale the containers of docker-compose.yml under load; minutes
	@$(BIN)/python -m pytest -s -m long tests/faults/test_containers.py $(ARGS)

.PHONY: soak
soak: install ## Random faults under load, judged by the checker; ARGS="--minutes 20 --seed 7"
	@$(BIN)/python -m tests.faults.soak $(ARGS)

.PHONY: bench
bench: install ## Measure against the peers, alone on the machine; ARGS="--groups traffic --repeats 1"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@for peer in ws_node socketio_node; do \
	  if command -v npm >/dev/null; then npm ci --silent --prefix benchmarks/peers/$$peer; fi; \
	done
	@$(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: check
check: install ## Format, lint, types, import contracts, dead code, generated files
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/vulture
	@$(BIN)/studyroom settings | diff - .env.example || { echo "run make env-example"; exit 1; }
	@$(BIN)/python -m monitoring.dashboards --check && $(BIN)/python -m monitoring.slos --check
	@echo "all checks passed"

.PHONY: format
format: install ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

.PHONY: schema
schema: install ## Print the JSON Schema of the client protocol
	@$(BIN)/studyroom schema

.PHONY: dashboards
dashboards: install ## Write Grafana's dashboards and the rules of the objectives from monitoring/
	@$(BIN)/python -m monitoring.dashboards && $(BIN)/python -m monitoring.slos

.PHONY: env-example
env-example: install ## Write .env.example from the settings
	@$(BIN)/studyroom settings > .env.example

.PHONY: lock
lock: install ## Resolve the dependencies anew into requirements/
	@for target in runtime dev bench; do \
	  case $$target in \
	    runtime) group= ;; \
	    dev) group="--group dev" ;; \
	    bench) group="--group bench --constraint requirements/dev.txt" ;; \
	  esac; \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml $$group -o requirements/$$target.txt || exit 1; \
	done

.PHONY: hooks
hooks: install ## Let git run the checks before each commit
	@$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove what was installed and what runs left behind
	@rm -rf $(VENV) .studyroom .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
