"""Sphinx's settings for the course site; make_site.py puts the sources together and calls Sphinx with them."""

import time
from pathlib import Path

from docstrings import prepare

project = "minilora"
copyright = "minilora contributors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
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
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = html_show_sourcelink = False
mathjax_path = "mathjax/tex-svg.js"  # of this site, like all else that a page loads
mathjax3_config = {"options": {"enableMenu": False}}  # whose entries would load more from the network
highlight_language = "none"  # an indented block is a formula as often as code
smartquotes = False  # y' and "..." are formulas too

# Notebooks: each is run from top to bottom, and one that fails stops the build
nb_execution_mode = "force"
nb_execution_timeout = 900  # seconds per cell
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True  # what a cell prints is one block, however it came
nb_output_stderr = "error"
myst_enable_extensions = ["attrs_inline", "dollarmath"]
myst_heading_anchors = 3

# Docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes say more, and stand in the docstrings
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True


NOTEBOOKS = sorted(path.stem for path in (Path(__file__).parent / "tutorials").glob("*.ipynb"))


def say_which(app, page, source):
    """Say which notebook is read now; one that is run takes a minute."""
    name = page.rpartition("/")[2]
    if page.startswith("tutorials/") and name in NOTEBOOKS:
        clock = time.strftime("%H:%M:%S")
        print(f"make site: {clock} notebook {NOTEBOOKS.index(name) + 1} of {len(NOTEBOOKS)}, {name}", flush=True)


def setup(app):
    """The docstrings are prepared before napoleon, with priority 500, reads their sections."""
    app.connect("source-read", say_which)
    app.connect("autodoc-process-docstring", prepare, priority=400)
