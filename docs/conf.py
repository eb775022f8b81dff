"""Sphinx configuration."""

import inspect
import os
import re


os.environ.setdefault("JAX_PLATFORMS", "cpu")

from sphinx.util.inspect import stringify_signature

import geodl


project = "geodl"
author = "The geodl contributors"
copyright = "The geodl contributors, Apache-2.0"
version = release = geodl.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "jupyter_execute", "results"]

# Pages with code cells run at every build; an error in one of them fails it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
maximum_signature_line_length = 80
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "geodl"
html_copy_source = False


def plain_mathematics(app, what, name, obj, options, lines):
    """Docstrings are plain text: |x| is a norm and *shape an unpacking, not markup."""
    for i, line in enumerate(lines):
        parts = line.split("``")  # odd parts are literals
        parts[::2] = (re.sub(r"\||\*(?=\w+[,)\[])", r"\\\g<0>", part) for part in parts[::2])
        lines[i] = "``".join(parts)


def short_signature(app, what, name, obj, options, signature, returns):
    """A class by its ``__init__``, whatever its metaclass; ``Array``, not where jax keeps it."""
    if what == "class" and (signature or "").startswith("(*args"):
        own = inspect.signature(obj.__init__)
        own = own.replace(parameters=list(own.parameters.values())[1:])
        signature = stringify_signature(own, unqualified_typehints=True)
        signature = "" if signature.startswith("(*args") else signature
    return tuple(text and shorten(text) for text in (signature, returns))


def shorten(types):
    types = re.sub(r"jax(lib)?\.[\w.]*Array", "Array", types)
    return re.sub(r"~?Array \| ~?numpy\.ndarray \|[~\w|. ]*\| complex", "ArrayLike", types)


def setup(app):
    app.connect("autodoc-process-docstring", plain_mathematics)
    app.connect("autodoc-process-signature", short_signature)
