# The whole manual: `make demo` tries it, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_KEEP ?= 1
DEMO_DIR ?= var/demo
# Before what is installed: a second work tree may share the environment of the first.
export PYTHONPATH := $(CURDIR)/plugins

.PHONY: test-ui screenshots bench-dicom pacs-faults bench-pixels bench-conversion help demo test lint format bench bench-zone zone-soak irods-test bench-deid-score \
	bench-deid-speed bench-grid grid-nights requirements system clean

help:
	@echo "make demo      set up everything and run the main job on real DICOM files (DEMO_KEEP=0 ends by itself)"
	@echo "make viewer    fetch the OHIF viewer from npm into var/viewer, for the gateway's setting viewer"
	@echo "make test      set up and run every test"
	@echo "make irods-test  python-irodsclient's own tests against the embedded zone (some minutes)"
	@echo "make test-ui   a steward's day in a real browser, a site's whole day unattended, OHIF on the gateway (many minutes); make screenshots takes the docs' pictures"
	@echo "make stack-test  a site in real containers: a day, backup and restore, killed containers (root, podman or Docker; an hour)"
	@echo "make lint      ruff, mypy --strict and the import rules"
	@echo "make docs      build the documentation as a site into var/site; a warning or a broken link is an error"
	@echo "make bench     time of each step for 500 instances of 512 KiB (slow)"
	@echo "make zone-soak  100,000 operations on the embedded zone by clients that are killed at random (minutes)"
	@echo "make bench-zone  objects a second into the embedded zone, on 1 and on 4 connections"
	@echo "make deid-properties  the anonymiser on thousands of datasets that hypothesis makes up"
	@echo "make deid-corpus  every file of pydicom and pydicom-data and every row of Table E.1-1, checked (half an hour)"
	@echo "make bench-deid-score  de-identification scored on known answers beside its peers (installs them in var/)"
	@echo "make grid-nights  a hundred simulated nights of faults, killed servers and absent partners"
	@echo "make grid-convergence  200 studies whose ingest fails at random, each proven or held in the end"
	@echo "make bench-deid-speed  instances per second of CPU, ours beside its peers; peak of memory on 2 GB"
	@echo "make bench-pixels  share of drawn texts hidden and of frames without text changed (TEXTS=600, half an hour)"
	@echo "make bench-conversion SERIES=folder  series of MR, CT and PET that dcm2niix converts after de-identification as before"
	@echo "make bench-faces  faces removed from 54 transformed volumes of a head: gone or held, brain unchanged, time, memory"
	@echo "make bench-grid  deposit, fetch, verification and planning; PACSGRID_TEST_ZONES names a real zone"
	@echo "make bench-fetch-release  2,000 studies fetched by a release's one command, interrupted twice (STUDIES=n; minutes)"
	@echo "make bench-dicom  instances a second: receiving, C-GET, WADO-RS, gateway, beside DCMTK, pynetdicom, python-irodsclient; memory"
	@echo "make bench-scale  2,000 studies of 5 instances from a PACS through Airflow to two zones (PART=flow STUDIES=n); pages, searches and plans at 10,000 to 1,000,000 studies (PART=read STUDIES=n,n,n); an hour"
	@echo "make bench-find  a C-FIND of 10,000 to 1,000,000 answers: time, and memory of ours (ANSWERS=n,n; half an hour)"
	@echo "make celery-workers  two Celery workers with Redis, each with work folders of its own; one is killed for good (ten minutes)"
	@echo "make waves     20,000 studies through Airflow in waves of 64 batches while tasks and scheduler are killed (STUDIES=n; hours)"
	@echo "make pacs-faults  every readable DICOM file from Orthanc and dcmqrscp while 8 % of connections fail (minutes)"
	@echo "make fuzz      damaged conversations and pixel data (CASES=100000)"
	@echo "make bench-cohorts  cohort queries over 100,000 studies (STUDIES=n), times and PostgreSQL's plan; ten minutes"
	@echo "make bench-dags  CPU seconds to read each DAG file, beside an empty one"
	@echo "make requirements  resolve requirements*.in anew, with the hash of every file that may be installed"

# pacsgrid itself is installed from here, so that its command and what it adds to Airflow are found.
$(VENV)/.ready: requirements-uv.txt requirements.txt requirements-dev.txt requirements-docs.txt docker/airflow/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip install -q --require-hashes -p $(BIN)/python -r requirements.txt -r requirements-dev.txt -r requirements-docs.txt \
		-r docker/airflow/requirements.txt
	$(BIN)/uv pip install -q --no-deps --no-build-isolation -p $(BIN)/python -e .
	@touch $@

# A real PACS is better than a stand-in: taken from Debian where we may install it.
system:
	@sh docker/install-test-peers.sh

.PHONY: viewer
viewer: $(VENV)/.ready
	$(BIN)/python -m pacsgrid.embedded.viewer --dir var/viewer

demo: $(VENV)/.ready system
	$(BIN)/python -m pacsgrid.embedded.demo --dir $(DEMO_DIR) --keep $(DEMO_KEEP)

# Airflow's tests wait for Airflow most of the time: the others run beside them.
test: $(VENV)/.ready system
	$(BIN)/python -m pytest -n 2 --dist loadscope

irods-test: $(VENV)/.ready
	$(BIN)/python tests/irods_suite/run.py

test-ui: $(VENV)/.ready system
	$(BIN)/python -m pytest tests/e2e/test_page.py tests/e2e/test_steward.py tests/e2e/test_review.py tests/e2e/test_accessibility.py tests/e2e/test_site_day.py tests/gateway/test_viewer.py -m "e2e or ui"

