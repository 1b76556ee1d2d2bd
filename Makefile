# The commands to know. `make demo` and `make test` make their own environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test test-browser lint types check slow bench clean

demo: $(STAMP)
	$(BIN)/metamae demo --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2

# Needs a Chromium: Debian's package, or `playwright install chromium`.
test-browser: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[browser]"
	$(BIN)/python -m pytest -q -rs tests/pages/test_browser.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

bench: $(STAMP)
	$(BIN)/python benchmarks/step.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache

# The versions in constraints.txt are the ones that the tests were run with.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)
