# `make` alone explains every target. All set-up happens inside this folder: .uv, .venv and .cache.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup fmt lint type imports check test test-unit test-long run demo bench bench-calendar bench-channels bench-clocks bench-safety shots model scorecard up down watch docs clean

UV := .uv/bin/uv
UV_VERSION := 0.13.9
BIN := .venv/bin
WORKERS ?= 2
MAILS ?= http://127.0.0.1:8025
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
READY := .venv/.ready
CODE := shared/src deploy/src $(wildcard services/*/src)
PROJECTS := pyproject.toml uv.lock $(wildcard shared/pyproject.toml deploy/pyproject.toml services/*/pyproject.toml)
export UV_SYSTEM_CERTS := true
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := true

help: ## explain every target
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(READY): $(UV) $(PROJECTS)
	$(UV) sync --locked --quiet --python .uv/bin/python
	@touch $@

setup: $(READY) ## install everything into .venv; every other target does it by itself

fmt: $(READY) ## format the code and sort the imports
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(READY) ## look for mistakes and for code that is not formatted
	$(BIN)/ruff format --check
	$(BIN)/ruff check

type: $(READY) ## check the types
	$(BIN)/mypy $(CODE)

imports: $(READY) ## check that imports point the way the architecture says
	$(BIN)/lint-imports

check: lint type imports ## lint, type and imports: what has to be green before a commit

test: $(READY) ## all tests but the long ones, on real engines (PROVIDER=given|containers|embedded, WORKERS=2 side by side)
	$(PYTEST) -m "not long"

test-unit: $(READY) ## the tests that need no engines
	$(PYTEST) -m "not engines and not long"

test-long: $(READY) ## the tests with big counts: thousands of tickets while everything is killed (about an hour)
	$(BIN)/pytest -m long
	$(PYTEST) -m "not engines and not long" --hypothesis-profile=random
	SUPPORT_TEST_CASES=100000 $(BIN)/pytest services/sla-monitor/tests/test_against_oracle.py
	SUPPORT_TEST_CASES=10000 $(BIN)/pytest services/sla-monitor/tests/test_planned.py
	SUPPORT_TEST_MIXED=2000 $(BIN)/pytest services/sla-monitor/tests/test_what_if.py -k mixed
	SUPPORT_TEST_LIVES=3000 $(BIN)/pytest --hypothesis-profile=random services/sla-monitor/tests/test_state_machine.py
	SUPPORT_TEST_SEED=$$RANDOM SUPPORT_TEST_TICKETS=3000 SUPPORT_TEST_GOOD=10000 \
		$(BIN)/pytest tests/journeys/test_kills.py tests/journeys/test_poison.py

run: $(READY) ## start everything on this machine and keep it running; addresses in .run/endpoints.json
	exec $(BIN)/python -m deploy run

demo: $(READY) ## start everything apart from `make run` and play a sample day
	exec $(BIN)/python -m deploy demo

bench: $(READY) ## measure throughput beside a plain loop, and latency
	exec $(BIN)/python -m deploy.bench

bench-calendar: $(READY) ## compare business time with two libraries of the field: speed, and every answer that differs
	$(UV) sync --locked --quiet --inexact --group bench --python .uv/bin/python
	exec $(BIN)/python -m deploy.bench.calendar

bench-channels: $(READY) ## measure what one destination in trouble takes from the others
	exec $(BIN)/python -m deploy.bench.channels $(if $(COUNT),--count $(COUNT))

bench-clocks: $(READY) ## measure deadlines among very many open clocks (COUNT=1000000)
	exec $(BIN)/python -m deploy.bench.clocks $(if $(COUNT),--count $(COUNT))

bench-safety: $(READY) ## measure a crisis from its post to the mail server behind 200,000 tickets, over outages, and in a storm
	exec $(BIN)/python -m deploy.bench.safety

shots: ## photograph the mails that a running system caught, as wide as a phone and a desk (needs chromium; MAILS=http://127.0.0.1:8025)
	@command -v chromium > /dev/null || { echo "make shots needs chromium (a package of that name)"; exit 1; }
	@mkdir -p .run/shots
	@for width in 375 1200; do \
		echo "<body style='margin:0'><iframe src='$(MAILS)' style='border:0;width:$${width}px;height:2400px'></iframe>" > .run/shots/page.html; \
		chromium --headless --no-sandbox --hide-scrollbars --window-size=$$((width < 500 ? 500 : width)),2400 \
			--screenshot=.run/shots/mails-$$width.png file://$(CURDIR)/.run/shots/page.html 2> /dev/null; \
		echo .run/shots/mails-$$width.png; \
	done

model: $(READY) ## train the classifier's model from the examples (about 2 minutes)
	$(BIN)/python -m router.training.build

scorecard: $(READY) ## measure the classifier on labelled texts and write its score card (DATA=file of JSON lines)
	$(BIN)/python -m router.training.evaluate $(DATA) --write services/router/SCORECARD.md

up: ## start everything in containers (docker compose), wait until it is healthy
	deploy/compose up

down: ## stop the containers and forget their data
	deploy/compose down

watch: $(READY) ## follow the events of the running system
	exec $(BIN)/supportctl tail

docs: $(READY) ## write docs/contracts anew from the events
	$(BIN)/python -m deploy.contracts

clean: ## remove everything that make has made
	rm -rf .uv .venv .cache .run .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
