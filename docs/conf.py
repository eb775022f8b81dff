"""Sphinx configuration."""

import inspect
import os
import re
from pathlib import Path


os.environ.setdefault("JAX_PLATFORMS", "cpu")

import matplotlib
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging
from sphinx.util.inspect import stringify_signature

import geodl


project = "geodl"
author = "The geodl contributors"
copyright = "The geodl contributors, Apache-2.0"
version = release = geodl.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
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
html_math_renderer = "mathml"
# STIX, which comes with matplotlib, has the letters of formulas where the reader's fonts lack them.
html_static_path = [
    "_static",
    str(Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf")),
]
html_css_files = ["pages.css"]


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


def visit_math(translator, node):
    """A formula as MathML, which a browser reads by itself: no script, no network."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(node.astext(), as_block=block)
        # a thin space after log, div and the like, which browsers leave out
        formula = formula.replace(
            "&ApplyFunction;</mo>", '&ApplyFunction;</mo><mspace width="0.17em" />'
        )
    except MathError as error:
        logging.getLogger(__name__).warning("%s in %s", error, node.astext(), location=node)
        formula = translator.encode(node.astext())
    tag = "div" if block else "span"
    translator.body.append(translator.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
    translator.body.append(f"{formula}</{tag}>")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("autodoc-process-docstring", plain_mathematics)
    app.connect("autodoc-process-signature", short_signature)
