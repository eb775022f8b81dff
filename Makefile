# Everything runs in a virtual environment of its own, made at the first call:
# .venv for the default python3, .venv-3.12 for `make ... PYTHON=python3.12`.

PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(VERSION))
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e

# Data sets that are not generated or bundled: GEODL_DATA, or the folder beside the checkout.
GEODL_DATA ?= $(abspath $(wildcard ../shared/data))
export GEODL_DATA

# Huge pages for the large buffers of convolutional networks, kept when they are freed: without them much of a training
# step on the CPU goes to page faults (Linux with glibc 2.35 or later; ignored elsewhere).
cf-mnist-flow cf-mnist cf-crowd cf-faces cf-clever-hans gauge gauge-wind gauge-digits bench: \
  export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592

# More arguments for the command that a target runs, as in `make test ARGS="-k poincare"`.
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo pvae-branching pvae-mnist-quick pvae-mnist flow-vmf flow-torus flow-hyperbolic flow-so3 flow-earth-quick flow-earth cf-toy cf-mnist-flow cf-mnist cf-crowd cf-faces cf-clever-hans spherical spherical-segments spherical-grids spherical-fisheye spherical-mnist gauge gauge-wind gauge-digits gauge-points trees trees-plane infinite-width infinite-emergence lattice lattice-u1 intuition test slow lower report lint format typecheck docs bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-20s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Variables: PYTHON=python3.12 (3.11 or later), VENV=folder, ARGS="more arguments".'


setup: $(VENV)/.setup-$(VERSION)  ## the environment: package, experiments, test tools

demo: setup  ## a tree in the Poincare disk, beside Euclidean space: minutes on a laptop
	$(PY) -m experiments.pvae demo $(ARGS)

pvae-branching: setup  ## the paper's table on branching diffusion data
	$(PY) -m experiments.pvae branching $(ARGS)

pvae-mnist-quick: setup  ## a 2-d Poincare VAE of MNIST digits, in minutes
	$(PY) -m experiments.pvae mnist-quick $(ARGS)

pvae-mnist: setup  ## the paper's table on MNIST
	$(PY) -m experiments.pvae mnist $(ARGS)

flow-vmf: setup  ## flows that learn von Mises-Fisher distributions: how near to the truth, which way of training
	$(PY) -m experiments.flows vmf $(ARGS)

flow-torus: setup  ## a flow on the torus, beside the distribution it has learned
	$(PY) -m experiments.flows torus $(ARGS)

flow-hyperbolic: setup  ## a flow on the hyperbolic plane, likewise
	$(PY) -m experiments.flows hyperbolic $(ARGS)

flow-so3: setup  ## flows of rotations, likewise
	$(PY) -m experiments.flows so3 $(ARGS)

flow-earth-quick: setup  ## densities on the sphere, without download, in minutes
	$(PY) -m experiments.flows earth-quick $(ARGS)

flow-earth: setup  ## densities of the four earth-science sets: every baseline and ours
	$(PY) -m experiments.flows earth $(ARGS)

cf-toy: setup  ## counterfactuals off a helix: what each optimizer keeps of the theorem
	$(PY) -m experiments.counterfactuals toy $(ARGS)

cf-mnist-flow: setup  ## a flow of MNIST's images, or of scikit-learn's digits where they are not found
	$(PY) -m experiments.counterfactuals flow $(ARGS)

cf-mnist: setup  ## counterfactuals of digits, and what held-out classifiers make of them
	$(PY) -m experiments.counterfactuals mnist $(ARGS)

cf-crowd: setup  ## few and many figures in generated scenes, for a counter and for an independent detector
	$(PY) -m experiments.counterfactuals crowd $(ARGS)

cf-faces: setup  ## attributes of CelebA's faces, which you have downloaded into GEODL_DATA
	$(PY) -m experiments.counterfactuals faces $(ARGS)

cf-clever-hans: setup  ## a classifier that reads a watermark, found out by its explanations
	$(PY) -m experiments.counterfactuals clever-hans $(ARGS)

spherical: setup  ## digits on the sphere: equivariant and planar networks, unrotated and rotated, in minutes
	$(PY) -m experiments.spherical quick $(ARGS)

spherical-segments: setup  ## which digit each point of a sphere belongs to, equivariant and planar networks, in minutes
	$(PY) -m experiments.spherical segments $(ARGS)

