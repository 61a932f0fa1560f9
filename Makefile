# Everything that is done with this book, by name. `make` alone lists it.
#
#   PYTHON=python3.12   the Python to make the environment with (3.11 or newer)
#   BUDGET=smoke        parameters to execute chapters with: smoke, laptop or full (parameters/<chapter>/)
#   CHAPTER=01          a chapter, by its number or name
#   FORM=desktop        what Lighthouse pretends to be: desktop or mobile
#   SWEEP='--grid ...'  what to vary, and where: `.venv/bin/python -m tools.sweep --help`
#   TESTS=tests         what `make test` hands to pytest, if not everything

PYTHON ?= python3
BUDGET ?= laptop
FORM ?= desktop
SEEDS ?= 20
COLAB_PYTHON ?= 3.13
VENV := .venv
NBGRADER := .venv-nbgrader
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help book pdf serve lab run sweep reruns handout grade nbgrader data test npm lighthouse links test-gpu test-colab outputs benchmarks lock clean

help:  ## list what there is
	@sed -n 's/^\([a-z-]*\):.*  ## /make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

book: $(VENV)/installed  ## build the website into _build/html, executing the chapters that are stale
	@$(RUN) -m tools.build --budget $(BUDGET)

pdf: $(VENV)/installed  ## build the book for paper, _build/book.pdf, through LaTeX; says what to install
	@$(RUN) -m tools.pdf --budget $(BUDGET)

serve: $(VENV)/installed  ## show the website on this machine
	@$(RUN) -m tools.serve

lab: $(VENV)/installed  ## open the chapters in JupyterLab
	@$(VENV)/bin/jupyter lab --notebook-dir .

run: $(VENV)/installed  ## rerun one chapter with papermill: make run CHAPTER=01 BUDGET=smoke
	@$(RUN) -m tools.run $(CHAPTER) --budget $(BUDGET)

sweep: $(VENV)/installed  ## rerun one chapter over a grid: make sweep CHAPTER=05 BUDGET=smoke SWEEP='--grid steps=50,100'
	@$(RUN) -m tools.sweep $(CHAPTER) --budget $(BUDGET) $(SWEEP)

reruns: $(VENV)/installed  ## for maintainers: rerun every chapter with SEEDS=20 other seeds, store what came of it
	@$(RUN) -m tools.reruns $(SEEDS) $(CHAPTER) --budget $(BUDGET)

handout: $(VENV)/installed  ## make the students' copies, of one chapter (make handout CHAPTER=02) or of all
	@$(RUN) -m course.handout $(CHAPTER)

grade: $(VENV)/installed  ## grade course work: make grade CHAPTER=02 FROM=submissions.zip HIDDEN=my_tests
	@$(RUN) -m course.grade $(CHAPTER) $(FROM) $(if $(HIDDEN),--hidden-tests $(HIDDEN))

nbgrader: $(NBGRADER)/installed  ## install nbgrader, for courses that use it, in an environment of its own

data: $(VENV)/installed  ## download CIFAR-10, MNIST and Fashion-MNIST into data/cache
	@$(RUN) -m utils.data

test: $(VENV)/installed npm $(NBGRADER)/installed  ## check the code, build the site, run all tests and every chapter
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m tools.build
	@$(RUN) -m pytest $(TESTS)

lighthouse: $(VENV)/installed npm  ## measure every page of the built site with Lighthouse: speed, accessibility, weight
	@$(RUN) -m tools.lighthouse $(FORM)

links: $(VENV)/installed  ## look up every external link of the built site
	@$(RUN) -m tools.links

test-gpu: $(VENV)/installed  ## run every chapter on this machine's GPU; fails where one fell back to the CPU
	@BOOK_DEVICE=cuda BOOK_BUDGET=$(BUDGET) $(RUN) -m pytest chapters

test-colab: BUDGET = smoke
test-colab: $(VENV)/installed  ## run every chapter with Colab's versions of everything (needs Python 3.13 and 5 GB)
	@$(RUN) -m tools.colab --python $(COLAB_PYTHON) --budget $(BUDGET)

outputs: $(VENV)/installed  ## for maintainers: execute stale chapters on CIFAR-10, and reruns.md's example; store outputs
	@$(RUN) -m tools.outputs $(CHAPTER)

benchmarks: $(VENV)/installed  ## time the training loop and the engine of chapter 2 against their peers
	@$(RUN) -m benchmarks

lock: $(VENV)/installed  ## for maintainers: renew the lock files, requirements.lock from requirements.txt
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" requirements.txt --output-file requirements.lock
	@echo "nbgrader>=0.9.5" | $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
		--no-emit-index-url --custom-compile-command "make lock" - --output-file requirements-nbgrader.lock

# What checks the pages in a browser: axe-core, html-validate, Lighthouse. Without Node.js their tests are skipped.
NPM_TOOLS := tests/browser/node_modules/.package-lock.json
npm: $(if $(shell command -v npm),$(NPM_TOOLS))
$(NPM_TOOLS): tests/browser/package-lock.json
	@cd tests/browser && PUPPETEER_SKIP_DOWNLOAD=1 npm ci --silent --no-fund --no-audit
	@touch $@

clean:  ## remove what was built; the environment and downloaded data stay
	rm -rf _build .pytest_cache .ruff_cache .hypothesis

# One environment for everything, of exactly the versions in requirements.lock. uv installs it in a fraction of pip's time.
$(VENV)/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("The book needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	@echo "Installing the book's environment into $(VENV): about 6 GB with PyTorch's GPU libraries, half a minute to some minutes"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt install python3-venv"; rm -rf $(VENV); exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)/bin/uv pip install $$(test -t 1 || echo --quiet) --python $(RUN) --requirement requirements.lock
	@touch $@

# nbgrader's own packages, and the book's kernel, under the name that notebooks ask for: the chapters need torch.
$(NBGRADER)/installed: requirements-nbgrader.lock $(VENV)/installed
	@$(VENV)/bin/uv venv --quiet --clear --python $(RUN) $(NBGRADER)
	@$(VENV)/bin/uv pip install --quiet --python $(NBGRADER)/bin/python --requirement requirements-nbgrader.lock
	@$(RUN) -m ipykernel install --prefix $(NBGRADER) --name python3 > /dev/null 2>&1
	@touch $@
