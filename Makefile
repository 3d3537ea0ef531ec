# The one door: hooks, CI and people call these. Each target sets up what it needs and is quick when nothing changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV_PYTHON := .venv/bin/python
BASE := .venv/.base-is-current
DEV := .venv/.dev-is-current
LOCKS := code/requirements
T ?= tests

.DEFAULT_GOAL := help
.PHONY: help venv docker base-image demo test test-fast conformance check fix generate docs lock audit guard-real changelog-check release-check release-build release-publish modal-smoke bench bench-quick bench-guard clean
.PHONY: images attest pins promote secrets deploy smoke acceptance probe drift rollback collect image-login mark reviewed open-promotion lane-pr lane-dev lane-staging lane-prod lanes

help: ## Say what each target does
	@echo "make demo is the place to begin. ADAPTER=local runs it in Docker, T=tests/unit narrows the tests."
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | while IFS='	' read -r name text; do \
		printf '  make %-15s %s\n' "$$name" "$$text"; done

venv: $(DEV) ## Build .venv with all that tests and checks need

docker: $(BASE) ## See that a Docker Engine answers; as root on Debian, install and start one
	@$(VENV_PYTHON) -m scripts.ensure_docker

base-image: docker ## Make the image that Dockerfiles build on where none can be pulled
	@$(VENV_PYTHON) -m scripts.make_base_image

demo: $(BASE) ## Read a sample page with doc/ocr@1 and show what came out
	@$(if $(filter local,$(ADAPTER)),$(docker-host))
	@cd code && DJANGO_SETTINGS_MODULE=backend.settings.dev ../$(VENV_PYTHON) ../scripts/demo.py

test: $(DEV) ## Run every test (T=… narrows them, ARGS=… goes to pytest); sets up Docker where it can
	@$(if $(filter-out tests/unit%,$(T)),$(docker-host))
	@$(VENV_PYTHON) -m pytest -c code/pyproject.toml --rootdir . $(T) $(ARGS)

test-fast: $(DEV) ## Run the tests that need neither Docker, nor the index, nor much time
	@$(VENV_PYTHON) -m pytest -c code/pyproject.toml --rootdir . $(T) -m "not slow and not docker and not network" $(ARGS)

conformance: $(DEV) ## Judge every processor by the contract, and the judge by planted faults (part of make test)
	@$(VENV_PYTHON) -m pytest -c code/pyproject.toml --rootdir . tests/contract/test_conformance.py tests/contract/test_conformance_image.py tests/contract/planted $(ARGS)

check: $(DEV) ## Run all checks: format, lint, types, imports, generated files, locks, workflows, docs
	@$(VENV_PYTHON) -m scripts.check

fix: $(DEV) generate ## Repair what can be repaired by itself: format, lint, generated files
	@.venv/bin/ruff check --fix --exit-zero --silent .
	@.venv/bin/ruff format .

generate: $(DEV) ## Write the files that are generated from code
	@$(VENV_PYTHON) -m scripts.generate

docs: $(DEV) ## Build the documentation site into var/site
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

lock: $(DEV) ## Compile the locks again (ARGS=--upgrade takes newer versions, ARGS=path compiles that one)
	@$(VENV_PYTHON) -m scripts.lock $(ARGS)

audit: $(DEV) ## Ask an advisory source about every locked package (ARGS=--require fails where none answers)
	@$(VENV_PYTHON) -m scripts.audit $(ARGS)

modal-smoke: $(DEV) ## Show on Modal what only the real cloud can show; without a token, say that it was skipped
	@$(VENV_PYTHON) -m scripts.modal_smoke

guard-real: $(DEV) ## Prove that real is refused in CI, for every processor and adapter
	@$(VENV_PYTHON) -m scripts.guard_real

changelog-check: $(DEV) ## See that what a user notices since BASE_COMMIT (origin/main) has its line in the changelog
	@$(VENV_PYTHON) -m scripts.release changelog

release-check: $(DEV) ## See that processor-runtime can be released: changelog, tag (TAG=…), two builds alike
	@$(VENV_PYTHON) -m scripts.release check

release-build: $(DEV) ## Build the wheel and source archive of HEAD into var/dist, with their hashes
	@$(VENV_PYTHON) -m scripts.release build

