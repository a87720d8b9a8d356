# Two commands do everything on a machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
# The build of torch; any that constraints.txt does not know may be named instead: make demo TORCH="torch==2.9.0"
TORCH  ?= $(shell grep '^torch==' constraints.txt)
VENV   ?= .venv
BIN     = $(VENV)/bin
THREADS ?= 1
# Programs that write pages (and the names of the packages) from what the registries hold.
DOCS    = write_faces.py write_objective_docs.py write_compatibility.py write_definitions.py
PIP     = -m pip install --quiet --disable-pip-version-check
QUICK   = OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(ARGS)

.PHONY: demo test check bench docs site release release-tests clean install dev newest oldest constraints fuzz crash

demo: install
	$(BIN)/vlmcal demo --out demo-report

install: $(VENV)/.installed
dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "vlmcal needs Python >= 3.11, found " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python $(PIP) -c $(VENV)/constraints.txt $(TORCH)
	$(BIN)/python $(PIP) -c $(VENV)/constraints.txt -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python $(PIP) -c $(VENV)/constraints.txt -e '.[dev]'
	@touch $@

test: dev
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_house.py

# Every page that follows from the code; tests compare them. Results of runs (docs/results) are not among them.
docs: dev
	@for script in $(DOCS); do echo "$$script"; $(BIN)/python scripts/$$script || exit 1; done

# The site, offline and strict: warnings are errors, and what it shows is run while it is built.
site: dev
	$(BIN)/python $(PIP) -c $(VENV)/constraints.txt -e '.[docs]'
	OMP_NUM_THREADS=$(THREADS) PYTHONHASHSEED=0 $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	$(BIN)/python scripts/check_site.py docs/_build/html

# Wheel and sdist, checked, and the demo from the wheel alone; `make release-tests` runs the sdist's own tests, too.
release: dev
	rm -rf build dist
	$(BIN)/python $(PIP) -c $(VENV)/constraints.txt -e '.[release]'
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python scripts/check_release.py dist
	$(PYTHON) -m venv --clear .venv-release
	.venv-release/bin/python $(PIP) -c $(VENV)/constraints.txt $(TORCH)
	.venv-release/bin/python $(PIP) -c $(VENV)/constraints.txt "$$(echo dist/*.whl)[train]"
	cd dist && ../.venv-release/bin/vlmcal demo --out ../demo-report

release-tests: release
	rm -rf build/sdist && mkdir -p build/sdist
	tar -xzf dist/*.tar.gz -C build/sdist --strip-components=1
	cd build/sdist && OMP_NUM_THREADS=$(THREADS) PYTHONPATH=$$PWD/src ../../$(BIN)/python -m pytest -p no:cacheprovider -n 2 --dist worksteal -m "not slow" $(ARGS)

# The quick part of the suite against the newest releases, and against the lower bounds of pyproject.toml.
newest: VENV = .venv-newest
newest: TORCH = torch
newest:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP) $(TORCH)
	$(BIN)/python $(PIP) -e '.[dev]'
	$(QUICK)

oldest: VENV = .venv-oldest
oldest:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP) packaging
	$(BIN)/python scripts/write_constraints.py --oldest $(VENV)/constraints.txt
	$(BIN)/python $(PIP) $(TORCH)
	$(BIN)/python $(PIP) -c $(VENV)/constraints.txt -e '.[dev]'
	$(QUICK)

# Pins anew, to what is newest today, what `make demo` and `make test` install; then run them.
constraints: VENV = .venv-constraints
constraints:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP) $(TORCH)
	$(BIN)/python $(PIP) -e '.[dev]'
	$(BIN)/python scripts/write_constraints.py

# New inputs for every reader for a bounded time, and kills at every point of writing; docs/reliability.md holds the figures.
SECONDS ?= 300
fuzz: dev
	$(BIN)/python tests/hostile/fuzzing.py --seconds $(SECONDS)

crash: dev
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python scripts/crash_test.py $(ARGS)

# Every benchmark; the tables against peers, of growth and of imports go into docs/benchmarks.md.
bench: dev
	@for script in $(filter-out benchmarks/tables.py,$(wildcard benchmarks/*.py)); do echo "## $$script"; \
	  case $$script in */peers.py|*/growth.py|*/imports.py) write=--write;; *) write=;; esac; \
	  OMP_NUM_THREADS=$(THREADS) $(BIN)/python $$script $$write || exit 1; done

clean:
	rm -rf $(VENV) .venv-release .venv-newest .venv-oldest .venv-constraints build dist docs/_build docs/generated demo-report .pytest_cache .mypy_cache .ruff_cache