spherical-grids: setup  ## how far nonlinearities on grids are from commuting with rotations: a minute
	$(PY) -m experiments.spherical grids $(ARGS)

spherical-fisheye: setup  ## a fisheye camera's image on the sphere and back: seconds
	$(PY) -m experiments.spherical fisheye $(ARGS)

spherical-mnist: setup  ## MNIST on the sphere, the protocol of the papers
	$(PY) -m experiments.spherical mnist $(ARGS)

gauge: setup  ## tangent vectors on a torus: gauge-equivariant and other networks, in minutes; ARGS="--surfaces spot" for a mesh
	$(PY) -m experiments.gauge fields $(ARGS)

gauge-wind: setup  ## wind from geopotential on the globe, likewise; ARGS="--data era" for ERA-Interim's
	$(PY) -m experiments.gauge wind $(ARGS)

gauge-digits: setup  ## digits on the sphere at scattered points, a gauge network beside a spherical and a planar one
	$(PY) -m experiments.gauge digits $(ARGS)

gauge-points: setup  ## how the error of a gauge convolution falls with the number of points
	$(PY) -m experiments.gauge points $(ARGS)

trees: setup  ## embeddings of a taxonomy that are learned, hyperbolic beside Euclidean: minutes
	$(PY) -m experiments.trees learned $(ARGS)

trees-plane: setup  ## trees in the plane by construction, of any depth in float32
	$(PY) -m experiments.trees plane $(ARGS)

lattice: setup  ## a scalar field on a lattice, sampled by an equivariant flow, beside Hamiltonian Monte Carlo
	$(PY) -m experiments.lattice phi4 $(ARGS)

lattice-u1: setup  ## U(1) gauge theory on a lattice, likewise, in every gauge the same
	$(PY) -m experiments.lattice u1 $(ARGS)

intuition: setup  ## formulas of convex polyhedra, found by attribution
	$(PY) -m experiments.intuition $(ARGS)

infinite-width: setup  ## kernels of finite networks, and how fast they become those of infinite width
	$(PY) -m experiments.infinite width $(ARGS)

infinite-emergence: setup  ## ensembles trained on all turned images become equivariant: the theorem, and baselines
	$(PY) -m experiments.infinite emergence $(ARGS)


test: setup  ## the tests
	$(PY) -m pytest -n auto --dist loadfile $(ARGS)

slow: setup  ## the tests that take minutes each
	$(PY) -m pytest -m slow -n auto --dist loadfile $(ARGS)

lower: setup  ## every flagship step lowered for TPU and CUDA, over 8 and 256 devices, from this machine
	$(PY) -m tests.export $(ARGS)

report: setup  ## all runs on one page, runs/report.html
	$(PY) -m experiments.report $(ARGS)

lint: $(VENV)/.lint-$(VERSION)  ## ruff: rules and format, changes nothing
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.lint-$(VERSION)  ## ruff: fix what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

typecheck: $(VENV)/.lint-$(VERSION)  ## pyright on geodl/ and experiments/
	$(PY) -m pyright --pythonpath $(PY)

docs: $(VENV)/.docs-$(VERSION)  ## the documentation, in docs/_build/html
	$(PY) -m sphinx -W --keep-going -q docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

bench: $(VENV)/.bench-$(VERSION)  ## speed beside geoopt, geomstats and, from Python 3.12, hyperbolix
	set -e; for script in benchmarks/[a-z]*.py; do $(PY) "$$script" $(ARGS); done

clean:  ## remove the environments, the built docs and the caches; runs/ stays
	rm -rf .venv .venv-* docs/_build docs/jupyter_execute .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +


# One stamp per Python version: another interpreter in the same place makes the environment anew,
# a changed pyproject.toml or constraints.txt installs again.
$(VENV)/.setup-$(VERSION): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "geodl needs Python 3.11 or later, but PYTHON=$(PYTHON) $(if $(VERSION),is $(VERSION),does not run)." \
	       "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test ! -e $(VENV) || test -e $(VENV)/pyvenv.cfg || { \
	  echo "VENV=$(VENV) is in the way: not a virtual environment." >&2; exit 1; }
	@test -e $@ || { echo "Making the environment $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo 'Installing (minutes the first time)'
	$(INSTALL) '.[experiments,test]'
	@touch $@

$(VENV)/.%-$(VERSION): $(VENV)/.setup-$(VERSION)
	$(INSTALL) '.[$*]'
	@touch $@
