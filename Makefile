# `make demo` runs the whole job on the bundled sample; `make test` runs the tests. Both install what they need into .venv.

PYTHON ?= python3
BIN := .venv/bin
PARALLEL := -n auto --dist loadfile
DISTS := -e . -e plugins/filterkit-lite -e 'plugins/filterkit-postfilter[rules]'
MORE_DISTS := -e plugins/filterkit-gemini -e plugins/filterkit-openai -e plugins/filterkit-anthropic -e plugins/filterkit-hf -e plugins/filterkit-serve -e 'plugins/filterkit-qwen-lora[benchmark]'
METADATA := pyproject.toml $(wildcard plugins/*/pyproject.toml filters/*/pyproject.toml)
FILTERS := $(shell find filters -type f -not -path '*/model/*' -not -path '*/.*')

.PHONY: demo test test-heavy test-all lint bench docs clean

demo: .venv/demo.stamp
	$(BIN)/filterkit demo demo

test: .venv/dev.stamp
	$(BIN)/python -m pytest $(PARALLEL)

test-heavy: .venv/dev.stamp
	$(BIN)/python -m pytest $(PARALLEL) -m heavy

test-all: .venv/dev.stamp
	$(BIN)/python -m pytest $(PARALLEL) -m "heavy or not heavy"

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy filterkit plugins/*/src
	$(BIN)/lint-imports

bench: .venv/dev.stamp
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/postfilter.py
	$(BIN)/python benchmarks/prefilter.py
	$(BIN)/python benchmarks/screening.py
	$(BIN)/python benchmarks/learning_curve.py --sims 20
	$(BIN)/python benchmarks/scoring.py --articles 20000
	$(BIN)/python benchmarks/calibration.py --fits 50
	$(BIN)/python benchmarks/evaluation.py --sims 100
	$(BIN)/python benchmarks/labelling.py --rounds 1
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/serving.py --seconds 5
	$(BIN)/python benchmarks/training.py --rounds 1

docs: .venv/dev.stamp
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv demo build dist

$(BIN)/python:
	$(PYTHON) -m venv .venv

# The filter package is data and is installed as users install it; the code is installed editable.
.venv/demo.stamp: $(BIN)/python $(METADATA) $(FILTERS)
	$(BIN)/python -m pip install --quiet $(DISTS)
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall ./filters/uplifting
	touch $@

.venv/dev.stamp: .venv/demo.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt $(DISTS) $(MORE_DISTS) -e '.[dev]'
	touch $@
