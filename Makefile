# Every target sets itself up: a fresh clone needs Python 3.11+, make and a C compiler, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEEDS ?= 3
JOBS ?= 2

.PHONY: demo test lint bench evidence evidence-demo docs clean

# Bytecode is written when a module is first imported, wherever the environment says otherwise: pip would take longer
# over that of all modules than over the rest of the installation, on one core.
export PYTHONDONTWRITEBYTECODE =

# Made anew when the dependencies change, else untouched.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'modicum needs Python 3.11 or newer, this is ' + sys.version.split()[0])"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[all,dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/modicum compare all --budget demo --seeds $(SEEDS) --out runs/demo

# A file's tests stay in one process, which makes once what they share.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

evidence: $(READY)
	$(BIN)/python evidence/make.py

# The small files, made again: demos on 20 seeds, speeds, and the simulation of intervals.
evidence-demo: $(READY)
	$(BIN)/python evidence/make.py --small

docs: $(READY)
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) runs build dist
