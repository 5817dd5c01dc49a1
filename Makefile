# Two commands are enough for a start: `make run` and `make test`. Both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODEL ?= small
REPORT ?= runs/report
FUZZ_SECONDS ?= 600
FUZZ_SEED ?= 1
MINUTES ?= 20
SEED ?= 1

.PHONY: help install run test check audit check-deploy prove-image demo fuzz-api chaos soak model-check bench-memory eval train-small

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "python3 cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

install: $(STAMP) ## make .venv with everything (a few minutes, about 6 GB)

run: install     ## start API, worker and embedded Redis at http://127.0.0.1:8000
	$(BIN)/vlmir serve

check: install   ## format, lint, types, import rules, spelling, known holes in packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell app model tests docs README.md CHANGELOG.md
	$(BIN)/python -m tests.supply.audit --daily

audit: install   ## ask the OSV database about each installed package; fails on a known hole, not where it cannot be reached
	$(BIN)/python -m tests.supply.audit

test: check      ## every check and every test that needs no GPU
	$(BIN)/python -m pytest -m 'not gpu'

demo: install    ## degrade a public-domain photo, restore it through the service, write demo/
	$(BIN)/vlmir demo --out-dir demo

fuzz-api: install ## random requests by the API's description for FUZZ_SECONDS=600, chains of them too: cases and failures
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

chaos: install   ## 500 jobs under 100 kills, 50 stalls and more, drawn from SEED=1: nothing lost, doubled or wrong (about 15 minutes)
	$(BIN)/python -m tests.chaos.run --seed $(SEED)

soak: install    ## mixed load for MINUTES=20: memory, files and keys must come back to their level; report in runs/soak
	$(BIN)/python -m tests.soak.run --minutes $(MINUTES) --seed $(SEED) --report runs/soak

model-check: install ## random histories of the queue from SEED=1, broken scripts to be noticed, Spin on docs/models (about 15 minutes)
	$(BIN)/python -m tests.property.queue_check --seed $(SEED)
	$(BIN)/python -m tests.property.lease_model

check-deploy: install ## build k8s/overlays with kubectl: objects, schema errors, breaches of our own rules
	$(BIN)/python -m tests.deploy.check

prove-image: install ## as root: do the steps of the api image in a Debian made by debootstrap in IMAGE_ROOT, start it, weigh it
	$(BIN)/python -m tests.deploy.prove $(or $(IMAGE_ROOT),runs/image-root) $(PROVE_OPTIONS)

bench-memory: install ## resident memory of API and worker, before and after a 24-megapixel photo
	$(BIN)/python -m tests.bench.memory

eval: install    ## measure MODEL=small on DATA=folder (val/kodak24, val/live1, real), report in REPORT=runs/report
	$(if $(DATA),,$(error give the data folder: make eval DATA=/path/to/data))@:
	$(BIN)/vlmir eval --model $(MODEL) --data $(DATA)/val/kodak24 --suite denoise,ten,mixtures,clean,steps,seams --report $(REPORT)
	$(BIN)/vlmir eval --model $(MODEL) --data $(DATA)/val/live1 --suite jpeg --report $(REPORT)
	$(BIN)/vlmir eval --model $(MODEL) --data $(DATA)/real --suite real --report $(REPORT)

train-small: install ## train the default weights from DATA=folder (the recipe)
	DATA=$(DATA) BIN=$(BIN) sh model/weights/train_small.sh
