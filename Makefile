.PHONY: venv
PYTHON ?= python3.11
venv: .venv/installed
.venv/installed: pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	.venv/bin/pip install -q --upgrade pip
	.venv/bin/pip install -q -e '.[router]' --group dev
	touch $@
