"""What the whole suite shares: the CPU, no compilation cache on disk, a compiler, and three fixtures."""

import os


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")
os.environ.setdefault("MPLBACKEND", "agg")

import functools
import zlib
from pathlib import Path

import jax
import pytest
from jax._src import compiler  # options of all that is compiled have no public name


@pytest.fixture
def key() -> jax.Array:
    """A PRNG key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture
def x64():
    """Double precision inside the test: ``jnp.asarray(1.0)`` is float64."""
    with jax.enable_x64(True):
        yield


def pytest_addoption(parser):
    parser.addoption(
        "--fifth", type=int, help="0 to 4: run that fifth of the tests, by their names"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """``@pytest.mark.quick("sphere", ...)``: the other cases of that test are slow ones."""
    fifth = config.getoption("--fifth")
    if fifth is not None:
        items[:] = [item for item in items if zlib.crc32(item.nodeid.encode()) % 5 == fifth]
    for item in items:
        for mark in item.iter_markers("quick"):
            if item.callspec.id not in mark.args:
                item.add_marker(pytest.mark.slow)


# Folders whose time is the compiler's. Tests of accuracy are elsewhere, or marked: they are about the optimized code.
QUICKLY_COMPILED = {
    "bijectors",
    "counterfactual",
    "datasets",
    "distributions",
    "equivariant",
    "experiments",
    "explain",
    "flows",
    "infinite",
    "manifolds",
    "multidevice",
    "nn",
    "optim",
    "plotting",
    "tests",
    "vae",
}


# XLA:CPU's older emitters compile in a quarter of the time of the newer ones, the only ones of later versions.
OLDER_EMITTERS = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE",
}


@functools.wraps(compiler.get_compile_options)
def _with_older_emitters(*args, env_options_overrides=None, **kwargs):
    options = {**OLDER_EMITTERS, **(env_options_overrides or {})}
    return _compile_options(*args, env_options_overrides=options, **kwargs)


_compile_options = compiler.get_compile_options


@pytest.fixture(autouse=True)
def _quick_compiler(request, monkeypatch):
    """XLA without most optimizations."""
    quick = request.path.parent.name in QUICKLY_COMPILED
    quick &= request.node.get_closest_marker("optimized") is None
    if quick and jax.__version_info__ < (0, 11):
        monkeypatch.setattr(compiler, "get_compile_options", _with_older_emitters)
    jax.config.update("jax_disable_most_optimizations", quick)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", autouse=True)
def _few_programs():
    """Drop compiled programs before their mapped memory comes near the 65,530 pieces that Linux allows a process."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 30_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that GEODL_DATA names; the test is skipped where there is none."""
    folder = os.environ.get("GEODL_DATA")
    if not folder:
        pytest.skip("GEODL_DATA names no folder with data files")
    return Path(folder)
