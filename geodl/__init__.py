"""Geometric deep learning on curved spaces, in JAX.

Subpackages load when they are first used (PEP 562), so that ``import geodl`` costs nothing
beside ``import jax``: ``distributions`` and what stands on it bring in distrax, and with it
tensorflow-probability, ``plotting`` brings in matplotlib, ``train`` brings in orbax.
"""

import importlib
import pkgutil
from types import ModuleType


__version__ = "0.1.0"

_SUBPACKAGES = frozenset(
    module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
)
__all__ = [*sorted(_SUBPACKAGES), "__version__"]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