screenshots: $(VENV)/.ready system
	PACSGRID_SCREENSHOTS=$(CURDIR)/docs/img $(BIN)/python -m pytest tests/e2e/test_page.py tests/e2e/test_cohort_page.py tests/e2e/test_accessibility.py tests/e2e/test_steward.py tests/e2e/test_review.py tests/gateway/test_viewer.py -m "e2e or ui"

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Needs root, podman with podman-compose or Docker; see docs/install.md for PACSGRID_BASE_IMAGE and the like.
.PHONY: stack-test
stack-test: $(VENV)/.ready
	PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m stack.run --state $(or $(STATE),/var/tmp/pacsgrid-stack)

.PHONY: docs
docs: $(VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready system
	$(BIN)/python tests/benchmarks/bench_pipeline.py

zone-soak: $(VENV)/.ready
	PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m support.zone_soak --operations 100000

bench-zone: $(VENV)/.ready
	$(BIN)/python tests/benchmarks/bench_zone.py

.PHONY: deid-properties deid-corpus
deid-properties: $(VENV)/.ready
	HYPOTHESIS_EXAMPLES=3000 $(BIN)/python -m pytest tests/deid/test_properties.py

deid-corpus: $(VENV)/.ready system
	PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m corpus.run

bench-deid-score: $(VENV)/.ready
	$(BIN)/python tests/benchmarks/bench_deid_score.py

grid-nights: $(VENV)/.ready
	PACSGRID_NIGHTS=100 $(BIN)/python -m pytest -s tests/pipeline/test_maintenance_nights.py

# Random failures of resources, zones, steps and rooms; every study must be proven or held.
.PHONY: grid-convergence
grid-convergence: $(VENV)/.ready
	PACSGRID_SCENARIOS=200 $(BIN)/python -m pytest -s tests/pipeline/test_convergence.py

bench-deid-speed: $(VENV)/.ready
	$(BIN)/python tests/benchmarks/bench_deid_speed.py

# TEXTS=n draws fewer or more of them.
bench-pixels: $(VENV)/.ready system
	PYTHONPATH=$(CURDIR)/plugins:$(CURDIR)/tests $(BIN)/python tests/benchmarks/bench_pixels.py --texts $(or $(TEXTS),600)

# SERIES=folder holds the DICOM files, such as checkouts of neurolabusc/dcm_qa and its sisters. dcm2niix is
# installed in var/peers.
bench-conversion: $(VENV)/.ready
	@test -d "$(SERIES)" || { echo "make bench-conversion SERIES=folder: name a folder with DICOM files"; exit 2; }
	PYTHONPATH=$(CURDIR)/plugins:$(CURDIR)/tests $(BIN)/python tests/benchmarks/bench_conversion.py "$(SERIES)"

.PHONY: bench-faces
bench-faces: $(VENV)/.ready system
	PYTHONPATH=$(CURDIR)/plugins:$(CURDIR)/tests $(BIN)/python tests/benchmarks/bench_faces.py

bench-grid: $(VENV)/.ready
	$(BIN)/python tests/benchmarks/bench_grid.py

.PHONY: bench-fetch-release
bench-fetch-release: $(VENV)/.ready
	PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests $(BIN)/python tests/benchmarks/bench_fetch_release.py --studies $(or $(STUDIES),2000)

bench-dicom: $(VENV)/.ready system
	$(BIN)/python tests/benchmarks/bench_dicom.py

.PHONY: bench-cohorts
bench-cohorts: $(VENV)/.ready system
	$(BIN)/python tests/benchmarks/bench_cohorts.py --studies $(or $(STUDIES),100000)

.PHONY: bench-dags
bench-dags: $(VENV)/.ready
	$(BIN)/python tests/benchmarks/bench_dags.py

SIZES := 10000,100000,1000000
.PHONY: bench-scale waves
bench-scale: $(VENV)/.ready system
	$(if $(filter read,$(PART)),,$(BIN)/python tests/benchmarks/bench_scale/flow.py --studies $(or $(STUDIES),2000))
	$(if $(filter flow,$(PART)),,PYTHONPATH=$(PYTHONPATH):tests/benchmarks $(BIN)/python -m bench_scale.read --studies $(or $(and $(filter read,$(PART)),$(STUDIES)),$(SIZES)))

waves: $(VENV)/.ready system
	$(BIN)/python tests/benchmarks/bench_scale/flow.py --studies $(or $(STUDIES),20000) --instances 1 --source drop \
		--plain 0 --batch-size 8 --max-map-length 64 --kill

.PHONY: bench-find celery-workers
bench-find: $(VENV)/.ready
	$(BIN)/python tests/benchmarks/bench_find.py --answers $(or $(ANSWERS),10000,100000,1000000)

celery-workers: $(VENV)/.ready system
	$(BIN)/python tests/benchmarks/celery_workers.py

pacs-faults: $(VENV)/.ready system
	PACSGRID_FAULTS=full $(BIN)/python -m pytest tests/pacs/test_retrieval_faults.py

.PHONY: fuzz
fuzz: $(VENV)/.ready
	PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m fuzzed.run --cases $(or $(CASES),100000)

requirements: $(VENV)/.ready
	for name in requirements-uv requirements requirements-dev requirements-docs docker/airflow/requirements; do \
		$(BIN)/uv pip compile -q --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
			--python-version 3.11 $$name.in -o $$name.txt || exit 1; \
	done

clean:
	rm -rf $(VENV) var
