# Targets for people and for CI. Without PYTHON everything is installed into .venv, pinned by constraints.txt;
# PYTHON=python3 uses an environment that is there and installs nothing.

PRESET ?= synthetic
SEEDS ?= 3
DEVICE ?= auto
WORK ?= work
N ?= 4
JOBS ?= auto
PROTOCOL ?= voc-animals
BUNDLE ?= $(WORK)/bundle.zip
# a part of VOC has lists of its own, of the images that were trained and scored on
LISTS ?= $(if $(filter voc-animals%,$(PRESET)),results/voc-animals/lists)

# a value as one word of the shell, whatever blanks and quotes are in it
quoted = '$(subst ','\'',$(1))'
option = $(if $(2),$(1) $(call quoted,$(2)))

ifdef PYTHON
PY := $(if $(shell test -f $(call quoted,$(PYTHON)) && echo a file),$(call quoted,$(PYTHON)),$(PYTHON))
READY :=
else
PY := .venv/bin/python
READY := .venv/.installed
endif

# two tests at a time where pytest-xdist is installed, each on one core
PARALLEL = $(shell $(PY) -c 'import xdist' 2>/dev/null && echo --numprocesses 2 --dist loadfile)
SWDB = $(PY) -m swdb
OPTIONS = --preset $(call quoted,$(PRESET)) --workdir $(call quoted,$(WORK))
COMPUTE = $(OPTIONS) --device $(call quoted,$(DEVICE)) --jobs $(call quoted,$(JOBS))
FILES = $(call option,--cues,$(CUES)) $(call option,--weights,$(WEIGHTS))

.DEFAULT_GOAL := help
.PHONY: help install data proxies table tables verify report bundle results sentences protocol all test slurm mechanism browser check lint bench clean

help: ## list the targets
	@echo "make table N=4   Table 4 on the embedded data set, from nothing"
	@echo "make test        the quick tests"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PRESET="$(call quoted,$(PRESET)) "SEEDS="$(call quoted,$(SEEDS)) "DEVICE="$(call quoted,$(DEVICE)) "WORK="$(call quoted,$(WORK)) "N="$(call quoted,$(N)) "JOBS="$(call quoted,$(JOBS))"; PYTHON=python3 uses what is installed"
	@echo "  VOC, SBD, LABELS, LISTS, CUES, SALIENCY and WEIGHTS name files, as the options of prepare-voc and make-proxy do; JUNIT, SUMMARY and BUNDLE what verify and bundle write"

install: $(READY) ## set up .venv (done by the others where needed)

.venv/.installed: pyproject.toml constraints.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "swdb needs Python 3.11 or newer, found $$(python3 --version)"; exit 2; }
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

data: $(READY) ## prepare the data set
	$(SWDB) prepare-voc $(OPTIONS) $(call option,--voc,$(VOC)) $(call option,--sbd,$(SBD)) $(call option,--image-labels,$(LABELS)) $(call option,--lists,$(LISTS))

proxies: data ## make both sets of proxy masks
	$(SWDB) make-proxy $(COMPUTE) $(FILES) $(call option,--saliency,$(SALIENCY))

table: $(READY) ## one table: make table N=4
	$(SWDB) reproduce-table $(call quoted,$(N)) $(COMPUTE) $(FILES) --seeds $(call quoted,$(SEEDS))

tables: proxies ## all four tables
	$(SWDB) reproduce-table all $(COMPUTE) $(FILES) --seeds $(call quoted,$(SEEDS))
	$(SWDB) eval dual $(COMPUTE) $(FILES) --figure

verify: $(READY) ## the verdict on every claim, from what is finished
	$(SWDB) verify $(OPTIONS) $(call option,--junit,$(JUNIT)) $(call option,--summary,$(SUMMARY))

report: $(READY) ## one HTML file with every claim, from what is finished
	$(SWDB) report $(OPTIONS)

bundle: $(READY) ## one file of evidence from what is finished, checked from the pixels up
	$(SWDB) bundle $(OPTIONS) --output $(call quoted,$(BUNDLE))
	$(SWDB) rescore $(call quoted,$(BUNDLE)) --data $(call quoted,$(WORK))

results: tables ## write the tables and the figure into results/ and the README, out of a bundle that holds
	$(SWDB) bundle $(OPTIONS) --output $(call quoted,$(BUNDLE))
	$(SWDB) rescore $(call quoted,$(BUNDLE)) --data $(call quoted,$(WORK)) --output results/$(call quoted,$(PRESET))
	@for one in $(call quoted,$(WORK))/reports/$(call quoted,$(PRESET))/sensitivity.*; do \
		if [ -f "$$one" ]; then cp "$$one" results/$(call quoted,$(PRESET))/; fi; done
	$(PY) -m swdb.reports.published $(call quoted,$(PRESET))

sentences: $(READY) ## write docs/sentences.md: every sentence of the supplement with its claims
	$(PY) -m swdb.reports.sentences

protocol: $(READY) ## the development runs by which PROTOCOL's settings are chosen (hours), docs/protocol-voc-animals.md
	$(SWDB) prepare-voc --preset $(call quoted,$(PROTOCOL))-dev --workdir $(call quoted,$(WORK)) $(call option,--voc,$(VOC)) $(call option,--sbd,$(SBD)) $(call option,--image-labels,$(LABELS)) --lists results/voc-animals/lists
	PYTHONPATH=. $(PY) bench/protocol.py --protocol bench/protocol-$(call quoted,$(PROTOCOL)).toml --work $(call quoted,$(WORK)) --device $(call quoted,$(DEVICE)) $(call option,--cues,$(CUES))

all: tables ## data, proxies, all tables; then verdicts, report and bundle
	@$(MAKE) --no-print-directory verify
	@$(MAKE) --no-print-directory report
	@$(MAKE) --no-print-directory bundle

test: $(READY) ## the quick tests, minutes on two cores
	$(PY) -m pytest $(PARALLEL)

slurm: $(READY) ## the tests of jobs on a Slurm of one node, with the slow one
	$(PY) -m pytest -m 'slow or not slow' -rs tests/cluster/test_slurm.py

mechanism: $(READY) ## the slow test of the paper's mechanism, with planted faults (about 20 minutes)
	$(PY) -m pytest -m slow -s tests/test_mechanism.py

browser: $(READY) ## the slow test of the report in Chromium, with html-validate and axe-core from npm
	$(PY) -m pytest -m slow -rs tests/reports/test_html_in_browser.py

lint: $(READY) ## ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

check: lint test ## what CI runs, and lint

bench: $(READY) ## how fast, as ratios in one run
	PYTHONPATH=. $(PY) bench/bench.py
	PYTHONPATH=. $(PY) bench/verdicts.py
	PYTHONPATH=. $(PY) bench/workers.py
	PYTHONPATH=. $(PY) bench/convert.py
	PYTHONPATH=. $(PY) bench/real_images.py
	PYTHONPATH=. $(PY) bench/crf.py
	PYTHONPATH=. $(PY) bench/growing.py
	PYTHONPATH=. $(PY) bench/dsrg.py --sets
	PYTHONPATH=. $(PY) bench/evidence.py

clean: ## delete .venv and caches; data and runs stay
	rm -rf .venv .pytest_cache .ruff_cache
