# Everything runs from .venv, which requirements/venv.sh makes on first use and remakes when the pins have changed.
#
#   PYTHON=...  the Python to make .venv with, instead of the newest on PATH
#   ARGS=...    passed on to the program that a target runs

.DEFAULT_GOAL := help
# Every target is one program that wants .venv, and some of them every core: nothing is gained side by side.
.NOTPARALLEL:
.PHONY: help setup run-chat run-resolver run-keyvalue run-syslog demo new-server test check format bench docs build lock clean

python := .venv/bin/python
venv := @sh requirements/venv.sh

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9_-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv with everything that development needs
	$(venv) dev docs

run-chat: ## Run the chat server (as for each server: ARGS=--help tells its options)
run-resolver: ## Run the resolver
run-keyvalue: ## Run the key-value store
run-syslog: ## Run the syslog collector
run-chat run-resolver run-keyvalue run-syslog: run-%:
	@test -e servers/$*/__main__.py || { echo 'servers/$* is not written yet' >&2; exit 1; }
	$(venv) servers
	@exec $(python) -m servers.$* $(ARGS)

demo: ## Run all four in one process, with metrics
	$(venv) servers
	@exec $(python) -m servers.demo $(ARGS)

new-server: ## Copy a server for one of your own: NAME=weather FROM=keyvalue
	$(venv) dev
	@$(python) -m shared.new_server "$$NAME" "$$FROM"

test: ## Run every test (ARGS='-n 2 tests/framework': in two processes, that folder)
	$(venv) dev
	@$(python) -m pytest $(ARGS)

check: ## Check style, types and who imports whom: run it before a commit
	$(venv) dev
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@$(python) -m mypy
	@$(python) -m pyright
	@$(python) .venv/bin/lint-imports --no-logo --cache-dir .cache/imports

format: ## Format the code, and fix what can be fixed safely
	$(venv) dev
	@$(python) -m ruff check --fix
	@$(python) -m ruff format

bench: ## Measure the framework against its peers (ARGS=--help tells how)
	$(venv) dev bench
	@$(python) -m benchmarks $(ARGS)

docs: ## Build the documentation into site/
	$(venv) docs
	@NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict --quiet

build: ## Build the sdist and the wheel into dist/, check both, and import what was installed
	$(venv) dev
	@rm -rf dist
	@$(python) -m build --no-isolation
	@$(python) -m twine check --strict dist/*
	@$(python) -m check_wheel_contents dist/*.whl
	@rm -rf .cache/wheel
	@$(python) -m venv --without-pip .cache/wheel
	@$(python) -m pip --disable-pip-version-check --python .cache/wheel install --quiet --no-index dist/*.whl
	@.cache/wheel/bin/python -IWerror -c "import framework, framework.testing; framework.serve; print(framework.__file__)"

lock: ## Pin requirements/*.in, keeping the pins that still fit (ARGS=--upgrade: the newest of all)
	$(venv) dev
	@for name in servers dev docs bench; do \
	    $(python) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	        --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(ARGS) \
	        requirements/$$name.in --output-file requirements/$$name.txt || exit; \
	done

clean: ## Remove whatever the other targets made, .venv too
	@rm -rf .venv .cache .hypothesis dist site
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
