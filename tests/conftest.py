"""What the whole suite shares: the CPU, no compilation cache on disk, and four fixtures."""

import os


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")
os.environ.setdefault("MPLBACKEND", "agg")

from pathlib import Path

import jax
import pytest


@pytest.fixture
def key() -> jax.Array:
    """A PRNG key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture
def x64():
    """Double precision inside the test: ``jnp.asarray(1.0)`` is float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def quick_compiler():
    """XLA without most optimisations, for folders whose time is the compiler's.

    Not for tests of accuracy: the code that they are about is the optimised one.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that GEODL_DATA names; the test is skipped where there is none."""
    folder = os.environ.get("GEODL_DATA")
    if not folder:
        pytest.skip("GEODL_DATA names no folder with data files")
    return Path(folder)
