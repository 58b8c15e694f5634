# make demo   train on real digits and draw them (a few minutes on two cores)
# make viewer look at what it learnt in the browser: an endless picture
# make test   the fast tests: every package and every claim of parity, in minutes
# make test-all   all tests, also those with several processes, browsers and long runs
# make lint   ruff and pyright
# make docs   docs/configuration.md from the keys of a configuration
# Each makes .venv when it is missing. PYTHON chooses the interpreter (3.11 to 3.13).

PYTHON ?= python3
BIN := .venv/bin
CONSTRAINTS := constraints.txt

VIEWER := inr_gan_jax/viewer

.PHONY: demo viewer viewer-assets test test-slow test-all lint docs clean

.venv: pyproject.toml requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "error: $$($(PYTHON) --version) found, expected Python 3.11 to 3.13; try make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable .
	@touch .venv

.venv/test-tools: .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[test]'
	@touch $@

.venv/lint-tools: .venv/test-tools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[lint]'
	@touch $@

.venv/viewer-tools: .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[viewer]'
	@touch $@

demo: .venv
	$(BIN)/python -m inr_gan_jax.main --config=configs/digits.py --workdir=runs/digits
	$(BIN)/python -m inr_gan_jax.tools.gallery --workdir=runs/digits

CHECKPOINT ?= runs/digits

viewer: .venv/viewer-tools
	@test -e $(CHECKPOINT) || { echo "error: $(CHECKPOINT) is not there; make demo learns it, or give make CHECKPOINT=..."; exit 2; }
	$(BIN)/python -m inr_gan_jax.viewer --checkpoint=$(CHECKPOINT)

# Only after another version in package.json: needs npm, and the checksum in tests/viewer/test_static.py.
viewer-assets:
	cd $(VIEWER) && npm ci --ignore-scripts
	cp $(VIEWER)/node_modules/openseadragon/build/openseadragon/openseadragon.min.js $(VIEWER)/static/
	cp $(VIEWER)/node_modules/openseadragon/LICENSE.txt $(VIEWER)/static/openseadragon.LICENSE.txt
	rm -r $(VIEWER)/node_modules

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/test-tools
	$(PYTEST) -m 'not slow'

test-slow: .venv/test-tools
	$(PYTEST) -m slow

test-all: test test-slow

lint: .venv/lint-tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: .venv
	$(BIN)/python -c 'from inr_gan_jax.config import describe; print(describe.configuration_page(), end="")' > docs/configuration.md

clean:
	rm -rf .venv runs .pytest_cache .ruff_cache
