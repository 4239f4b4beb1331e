# Thin aliases: everything is in Python modules that run without make, once the environment is there.
# `make help` lists the targets.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PY := .venv/bin/python
STAMP := .venv/.ready

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements/setup.txt requirements/dev.txt pyproject.toml dev/bootstrap.sh
	@sh dev/bootstrap.sh

setup: $(STAMP) ## Make the virtual environment .venv from the locked requirements.

demo: $(STAMP) ## Tell the whole story on a real API server, prove each step, end. KILL_EVERY=seconds kills the operator meanwhile.
	@$(PY) -m demo --datamarts $(or $(DATAMARTS),500) --kill-every $(or $(KILL_EVERY),0)

test: $(STAMP) ## Run all tests, two files at a time (JOBS=4 for more, JOBS=1 for one). ARGS="-k name" narrows them down.
	@$(PY) -m pytest $(or $(ARGS),--numprocesses $(or $(JOBS),2) --dist loadgroup)

up: $(STAMP) ## Start cluster, Key Protect, PostgreSQL, operator and gateway, leave them running, write .dev/env.
	@$(PY) -m stage.up

down: $(STAMP) ## End what `make up` started, and remove it.
	@$(PY) -m stage.down

bench: $(STAMP) ## Measure re-encryption, credential reads, revocation, memory, fairness and abuse. N=10000 for more data marts; ONLY=reencrypt, reads, revocation, memory, fairness or abuse.
	@$(if $(filter-out reencrypt,$(ONLY)),,$(PY) benchmarks/reencrypt.py --datamarts $(or $(N),2000))
	@$(if $(filter-out reads,$(ONLY)),,$(PY) benchmarks/reads.py $(if $(ONLY),$(ARGS)))
	@$(if $(filter-out revocation,$(ONLY)),,$(PY) benchmarks/revocation.py $(ARGS))
	@$(if $(filter-out memory,$(ONLY)),,$(PY) benchmarks/memory.py $(if $(ONLY),$(ARGS)))
	@$(if $(filter-out fairness,$(ONLY)),,$(PY) benchmarks/fairness.py $(if $(ONLY),$(ARGS)))
	@$(if $(filter-out abuse,$(ONLY)),,$(PY) benchmarks/abuse.py $(if $(ONLY),$(ARGS)))

model: $(STAMP) ## Explore the key protocol at its larger bounds, ours and spin's (apt-get install spin gcc libc6-dev), and print rule by rule what each finds.
	@OPENSCALE_MODEL=full $(PY) -m pytest tests/model -k full
	@$(PY) tests/model/agreement.py

e2e: $(STAMP) ## Build the images, install the chart on kind or on a node from packages, prove the story in pods. SMOKE=1 for its first steps.
	@$(PY) -m e2e $(if $(SMOKE),--smoke)

dashboard: $(STAMP) ## Draw the Grafana dashboard from a real Prometheus about the running system, into docs/dashboard.png (needs prometheus, chromium).
	@$(PY) -m dashboard

image: $(STAMP) ## Build an image without a daemon, into dist/. TARGET=emulator for Key Protect's; ARCH="amd64 arm64" for both; BASE=layout.tar.
	@$(PY) -m image_builder $(or $(TARGET),operator) $(foreach arch,$(ARCH),--arch $(arch)) $(if $(BASE),--base $(BASE))

release: $(STAMP) ## Write all that a version is published as into dist/: packages, images, charts, sums, provenance. ARGS=--skip-images for less.
	@$(PY) -m release $(ARGS)

SITE := .tools/docs
$(SITE)/.ready: requirements/docs.txt | $(STAMP)
	@.venv/bin/uv venv --quiet --clear $(SITE) && .venv/bin/uv pip install --quiet --python $(SITE)/bin/python --require-hashes --requirement requirements/docs.txt
	@touch $@

# Not --quiet: what it does not print it does not count either, and a broken link would pass.
docs: $(SITE)/.ready ## Write docs/ as a site into dist/site, with each link and anchor checked.
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python -m mkdocs build --strict

lint: $(STAMP) ## Check format, style, types, layers and generated files.
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports --no-cache
	@$(PY) -m stage.generate --check

generate: $(STAMP) ## Write the CRDs, the chart's copies of them, and docs/openapi.json, from the models; deploy/kustomize from the chart.
	@$(PY) -m stage.generate && $(PY) -m stage.argocd && $(PY) -m stage.kustomize

COMPILE := .venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q
lock: $(STAMP) ## Resolve the requirements anew.
	@$(COMPILE) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) pyproject.toml --group dev -o requirements/dev.txt
	@$(COMPILE) --group setup -o requirements/setup.txt
	@$(COMPILE) --group docs -o requirements/docs.txt

clean: ## Remove the virtual environment and what was left in .dev (after `make down`).
	@rm -rf .venv .dev

.PHONY: help setup demo test up down bench model e2e dashboard image release docs lint generate lock clean
