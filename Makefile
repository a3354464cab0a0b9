# What people, CI and the docs use. `make` lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
LOWEST_PYTHON ?= python3.11
BIN := .venv/bin
DATA ?= ../shared/mnist
RUNS ?= 1
SEED ?= 1
COUNT ?= 20000
CHECKPOINT ?= digits
OUTLIERS ?= build/outliers
HANDS ?= ../shared/photos/sign-language-digits
PHOTOS ?= $(wildcard ../shared/odd-images/exif_orientation/*_1.jpg)
SEEDS ?= 3
WORK ?= runs/pareto
TESTS ?=
PAGES ?=
# Where our code meets its dependencies; the others would find the same.
LOWEST := $(addprefix tests/,e2e imaging jobs ledger models packaging producer sinks sources training worker)

.PHONY: help demo venv test test-lowest browser-test slow-test lint lint-style format samples train-shipped quantise-shipped evaluate outliers pareto synthetic-sheet docs outputs screenshots compose-test monitoring-test fuzz worst-images bounds chaos starvation bench bench-quick release-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.local ## set up and classify the shipped samples: the main job, on this machine alone
	@$(BIN)/python scripts/demo.py

venv: .venv/.dev ## set up everything, for work on Pigeonhole
	@echo "Next: . .venv/bin/activate, then pigeonhole --help, or make test"

test: .venv/.dev ## set up and run the tests; TESTS picks some
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --dist loadfile $(TESTS) # compiled once, not by each of some thousand processes

test-lowest: .venv-lowest/.done ## tests with the oldest releases that pyproject.toml admits, on Python 3.11; 6 GB
	.venv-lowest/bin/pytest -n auto --dist loadfile $(or $(TESTS),$(LOWEST))

browser-test: .venv/.dev ## the report's tests in Chromium, which must be installed, and its driver
	$(BIN)/pytest -m browser tests/browser

slow-test: .venv/.dev ## the tests that `make test` leaves out: the guide's commands, trainings, whole data sets; minutes
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -m slow -n auto --timeout 900

lint: .venv/.dev lint-style ## ruff, format check, mypy --strict, and lint-style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-style: .venv/.dev ## the rules of language that a program can check
	$(BIN)/python scripts/lint_style.py

format: .venv/.dev ## format and sort what ruff can
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

samples: .venv/.dev ## make samples/ again from MNIST's test set in DATA
	$(BIN)/python scripts/make_samples.py $(DATA)

train-shipped: .venv/.dev ## make the shipped checkpoint again from the MNIST in DATA
	$(BIN)/pigeonhole train --dataset mnist --data $(DATA) --overwrite -o pigeonhole/models/shipped/digits.safetensors

quantise-shipped: .venv/.dev ## make the shipped checkpoint in int8 again, with training images of the MNIST in DATA
	$(BIN)/python -m scripts.calibration_images $(DATA) build/calibration
	$(BIN)/pigeonhole export digits --int8 --images build/calibration --overwrite -o pigeonhole/models/shipped/digits-int8.safetensors

evaluate: .venv/.dev ## CHECKPOINT's figures on the MNIST in DATA, or on DATA's folders, one for each class; EVALUATE adds options
	$(BIN)/pigeonhole evaluate $(CHECKPOINT) --data $(DATA) $(EVALUATE)

outliers: .venv/.dev ## make pictures that are no digit in OUTLIERS, and tell how many of each kind CHECKPOINT catches
	$(BIN)/python -m scripts.outlier_kinds $(OUTLIERS) --mnist $(DATA) --hands $(HANDS) --photos $(PHOTOS)
	$(BIN)/pigeonhole evaluate $(CHECKPOINT) --data $(OUTLIERS) --dataset outliers

pareto: .venv/.dev ## train each network with SEEDS seeds, to compare accuracy and cost; goes on with what WORK has; hours
	$(BIN)/python -m benchmarks.studies.pareto --data $(DATA) --work $(WORK) --seeds $(SEEDS)

synthetic-sheet: .venv/.dev ## docs/synthetic.png: synthetic training images, ten of each kind; needs the MNIST in DATA
	$(BIN)/python -m scripts.synthetic_sheet --data $(DATA) -o docs/synthetic.png

docs: .venv/.dev ## write what documents take from the code: docs/reference/ and the README's picture
	$(BIN)/python -m scripts.reference
	$(BIN)/python scripts/picture.py

outputs: .venv/.dev ## run the commands of README and guide, and write their outputs and plots there; PAGES picks some; 20 minutes
	$(BIN)/python -m scripts.outputs $(PAGES)

screenshots: .venv/.dev ## write the docs' pictures of a report of the samples, taken in Chromium
	$(BIN)/python -m scripts.screenshots

compose-test: .venv/.local ## build the images, scale to three workers, compare with the embedded run
	$(BIN)/python -m tests.services.compose

monitoring-test: .venv/.dev ## a real Prometheus asks a real worker, and its alerts fire; needs Debian's package prometheus
	$(BIN)/python -m tests.services.monitoring

fuzz: .venv/.dev ## 20,000 damaged image files through real workers; SEED and COUNT choose which
	$(BIN)/python -m tests.fuzz --seed $(SEED) --count $(COUNT)

worst-images: .venv/.dev ## what the most expensive images that the limits admit cost a worker, in memory and time
	$(BIN)/python -m benchmarks.studies.worst_images

bounds: .venv/.dev ## what a job takes of memory, how long a small one waits behind a large one, what appendfsync costs
	$(BIN)/python -m benchmarks.studies.bounds

chaos: .venv/.dev ## a job of 40,600 images under all faults at once, and a command under changes; SEED and RUNS choose
	$(BIN)/python -m tests.chaos --runs $(RUNS) --seed $(SEED) --model

starvation: .venv/.dev ## how much of a large job is done in 60 s beside a stream of small ones that keeps all processes busy
	$(BIN)/python -m tests.chaos.starvation

bench: .venv/.bench ## images/s beside Celery, Ray Data and plain loops, and all limits; writes docs/benchmarks.md; BENCH adds options
	$(BIN)/python -m benchmarks --data $(DATA) $(BENCH)

bench-quick: .venv/.dev ## under a minute: images/s beside the bare loop, on the samples
	$(BIN)/python -m benchmarks --quick

release-check: .venv/.dev ## build wheel and source archive of the last commit into dist/, check them, install and try the wheel
	$(BIN)/python scripts/release_check.py

clean: ## remove what the targets made
	rm -rf .venv .venv-lowest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis results.csv .results.csv.pigeonhole report.html

# One stamp for each kind of set-up; the larger one serves for both.
.venv/.local: pyproject.toml scripts/setup.sh
	@if [ -e .venv/.dev ] && [ .venv/.dev -nt pyproject.toml ]; then :; else PYTHON=$(PYTHON) scripts/setup.sh local; fi
	@touch $@

.venv/.dev: pyproject.toml scripts/setup.sh
	@PYTHON=$(PYTHON) scripts/setup.sh dev
	@touch $@

# The peers' packages come on top, and only for `make bench`.
.venv/.bench: .venv/.dev
	$(BIN)/python scripts/install.py --editable '.[bench]'
	@touch $@

.venv-lowest/.done: pyproject.toml
	$(LOWEST_PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/pip install -qq --disable-pip-version-check uv # pip can't choose the oldest
	.venv-lowest/bin/uv pip install -q --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	@touch $@
