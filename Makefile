# make demo      install into .venv, then train, score and draw on the built-in data set
# make test      install into .venv, then all tests but the slow ones
# make test-all  the slow tests too
# make coverage  the tests of make test, and how much of the package they run: less than 95 % of its lines and branches is an error
# make mutation  whether the tests notice when the mathematics is changed in one place; about an hour on a free core
# make lint      style, rules against unsafe code, and types
#
# make PYTHON=python3.12 ...   another Python (3.10 to 3.13)
# make VENV=some/folder ...    another virtual environment
# make LOCK= ...               the newest versions of everything, instead of those in .ci/lock
# make JOBS=8 test             so many tests at once; about 1 GB of memory for each

PYTHON ?= python3
VENV ?= .venv
# The versions to install, a file for each Python; tools/lock_versions.sh writes them.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
LOCK ?= .ci/lock/python$(VERSION).txt
JOBS ?= 2

RUN := $(VENV)/bin/python
# Tests of one file share what they make; a thread each, as many processes compute at the same time.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(JOBS) --dist loadfile
INSTALL := $(RUN) -m pip install --disable-pip-version-check $(if $(LOCK),--constraint $(LOCK))
# Written when the installation is complete; holds the seconds it took. Another Python, or no lock, begins anew.
STAMP := $(VENV)/installed-$(VERSION)$(if $(LOCK),,-newest)
# The same for what the tests need and the demo does not: the dense CRF, which has to be compiled, and pytorch-grad-cam.
TEST_STAMP := $(STAMP)-tests

.PHONY: demo test test-all coverage mutation lint install-tests
.DELETE_ON_ERROR:

demo: $(STAMP)
	@start=$$(date +%s) && \
	$(RUN) tools/demo.py && \
	echo "The demo took $$(( $$(date +%s) - start )) s; the installation before it took $$(cat $(STAMP)) s."

install-tests: $(TEST_STAMP)

test: $(TEST_STAMP)
	$(PYTEST) -m "not slow"

# The slow ones one after another: most of them start several processes themselves.
test-all: test
	$(RUN) -m pytest -m slow

coverage: $(TEST_STAMP)
	$(RUN) -m coverage erase
	$(subst -m pytest,-m coverage run -m pytest,$(PYTEST)) -m "not slow"
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

mutation: $(TEST_STAMP)
	$(RUN) -m pip install --disable-pip-version-check 'cosmic-ray==8.7.*'
	$(RUN) tests/mutation/run.py --fresh

# Written so that any Python, even 2, can run it and say what is wrong.
define CHECK_PYTHON
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit("sipe-mmseg needs Python 3.10 to 3.13, and '$(PYTHON)' is Python %d.%d. "
             "Name another one: make PYTHON=python3.12" % sys.version_info[:2])
endef
export CHECK_PYTHON

$(STAMP): pyproject.toml $(wildcard $(LOCK))
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@start=$$(date +%s) && \
	$(PYTHON) -m venv $(if $(filter-out $(STAMP) $(TEST_STAMP),$(wildcard $(VENV)/installed*)),--clear) $(VENV) && \
	$(INSTALL) --editable '.[lite,dev]' && \
	echo "$$(( $$(date +%s) - start ))" > $@ && \
	echo "The installation into $(VENV) took $$(cat $@) s."

# grad-cam without what it requires: opencv-python-headless would take the place of MMCV's opencv-python.
$(TEST_STAMP): $(STAMP)
	$(INSTALL) --editable '.[lite,crf,dev]'
	$(INSTALL) --no-deps grad-cam ttach
	@date > $@
