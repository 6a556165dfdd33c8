# The two commands: `make train` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/tiny
CONFIG ?= configs/pretrain/modern_tiny.yaml
# Extra key.path=value overrides, e.g. make train ARGS="train.steps=100"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install train test test-most test-slow test-signals test-oldest test-wheel test-huggingface wheel parity lint format bench bench-data bench-step clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One stamp a kind of environment; it is remade when what is to be installed changes.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "electra_jax needs Python 3.11 or newer; say make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.installed-huggingface: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,huggingface]'
	@touch $@

install: $(VENV)/.installed  ## create the environment

train: $(VENV)/.installed  ## pre-train a tiny ELECTRA on the embedded corpus (WORKDIR=, CONFIG=, ARGS=)
	$(BIN)/python -m electra_jax.train --config $(CONFIG) --workdir $(WORKDIR) $(ARGS)

test: $(VENV)/.installed-dev  ## run the tests, the slow ones left out
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(ARGS)

test-slow: $(VENV)/.installed-dev  ## run the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

test-signals: $(VENV)/.installed-dev  ## send signals at twenty moments of the start of each long command
	$(BIN)/python -m pytest -m slow -s tests/commands/test_signals.py $(ARGS)

# CI runs all tests on the oldest Python, and on the newest all but those of the files that take longest there.
SLOWEST_TESTS := tests/partitioning/test_compiled_collectives.py tests/training/test_meshes.py \
	tests/training/test_long_rows.py tests/training/test_electric_training.py tests/training/test_resume.py \
	tests/distributed/test_hosts_loop.py

test-most: $(VENV)/.installed-dev  ## run the tests, those of the slowest files left out too
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(SLOWEST_TESTS:%=--ignore=%) $(ARGS)

# Exactly the lower bounds of requirements.txt, on the oldest Python.
test-oldest:  ## run the tests with the oldest versions that requirements.txt lets in
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	sed 's/>=/==/' requirements.txt > .venv-oldest/oldest.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-oldest/oldest.txt -e '.[dev]'
	.venv-oldest/bin/python -m pytest -n 2 --dist worksteal -m "not slow" $(ARGS)

wheel: $(VENV)/.installed-dev  ## build dist/electra_jax-VERSION-py3-none-any.whl
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .

test-wheel: wheel  ## install the wheel in an empty environment elsewhere, train five steps there and load the result
	$(BIN)/python tests/check_wheel.py dist/*.whl

# Tests that need transformers and PyTorch are skipped elsewhere.
HUGGINGFACE_TESTS := tests/convert/test_huggingface_live.py tests/convert/test_huggingface_heads_live.py \
	tests/convert/test_huggingface_tokenizer.py tests/inference/test_huggingface_scores_live.py \
	tests/inference/test_huggingface_generate_live.py tests/convert/test_causal_lm_live.py \
	tests/convert/test_encoder_decoder_live.py tests/convert/test_sentence_transformers_live.py \
	tests/model/test_decoder_live.py tests/convert/test_modernbert_heads_live.py \
	tests/convert/files/test_torch_weights.py tests/convert/test_state_dicts.py tests/convert/test_state_dicts_live.py \
	tests/convert/test_tokenizer_agreement.py tests/convert/test_modernbert_live.py tests/model/test_modern_live.py

test-huggingface: $(VENV)/.installed-huggingface  ## install transformers and PyTorch, and test against them
	$(BIN)/python -m pytest $(HUGGINGFACE_TESTS) $(ARGS)

# What is compared with figures of other implementations; docs/parity.md has the table.
PARITY_TESTS := tests/objectives/test_reference_figures.py tests/objectives/test_kept_figures.py \
	tests/model/test_task_heads.py tests/tasks/test_task_losses.py tests/tokenizers/test_tokenizer_wordpiece.py \
	tests/convert

parity: $(VENV)/.installed-dev  ## compare with TensorFlow's and Hugging Face's figures, and print how closely
	$(BIN)/python -m pytest --parity-table -rs $(PARITY_TESTS) $(ARGS)

lint: $(VENV)/.installed-dev  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## rewrite the sources as ruff formats them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-data bench-step  ## measure this machine: text to batches, the step and inference against rivals

bench-data: $(VENV)/.installed-dev  ## prepare, loader and step throughput
	$(BIN)/python -m benchmarks.data $(ARGS)

# The rivals are there after `make test-huggingface`; without them the rest is measured.
bench-step: $(VENV)/.installed-dev  ## the step and inference against Hugging Face PyTorch
	$(BIN)/python -m benchmarks.step $(ARGS)

clean:  ## remove the environment (runs and caches stay)
	rm -rf $(VENV)
