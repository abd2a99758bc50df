# Every target sets up what it needs; the environment is kept until pyproject.toml or constraints.txt change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help bench test lint lint-workflows perf docs format clean
.DEFAULT_GOAL := help

help: ## show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

bench: $(STAMP) ## run the suite on this machine (shows the time left; no downloads); ARGS="-k sst2" narrows it
	$(BIN)/python -m pytest benchmarks/ $(ARGS)

# What goes by the clock runs alone, after the rest; ARGS narrows it to one run of what it selects.
ifeq ($(ARGS),)
test: $(STAMP) ## run all tests; ARGS="-k drift" narrows it
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/ --numprocesses auto -m "not realtime"
	$(BIN)/python -m pytest tests/ -m realtime
else
test: $(STAMP)
	$(BIN)/python -m pytest tests/ $(ARGS)
endif

lint: $(STAMP) ## ruff, mypy --strict, the layers of imports, and linters of the workflows that need no network
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	for script in .github/scripts/*.sh; do bash -n $$script || exit; done
	if test -x $(BIN)/zizmor; then $(MAKE) --no-print-directory lint-workflows; else echo "the workflows' linters need Python 3.11: left out"; fi

lint-workflows:
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml

perf: $(STAMP) ## print what the gate, drift and the meters achieve, beside others, as tables of ratios
	$(BIN)/python perf/gate_simulation.py
	$(BIN)/python perf/drift_simulation.py
	$(BIN)/python perf/drift_scale.py
	$(BIN)/python perf/metering_error.py
	$(BIN)/python perf/overhead.py
	$(BIN)/python perf/loop_speed.py
	$(MAKE) --no-print-directory $(VENV)-perf/.installed
	$(VENV)-perf/bin/python perf/peers.py

docs: $(STAMP) ## write the page of options from the table of options
	$(BIN)/python -c "from pytest_energy.plugin.options import options_page; print(options_page(), end='')" > docs/options.md

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)-perf/.installed: pyproject.toml constraints.txt
	test -x $(VENV)-perf/bin/python || $(PYTHON) -m venv $(VENV)-perf
	$(VENV)-perf/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[carbon]' zeus==0.16.0
	touch $@

clean: ## remove the environment and caches
	rm -rf $(VENV) $(VENV)-perf .mypy_cache .ruff_cache .pytest_cache build dist

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	touch $@
