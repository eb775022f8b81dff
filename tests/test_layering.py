"""The arrows of the house: which part of geodl may import which, read from the source."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import geodl


ROOT = Path(geodl.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

GROUND = {"manifolds"}
BRICKS = {"manifolds", "distributions", "bijectors", "nn"}
MODELS = {*BRICKS, "generators"}

# What a part may import of ours, besides itself and ``_core``, which all may.
ALLOWED = {
    "_core": set(),
    "manifolds": set(),
    "generators": GROUND,
    "distributions": GROUND,
    "bijectors": GROUND,
    "nn": GROUND,
    "optim": GROUND,
    "trees": GROUND,
    "vae": MODELS,
    "flows": MODELS,
    "equivariant": BRICKS,
    # They see a generator through its contract, and never a concrete model.
    "counterfactual": {"manifolds", "generators", "optim"},
    "explain": {"manifolds", "generators"},
    "infinite": {"nn", "equivariant"},
    # They know no model.
    "train": set(),
    "datasets": {"manifolds", "distributions"},
    "plotting": {"manifolds", "distributions"},
}

# What is not ours and heavy, or a matter of taste: only these parts may import it, at any level.
CONFINED = {
    "distrax": {"_core"},
    "tensorflow_probability": set(),
    "flax": {"nn", "vae", "flows", "equivariant", "train"},
    "matplotlib": {"plotting"},
    "orbax": {"train"},
    "tqdm": {"train", "datasets"},
    "pooch": {"datasets"},
    "sklearn": {"datasets"},
    "diffrax": {"flows"},
    "tyro": set(),
    "geomstats": set(),
    "blackjax": set(),
    "experiments": set(),
    "tests": set(),
}


def imported(source: str, package: str) -> Iterator[str]:
    """Absolute dotted names of everything that the source of a module in ``package`` imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) + 1 - node.level] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), a.name]) for a in node.names)


def violations(source: str, package: str) -> list[str]:
    """The imports that break a rule, for a module of ``geodl.<part>...``."""
    part = package.split(".")[1]
    bad = []
    for name in imported(source, package):
        top, *rest = name.split(".")
        if top == "geodl":
            target = rest[0] if rest else "geodl"
            if target not in {part, "_core", "__version__", *ALLOWED[part]}:
                bad.append(name)
        elif part not in CONFINED.get(top, {part}):
            bad.append(name)
    return bad


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_point_down(path):
    parts = path.relative_to(ROOT).parts
    if parts == ("__init__.py",):
        assert not [n for n in imported(path.read_text(), "geodl") if n.startswith("geodl")]
        return
    part = parts[0].removesuffix(".py")
    assert part in ALLOWED, f"{part} has no place in ALLOWED"
    assert not violations(path.read_text(), ".".join(["geodl", part, *parts[1:-1]]))


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("geodl.manifolds", "import geodl.vae"),
        ("geodl.manifolds", "from geodl import nn"),
        ("geodl.manifolds", "from geodl.distributions import WrappedNormal"),
        ("geodl.manifolds", "from ..distributions import wrapped_normal"),
        ("geodl.manifolds", "def f():\n    import distrax"),
        ("geodl.train", "from geodl.vae import elbo"),
        ("geodl.generators", "from geodl.flows import glow"),
        ("geodl.counterfactual", "from geodl.vae import VAE"),
        ("geodl.vae", "import experiments.pvae"),
        ("geodl.distributions", "import geomstats.backend as gs"),
    ],
)
def test_a_broken_arrow_is_seen(package, source):
    assert violations(source, package)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("geodl.manifolds", "from . import base\nimport jax.numpy as jnp"),
        ("geodl.manifolds", "from geodl._core.reductions import dot"),
        ("geodl.vae", "from geodl.manifolds import poincare\nfrom ..nn import mlp"),
        ("geodl._core", "import distrax"),
    ],
)
def test_a_good_import_passes(package, source):
    assert not violations(source, package)


@pytest.mark.parametrize("part", sorted(p.name for p in ROOT.glob("[a-z]*") if p.is_dir()))
def test_no_module_is_shadowed_by_a_function_of_its_name(part):
    """``import geodl.flows.discrete.glow as glow`` gives the module."""
    package = importlib.import_module(f"geodl.{part}")
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(info.name)
        parent, _, name = info.name.rpartition(".")
        assert inspect.ismodule(getattr(importlib.import_module(parent), name)), info.name
