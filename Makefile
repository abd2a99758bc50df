# Every target sets up what it needs; the environment is kept until pyproject.toml or constraints.txt change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests start hundreds of processes: without its bytecode each would compile the plugin anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help bench test mutants fuzz floors floors-lowest floors-newest lint lint-workflows perf accept accept-bundle docs site format clean
BUNDLE ?= build/accept-bundle
MUTATIONS ?= 10000
PARTS ?= 1 2 3 4
.DEFAULT_GOAL := help

help: ## show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

bench: $(STAMP) ## run the suite on this machine (eight minutes on two cores; no model or data is downloaded); ARGS="-k sst2" narrows it
	$(BIN)/python -m pytest benchmarks/ $(ARGS)

# What goes by the clock runs alone, after the rest; ARGS narrows it to one run of what it selects.
define TESTS
$(if $(ARGS),$(1)/bin/python -m pytest tests/ $(ARGS),OMP_NUM_THREADS=1 $(1)/bin/python -m pytest tests/ --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not realtime")
$(if $(ARGS),,$(1)/bin/python -m pytest tests/ -m realtime)
endef

test: $(STAMP) ## run all tests; ARGS="-k drift" narrows it
	$(call TESTS,$(VENV))

# Without ARGS from the beginning: what an earlier run found may be of older tests.
mutants: $(VENV)-mutants/.installed ## change what verdicts hang on, bit by bit, and list what no test notices; ARGS="'pytest_energy.gate*'" narrows it
	$(if $(ARGS),,rm -rf mutants)
	OMP_NUM_THREADS=1 $(VENV)-mutants/bin/mutmut run $(ARGS)
	$(VENV)-mutants/bin/python tests/support/survivors.py

fuzz: $(STAMP) ## run every command on 10,000 mutations of each document; MUTATIONS=500 is shorter
	printf "%s\n" $(PARTS) | OMP_NUM_THREADS=1 PYTEST_ENERGY_MUTATIONS=$$(( $(MUTATIONS) / $(words $(PARTS)) )) xargs -P "$$(nproc)" -I {} env PYTEST_ENERGY_MUTATIONS_PART={} $(BIN)/python -m pytest tests/ -m mutations -q -p no:cacheprovider $(ARGS)

floors: floors-lowest floors-newest ## run all tests with the oldest and with the newest packages that pyproject.toml allows

floors-lowest floors-newest: floors-%: $(VENV)-%/.installed
	$(call TESTS,$(VENV)-$*)

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
	$(BIN)/python perf/comparability.py
	$(BIN)/python perf/pair_trials.py
	$(BIN)/python perf/drift_simulation.py
	$(BIN)/python perf/drift_scale.py
	$(BIN)/python perf/sensor_error.py
	$(BIN)/python perf/sensor_gate.py
	$(BIN)/python perf/real_cards.py
	$(BIN)/python perf/overhead.py
	$(BIN)/python perf/loop_speed.py
	$(MAKE) --no-print-directory $(VENV)-perf/.installed
	$(VENV)-perf/bin/python perf/peers.py

# With a bundle nothing is set up: the host's own Python has PyTorch, transformers and accelerate.
ifneq ($(wildcard $(BUNDLE)/*.whl),)
accept:
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --upgrade --target $(BUNDLE)/site $(BUNDLE)/*.whl
	PYTHONPATH="$(abspath $(BUNDLE)/site)$${PYTHONPATH:+:$$PYTHONPATH}" $(PYTHON) perf/accept.py $(ARGS)
else
accept: $(STAMP) ## ask this GPU host everything once, offline, in ten minutes; results in accept/; ARGS="--simulated --seconds 300" rehearses it
	$(BIN)/python perf/accept.py $(ARGS)
endif

accept-bundle: $(STAMP) ## collect the wheels that `make accept` needs on a host without a network
	$(BIN)/python perf/accept_bundle.py --out $(BUNDLE)

docs: $(STAMP) ## write the page of options from their table, that of faults from the tests' marks, and that of evidence
	$(BIN)/python tests/support/options_page.py > docs/options.md
	$(BIN)/python tests/support/reliability.py > docs/reliability.md
	$(BIN)/python tests/support/evidence.py > docs/evidence.md

site: $(VENV)-site/.installed ## build the documentation as a site, into site/; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(VENV)-site/bin/mkdocs build --quiet

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)-perf/.installed: PACKAGES = --editable '.[carbon]' zeus==0.16.0
$(VENV)-mutants/.installed: PACKAGES = --editable . scipy mutmut==3.8.1

$(VENV)-site/.installed: PACKAGES = mkdocs-material mkdocstrings-python

$(VENV)-perf/.installed $(VENV)-mutants/.installed $(VENV)-site/.installed: pyproject.toml constraints.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PACKAGES)
	touch $@

# Pythons of both ends, by version or path; a version that is not here is downloaded by uv.
LOWEST_PYTHON ?= 3.10
NEWEST_PYTHON ?= 3.13
$(VENV)-lowest/.installed: SET = $(LOWEST_PYTHON) --resolution lowest-direct
$(VENV)-newest/.installed: SET = $(NEWEST_PYTHON)
# A plugin of its own until pytest 9, which has subtests by itself.
$(VENV)-lowest/.installed: BESIDE = pytest-subtests

$(VENV)-lowest/.installed $(VENV)-newest/.installed: pyproject.toml | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(firstword $(SET)) $(@D)
	$(BIN)/uv pip compile --quiet pyproject.toml --extra all --extra dev --python $(@D)/bin/python $(wordlist 2,9,$(SET)) --output-file $(@D)/requirements.txt
	VIRTUAL_ENV=$(@D) $(BIN)/uv pip install --quiet --requirement $(@D)/requirements.txt $(BESIDE)
	VIRTUAL_ENV=$(@D) $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@

clean: ## remove the environment and caches
	rm -rf $(VENV) $(VENV)-perf $(VENV)-mutants $(VENV)-lowest $(VENV)-newest mutants .mypy_cache .ruff_cache .pytest_cache build dist

# Older ones, as Python 3.10 brings, cannot build what ships as source alone (seqeval).
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=23.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	touch $@
