# What people run. Everything installs into .venv, from locked files with hashes; nothing else on the machine changes.
PYTHON ?= python3.11
DATA ?= .demo
PORT ?= 8765
PIP = .venv/bin/python -m pip --disable-pip-version-check
COMPILE = pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.PHONY: help demo test check test-fleet test-e2e test-kill test-sabotage mutation safety eval lock clean test-llamacpp test-aimock
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: .venv/runtime ## try opsbot in a browser page; no account, nothing leaves the machine
	.venv/bin/opsbot demo --port $(PORT) --data $(DATA)

test: .venv/dev ## all tests that need nothing but Python (under 10 minutes)
	.venv/bin/pytest -n 4 --dist loadfile -m "not fleet and not browser and not kill and not sabotage"

check: .venv/dev ## format, lint, types, import rules, documentation
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest tests/docs tests/unit/test_config.py

test-fleet: .venv/dev ## tests on real hosts (root; see tests/fleet)
	.venv/bin/pytest -m fleet tests/fleet tests/safety

test-e2e: .venv/dev ## the page, in headless Chromium
	.venv/bin/pytest -m browser

test-kill: .venv/dev ## kill the bot at the worst moments
	.venv/bin/pytest -m kill tests/kill

test-sabotage: .venv/dev ## take out every defence in turn; each time a test has to fail
	.venv/bin/pytest -m sabotage -n 2

mutation: .venv/dev ## make one small mistake at a time in the code no action gets around; each time a test has to fail
	.venv/bin/python -m tests.mutation.run
	.venv/bin/python -m tests.safety.page

safety: .venv/dev ## every row of the safety page at full size (root, PostgreSQL), and the page anew
	.venv/bin/python -m tests.safety.run

eval: .venv/dev ## prove every task of the evaluation on real hosts (root), and its page anew (under 30 minutes)
	.venv/bin/opsbot eval --agent reference --agent null --agent wrong --figures docs/eval-figures.json \
		--html eval.html; came=$$?; .venv/bin/python -m tests.docs.eval_page && exit $$came

test-llamacpp: .venv/dev ## the model's wires against llama.cpp's own server (installs xllamacpp and gguf into build/)
	test -x build/llamacpp/bin/python || $(PYTHON) -m venv build/llamacpp
	build/llamacpp/bin/pip --disable-pip-version-check install --quiet --only-binary :all: xllamacpp==2026.10.11549 gguf==0.19.0
	LLAMACPP_REQUIRED=1 LLAMACPP_PYTHON=$(CURDIR)/build/llamacpp/bin/python .venv/bin/pytest tests/llamacpp

test-aimock: .venv/dev ## the model's wires against aimock (needs npm; installs it into build/)
	npm install --silent --no-audit --no-fund --prefix build/aimock @copilotkit/aimock@1.43.0
	AIMOCK_REQUIRED=1 AIMOCK_CLI_PATH=$(CURDIR)/build/aimock/node_modules/@copilotkit/aimock/dist/cli.js \
		.venv/bin/pytest tests/wire/test_model_aimock.py

lock: ## renew requirements*.lock after a change of pyproject.toml (needs pip-tools)
	mkdir -p build
	$(COMPILE) --extra router --build-deps-for editable -o requirements.lock pyproject.toml
	$(PYTHON) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['dev'], sep='\n')" > build/dev.in
	$(COMPILE) --extra router -c requirements.lock -o requirements-dev.lock pyproject.toml build/dev.in
	! grep -nE '://|^-' requirements.lock requirements-dev.lock

clean: ## remove .venv, caches and the demo's data
	rm -rf .venv .demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The locks are whole: nothing is left to resolve, so a newer release cannot change or stop an install.
.venv/runtime: requirements.lock pyproject.toml | .venv/bin/python
	$(PIP) install --quiet --no-deps --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	$(PIP) check
	touch $@

.venv/dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	$(PIP) install --quiet --no-deps --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	$(PIP) check
	touch $@ .venv/runtime
