"""Every public name has an API page, a docstring of one form, and where people start an example that runs."""

import dataclasses
import doctest
import enum
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import geodl


DOCS = Path(__file__).parents[1] / "docs"
PAGES = DOCS / "api"
GUIDES = sorted(page for page in DOCS.glob("*.md") if "{code-cell}" in page.read_text())
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


# Where people start
EXAMPLES = """
geodl.counterfactual.Search geodl.counterfactual.run geodl.generators.Generator geodl.generators.from_bijector
geodl.distributions.RiemannianNormal geodl.distributions.VonMisesFisher geodl.distributions.WrappedNormal
geodl.explain.integrated_gradients geodl.flows.ContinuousFlow geodl.flows.glow geodl.flows.matching_loss
geodl.flows.realnvp geodl.flows.vector_field geodl.infinite.kernels geodl.manifolds.Hyperboloid
geodl.manifolds.PoincareBall geodl.manifolds.Sphere
geodl.manifolds.poincare.dist geodl.manifolds.poincare.expmap geodl.manifolds.poincare.logmap geodl.nn.mlp
geodl.train.fit geodl.vae.elbo geodl.vae.iwae geodl.vae.vae
""".split()


# Docstrings: one line, the formula, Args from three parameters on, Returns, Raises, Reference. Exceptions: records
# (named tuples, dataclasses), whose fields have a line of their own; errors; methods with two arguments at the most,
# whose first line says what they return; and methods that a class of ours above documents.


def members(name: str, value: object) -> dict[str, object]:
    """What is public in a module's public value: itself, the functions of a module, the methods of a class."""
    if inspect.ismodule(value):
        inner = {f"{name}.{key}": v for key, v in public(value).items()}
        return {n: v for key, v in inner.items() for n, v in members(key, v).items()}
    found = {name: value}
    if inspect.isclass(value):
        plain = {n: m for n, m in vars(value).items() if inspect.isfunction(m) and n[0] != "_"}
        above = [base for base in value.__mro__[1:] if base.__module__.startswith("geodl")]
        found |= {
            f"{name}.{n}": m
            for n, m in plain.items()
            if not any("Args:" in (getattr(base, n, None).__doc__ or "") for base in above)
        }
    return found


def everything(subpackage: str) -> dict[str, object]:
    module = importlib.import_module(subpackage)
    values = {name: getattr(module, name) for name in module.__all__}
    ours = {
        name: value
        for name, value in values.items()
        if inspect.ismodule(value) or name in public(module)
    }
    return {n: v for key, value in ours.items() for n, v in members(key, value).items()}


def is_record(value) -> bool:
    return inspect.isclass(value) and (
        issubclass(value, tuple | BaseException | enum.Enum) or dataclasses.is_dataclass(value)
    )


def section(doc: str, title: str) -> str | None:
    found = re.search(rf"^{title}:\n((?:    .*\n?|\n)+)", doc, re.MULTILINE)
    return found[1] if found else None


@pytest.mark.parametrize("subpackage", SUBPACKAGES)
def test_docstrings_have_one_form(subpackage):
    wrong = []
    for name, value in everything(subpackage).items():
        doc = inspect.getdoc(value) or ""
        first = doc.split("\n")[0]
        if not first.endswith((".", ":")) or re.search(r"(?<!et al)\. [A-Z`]", first):
            wrong.append(f"{name}: the first line is not one sentence: {first!r}")
        if re.search(r"(?<![`:\w])`(?!`)[^`]+`(?!`)", doc):
            wrong.append(f"{name}: `single` backticks, where Sphinx wants ``double`` ones")
        is_class = inspect.isclass(value)
        if is_record(value) or (is_class and "__init__" not in vars(value)):
            continue
        if is_class:
            doc += "\n" + (inspect.getdoc(value.__init__) or "")
        signature = inspect.signature(value.__init__ if is_class else value)
        parameters = [n for n in signature.parameters if n not in ("self", "cls")]
        named = re.findall(r"^    (\S[^:]*):", section(doc, "Args") or "", re.MULTILINE)
        named = {n.strip(" *") for names in named for n in names.split(",")}
        if len(parameters) >= 3 and (missing := set(parameters) - named):
            wrong.append(f"{name}: not in Args: {sorted(missing)}")
        returns = signature.return_annotation not in (None, "None", inspect.Signature.empty)
        if returns and not is_class and not section(doc, "Returns"):
            if len(parameters) >= 3 or "." not in value.__qualname__:
                wrong.append(f"{name}: no Returns")
        if ">>>" in doc and value not in map(pkgutil.resolve_name, EXAMPLES):
            wrong.append(f"{name}: an example that no test runs")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name):
    doc = inspect.getdoc(pkgutil.resolve_name(name))
    example = doctest.DocTestParser().get_doctest(doc, {}, name, name, 0)
    assert example.examples, "there is no example"
    report = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_guides_use_names_that_are_there(page):
    """The documentation's build runs the cells; this finds a renamed function in a second."""
    cells = re.findall(r"^```\{code-cell\}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    imports = re.findall(r"^from geodl(?:\.\w+)* import .*$", "\n".join(cells), re.MULTILINE)
    assert imports
    names: dict[str, object] = {}
    exec("\n".join(imports), names)
    modules = {alias: value for alias, value in names.items() if inspect.ismodule(value)}
    used = (
        re.findall(rf"(?<![\w.])({'|'.join(modules)})\.(\w+)", "\n".join(cells)) if modules else []
    )
    assert not [f"{alias}.{name}" for alias, name in used if not hasattr(modules[alias], name)]
