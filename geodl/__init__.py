"""Geometric deep learning on curved spaces, in JAX.

- ``manifolds``: the spaces, as plain functions and as records; a new one is a subclass of ``manifolds.Manifold``.
- ``distributions``, ``bijectors``, ``nn``: what models are made of.
- ``vae``, ``flows``: the models. ``flows.glow`` and ``flows.image_realnvp`` make flows of images,
  ``flows.ContinuousFlow`` those along vector fields.
- ``generators``: what any trained model becomes, ``model.generator(params)``, and all that a search sees of it.
- ``counterfactual``, ``explain``: explanations of any classifier or regressor.
- ``train``, ``datasets``, ``plotting``: they know no model.

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
