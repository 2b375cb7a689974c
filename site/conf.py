"""Sphinx's settings for the course site; build.py puts the sources together and calls Sphinx with them."""

import re

project = "minilora"
copyright = "minilora contributors"  # noqa: A001
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["minilora"]  # lies there to be linked to

# Pages
html_theme = "furo"
html_title = "minilora"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
mathjax_path = "mathjax/tex-svg.js"  # of this site, like all else that a page loads
mathjax3_config = {"options": {"enableMenu": False}}  # whose entries would load more from the network
highlight_language = "none"  # an indented block is a formula as often as code

# Notebooks: each is run from top to bottom, and one that fails stops the build
nb_execution_mode = "force"
nb_execution_timeout = 900  # seconds a cell
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_output_stderr = "error"
nb_ipywidgets_js = {}  # sliders need a kernel, and their scripts a network
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes say more, and stand in the docstrings
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True


def literal_formulas(app, what, name, obj, options, lines):
    """An indented block behind an empty line is a formula or code, to be shown as it stands."""
    made, inside, before = [], False, 0
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip():
            if indent > before and not inside and i and not lines[i - 1].strip():
                made += [" " * before + "::", ""]
                inside = True
            elif indent <= before:
                inside = False
            if not inside:
                before = indent
        made.append(line if inside else plain(line))
    lines[:] = made


def plain(line):
    """A line of prose, in which |A|, *args and x_ mean themselves; `code` stays code."""
    parts = re.split(r"(`+[^`]+`+)", line)
    return "".join(part if i % 2 else re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for i, part in enumerate(parts))


def setup(app):
    """Before napoleon (priority 500) reads a docstring's sections."""
    app.connect("autodoc-process-docstring", literal_formulas, priority=400)