release-publish: $(DEV) ## Publish what lies in var/dist; the workflow's identity is the login, there is no token
	@.venv/bin/uv publish --trusted-publishing always var/dist/*.whl var/dist/*.tar.gz

bench: $(DEV) ## Measure the runtime beside its peers and its limits into bench/results: under 40 minutes on a quiet machine
	@$(VENV_PYTHON) -m bench run $(ARGS)

bench-quick: $(DEV) ## Measure a part of it, in under two minutes, into var/bench/quick
	@$(VENV_PYTHON) -m bench run --profile quick $(ARGS)

bench-guard: $(DEV) ## Fail if a run costs many more instructions than it may
	@$(VENV_PYTHON) -m bench guard

# --- lanes: each step of a workflow, for the lane LANE and the processors REFS (all, where it says nothing)

images: $(DEV) ## Publish and pin the image of each source that is not published yet
	@$(VENV_PYTHON) -m scripts.lane images

attest: $(DEV) ## Sign how each pinned image was built and what is in it
	@$(VENV_PYTHON) -m scripts.lane attest

pins: $(DEV) ## Commit and push new pins, in one commit
	@$(VENV_PYTHON) -m scripts.lane_repository pins

promote: $(DEV) ## Prove that what is pinned is attested, and runs in the lane before
	@$(VENV_PYTHON) -m scripts.lane promote

secrets: $(DEV) ## Write the secrets of this environment to Modal
	@$(VENV_PYTHON) -m scripts.lane secrets

deploy: $(DEV) ## Deploy what is pinned
	@$(VENV_PYTHON) -m scripts.lane deploy

smoke: $(DEV) ## Run each deployed processor once in mock mode
	@$(VENV_PYTHON) -m scripts.lane smoke

acceptance: $(DEV) ## Hold each deployed processor to streams, replays and refusals
	@$(VENV_PYTHON) -m scripts.lane acceptance

probe: $(DEV) ## Prove that real is refused before what is deployed is asked
	@$(VENV_PYTHON) -m scripts.lane probe

drift: $(DEV) ## Prove that what runs is what is pinned
	@$(VENV_PYTHON) -m scripts.lane drift

rollback: $(DEV) ## Deploy what ran well last: the pins of lanes/LANE
	@$(VENV_PYTHON) -m scripts.lane rollback

collect: $(DEV) ## Stop apps in dev whose branch is gone
	@$(VENV_PYTHON) -m scripts.lane collect

image-login: ## Log in to REGISTRY as REGISTRY_USER by REGISTRY_TOKEN, which no command line shows
	@printenv REGISTRY_TOKEN | docker login "$$REGISTRY" --username "$$REGISTRY_USER" --password-stdin

mark: $(DEV) ## Let the branch lanes/LANE be this commit: what the lane runs
	@$(VENV_PYTHON) -m scripts.lane_repository mark

reviewed: $(DEV) ## Prove that this commit is on main
	@$(VENV_PYTHON) -m scripts.lane_repository reviewed

open-promotion: $(DEV) ## Open the lane after LANE for this commit
	@$(VENV_PYTHON) -m scripts.lane_repository open-promotion

lane-pr: $(DEV) ## Judge this change as the PR lane does
	@$(run-lane) pr

lane-dev: $(DEV) ## Run the dev lane on this machine (ARGS=--no-gates leaves out what judges the change itself)
	@$(run-lane) dev

lane-staging: $(DEV) ## Run the lanes on this machine until staging
	@$(run-lane) staging

lane-prod: $(DEV) ## Run the lanes on this machine until production
	@$(run-lane) prod

lanes: $(DEV) ## Run every lane on this machine, the PR lane too
	@$(run-lane) all

run-lane = PYTHONPATH=code $(VENV_PYTHON) -m scripts.lanes $(ARGS)

clean: ## Remove what can be made again: .venv, caches, and var/
	rm -rf .venv var .pytest_cache .ruff_cache .mypy_cache code/.pytest_cache code/.ruff_cache code/.mypy_cache .import_linter_cache code/.import_linter_cache

$(BASE): $(LOCKS)/base.txt $(LOCKS)/uv.txt $(LOCKS)/build.txt code/runtime/pyproject.toml scripts/venv.py
	@$(python-is-new-enough)
	@$(PYTHON) -m scripts.venv base

$(DEV): $(LOCKS)/dev.txt $(LOCKS)/base.txt $(LOCKS)/uv.txt $(LOCKS)/build.txt code/runtime/pyproject.toml code/conformance/pyproject.toml scripts/venv.py
	@$(python-is-new-enough)
	@$(PYTHON) -m scripts.venv dev

# A laptop that can have neither is no failure here: each test that needs an engine skips by name, and a base image
# can be pulled. In CI both must succeed.
define docker-host
$(VENV_PYTHON) -m scripts.ensure_docker --optional && $(VENV_PYTHON) -m scripts.make_base_image --optional
endef

define python-is-new-enough
$(if $(PYTHON),,echo "no python3.11 or python3 on PATH; name one: make PYTHON=/path/to/python3" >&2; exit 1;) \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), and this needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
endef
