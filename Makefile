PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin

.PHONY: demo test check setup clean

# the main job on real text, from a fresh clone: about 10 minutes on 2 CPU cores after set-up
demo: setup
	$(BIN)/python configs/demo_corpus.py
	$(BIN)/text2lm run configs/demo.toml --run runs/demo

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv configs/corpus
