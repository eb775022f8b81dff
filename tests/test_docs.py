"""Every public name has a docstring and an API page."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import geodl


PAGES = Path(__file__).parents[1] / "docs" / "api"
SUBPACKAGES = [f"geodl.{name}" for name in geodl.__all__ if not name.startswith("_")]


def documented_modules() -> set[str]:
    """The modules whose members the API pages list."""
    pages = "".join(page.read_text() for page in PAGES.glob("*.md"))
    return set(re.findall(r"automodule:: ([\w.]+)\n +:members:", pages))


def public(module) -> dict[str, object]:
    """What autodoc lists: ``__all__``, or else the module's own public functions and classes."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    values = {name: getattr(module, name) for name in names}
    ours = {n: v for n, v in values.items() if getattr(v, "__module__", "").startswith("geodl")}
    return {n: v for n, v in ours.items() if inspect.isroutine(v) or inspect.isclass(v)}


@pytest.mark.parametrize("subpackage", SUBPACKAGES)
def test_every_public_name_is_on_a_page(subpackage):
    pages = [importlib.import_module(name) for name in documented_modules()]
    listed = {id(value) for page in pages for value in public(page).values()}
    module = importlib.import_module(subpackage)
    assert module.__all__, f"{subpackage} does not say what is public"
    missing = [name for name, value in public(module).items() if id(value) not in listed]
    assert not missing, f"not in docs/api: {missing}"


def test_every_manifold_module_is_on_a_page():
    path = importlib.import_module("geodl.manifolds").__path__
    modules = {m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")}
    assert {f"geodl.manifolds.{name}" for name in modules} <= documented_modules()


@pytest.mark.parametrize("name", sorted(documented_modules()))
def test_every_listed_name_has_a_docstring(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert public(module)
    bare = [n for n, value in public(module).items() if not (value.__doc__ or "").strip()]
    assert not bare, f"without a docstring: {bare}"
