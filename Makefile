# Every target sets up .venv by itself; Python 3.11+ and make are all it needs.
PYTHON ?= python3
BIN := .venv/bin
export HIERCL_DATA ?= $(CURDIR)/data
# Where this is set, every worker and kernel compiles torch again: twice the time of a short test.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo lab test test-notebooks test-browser lint notebooks assignments docs bench fuzz kill-test clean
.DEFAULT_GOAL := demo

# uv installs the same packages as pip, in seconds. Remove .venv after changing pyproject.toml by hand.
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "hiercl needs Python 3.11 or newer; choose one with make PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv (once; a few GB of packages) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[lab,points,study,dev]'
	@touch $@

demo: .venv/ready  ## Run the quickstart notebook without a browser; everything it makes is left in runs/demo.
	@$(BIN)/hiercl demo --out runs/demo

lab: .venv/ready  ## Open the quickstart notebook in JupyterLab.
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/00_quickstart.ipynb

test: .venv/ready  ## All tests but the notebooks, and the examples of docstrings.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

test-notebooks: .venv/ready  ## Run every notebook with tiny settings.
	OMP_NUM_THREADS=1 HIERCL_FAST=1 HIERCL_OUT=$(CURDIR)/runs/test-notebooks $(BIN)/python -m pytest -q -n 2 -p no:cacheprovider -o addopts= --nbmake --nbmake-timeout=400 notebooks

test-browser: .venv/ready  ## JupyterLab in Chromium (apt-get install chromium); screenshots go to runs/test-browser.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -o addopts= tests/browser

lint: .venv/ready  ## Style, and types of the package.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

notebooks: .venv/ready  ## Make the notebooks from their sources, executed: what is committed. NAMES="02_pairs" for some.
	$(BIN)/python notebooks/build.py $(NAMES)

assignments: .venv/ready  ## Editions of the notebooks for a course: solutions, for teachers, and for nbgrader; in runs/course.
	$(BIN)/python notebooks/editions.py runs/course $(NAMES)

docs: .venv/ready  ## Write the tables of docs/ anew, from the files that hold the numbers.
	$(BIN)/python docs/build.py

bench: .venv/ready  ## Speed, as ratios measured side by side.
	$(BIN)/python benchmarks/speed.py

fuzz: .venv/ready  ## Random and altered inputs, TRIES=5000 for each test.
	HIERCL_FUZZ=$(or $(TRIES),5000) $(BIN)/python -m pytest -q tests/fuzz

kill-test: .venv/ready  ## Trainings and studies, killed at random moments, end as if they had not been. KILLS=100
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/kills.py --kills $(or $(KILLS),100)

clean:
	rm -rf .venv runs
