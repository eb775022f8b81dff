"""``import geodl`` is light: what is heavy loads with the subpackage that needs it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import geodl


ROOT = Path(geodl.__file__).parents[1]
HEAVY = {"distrax", "tensorflow_probability", "geomstats", "matplotlib", "orbax", "diffrax"}


def python(code: str) -> str:
    """What a fresh interpreter prints (without the checks that pytest adds to geodl)."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def loaded_by(imports: str) -> set[str]:
    modules = python(f"import sys; {imports}; print(*sys.modules)").split()
    return {name.split(".")[0] for name in modules}


def test_manifolds_load_nothing_heavy():
    loaded = loaded_by("import geodl; import geodl.manifolds")
    assert {"jax", "geodl"} <= loaded
    assert not HEAVY & loaded


def test_loaded_by_sees_heavy_modules():
    assert HEAVY & loaded_by("import matplotlib") == {"matplotlib"}


def cpu_seconds(imports: str) -> float:
    return float(python(f"import time; {imports}; print(time.process_time())"))


def test_manifolds_cost_little_more_than_jax():
    # The two take turns, and each one's best counts: other processes only ever add time.
    rounds = [(cpu_seconds("import jax"), cpu_seconds("import geodl.manifolds")) for _ in range(3)]
    jax_alone, with_geodl = map(min, zip(*rounds, strict=True))
    assert with_geodl <= 1.5 * jax_alone, f"{with_geodl:.2f} s against {jax_alone:.2f} s for jax"


def test_subpackages_load_on_first_use():
    printed = python("""
        import sys, geodl
        print("geodl.manifolds" in sys.modules)
        geodl.manifolds.poincare
        print("geodl.manifolds" in sys.modules)
    """)
    assert printed.split() == ["False", "True"]


def test_public_names():
    assert "manifolds" in dir(geodl)
    assert all(hasattr(geodl, name) for name in dir(geodl))
    assert not any(name.startswith("_") for name in dir(geodl) if name != "__version__")


def test_unknown_name():
    with pytest.raises(AttributeError, match="no_such_space"):
        _ = geodl.no_such_space
