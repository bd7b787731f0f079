# Each target does all of its own set-up, in .venv, with pip; the second time it finds everything in place.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

DATA ?= ../shared/data

.PHONY: demo test test-long bench gallery check docs format clean
demo: $(READY)  ## train a deblurring restorer and restore a photograph that was held out
	$(BIN)/rethaw demo

test: $(READY)  ## the quick suite
	$(PYTEST) -m "not long and not cuda"

test-long: $(READY)  ## the tests that take minutes
	$(PYTEST) -m long

bench: $(READY)  ## the benchmarks: ratios in one run, medians
	$(BIN)/python -m tests.bench

gallery: $(READY)  ## small trainings of everything, on a page of pictures: two hours on two cores, minutes on a GPU
	$(BIN)/python -m tests.bench.gallery --data $(DATA) --out gallery $(ARGS)

check: $(READY)  ## style, types, the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## docs/reference.md from the code, and the site, in site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true PYTHONPATH=. $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv rethaw-demo

$(READY): requirements-dev.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "rethaw needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
