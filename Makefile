# Two commands do everything on a fresh Debian or Ubuntu machine with python3 (3.11 or newer), python3-venv and make:
#   make run    install requirements.txt into .venv and serve the app
#   make test   install requirements-dev.txt too and run all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check train grade benchmark experiments example screenshots page-speed rating-load clean

run: $(VENV)/.installed
	$(BIN)/python app.py

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train: $(VENV)/.installed-dev
	$(BIN)/python -m eft_core.atlas.facts
	$(BIN)/python -m eft_core.atlas.train

grade: $(VENV)/.installed
	$(BIN)/python -m eft_core.atlas.grade --json assets/models/atlas/grades.json

benchmark: $(VENV)/.installed
	$(BIN)/python -m eft_core.benchmark --json assets/benchmarks/atlas-cpu.json

experiments: $(VENV)/.installed
	$(BIN)/python -m eft_core.experiments all --family atlas --json assets/reports/atlas --report assets/reports/atlas.md \
		--notes assets/reports/atlas-notes.md

example: $(VENV)/.installed
	$(BIN)/python -m eft_core compare "When did Kenya become independent?" --record --json assets/example.json

screenshots: $(VENV)/.installed-dev
	PYTHONPATH=. $(BIN)/python tests/screenshots.py

page-speed: $(VENV)/.installed-dev
	PYTHONPATH=. $(BIN)/python tests/page_speed.py

rating-load: $(VENV)/.installed-dev
	PYTHONPATH=. $(BIN)/python tests/rating_load.py --annotators 50 --seconds 120
	PYTHONPATH=. $(BIN)/python tests/many_ratings.py 100000

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("EFT Lab needs Python 3.11 or newer; set PYTHON=python3.12, say") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .atlas .pytest_cache .ruff_cache .mypy_cache
