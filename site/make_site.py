"""``make site``: the course as web pages, in build/site/html, which load nothing from elsewhere.

python site/make_site.py                        runs all notebooks, which takes some minutes
python site/make_site.py --run 02_backprop      runs those whose names contain this; the others show no outputs
"""

import argparse
import ast
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pages

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NO_WIDGETS = "import sys\n\nsys.modules['ipywidgets'] = None  # cannot be imported, and so plots.sliders shows nothing"
SLIDERS = "*In a notebook with a kernel, sliders stand here. The next picture is one of their positions.*"


def stage(source, run=("",)):
    """Put the site's sources together in a new folder, laid out as in the repository, so that links hold.

    Parameters
    ----------
    source : Path
    run : sequence of str
        Parts of the names of the notebooks that Sphinx is to run.
    """
    shutil.rmtree(source, ignore_errors=True)
    leave_out = shutil.ignore_patterns("__pycache__", "assets", "others.md", "latest*")
    for folder in "docs", "figures", "minilora":
        shutil.copytree(ROOT / folder, source / folder, ignore=leave_out)
    for name in "conf.py", "index.md":
        shutil.copy(HERE / name, source / name)
    shutil.copytree(HERE / "_static", source / "_static")
    write(source / "api", pages.api_pages())
    write(source / "tutorials/exercises", pages.exercise_pages())
    for name in "tutorials/README.md", "tutorials/exercises/README.md", "tutorials/exercises/TEACHING.md":
        shutil.copy(ROOT / name, source / name)
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        notebook = without_sliders(with_alt_texts(nbformat.read(path, as_version=4)))
        if not any(part in path.stem for part in run):
            notebook.metadata["mystnb"] = {"execution_mode": "off"}
        nbformat.write(notebook, source / "tutorials" / path.name)
    page = source / "figures/README.md"
    page.write_text(pages.gallery(page.read_text(encoding="utf-8"), page.parent), encoding="utf-8")


def write(folder, texts):
    """Write files into a new folder, from a dict of name to text."""
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def with_alt_texts(notebook):
    """The notebook whose pictures are called by the statement that draws them, instead of by a file's name."""
    for cell in notebook.cells:
        code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        if cell.cell_type == "code" and code.strip():
            drawn = ast.unparse(ast.parse(code).body[-1])
            cell.metadata["mystnb"] = {"image": {"alt": f"drawn by {drawn}"}}
    return notebook


def without_sliders(notebook):
    """The notebook with a remark in the place of what only a kernel can move, and which therefore is not made."""
    cells = [nbformat.v4.new_code_cell(NO_WIDGETS, id="no-widgets", metadata={"tags": ["remove-cell"]})]
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code" and "plots.sliders(" in cell.source:
            cells.append(nbformat.v4.new_markdown_cell(SLIDERS, id=f"{cell.id}-sliders"))
    notebook.cells = cells
    return notebook


def bundle_mathjax(folder, static):
    """Copy MathJax, in the version of package-lock.json, to where the pages load it from."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("make site: needs npm, which brings MathJax (on Debian and Ubuntu: sudo apt install npm)")
    folder.mkdir(parents=True, exist_ok=True)
    for name in "package.json", "package-lock.json":
        shutil.copy(HERE / name, folder / name)
    command = [npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit("make site: npm could not bring MathJax; its message above says why")
    mathjax = folder / "node_modules/mathjax"
    target = static / "mathjax"
    target.mkdir(parents=True)
    for name in "es5/tex-svg.js", "LICENSE":
        shutil.copy(mathjax / name, target)


def build(folder, run=("",)):
    """Build the site.

    Parameters
    ----------
    folder : Path
        For html/, and for what it is made of. Sources and pages of an earlier build are replaced.
    run : sequence of str
        Parts of the names of the notebooks to run.

    Returns
    -------
    status : int
        Sphinx's, not 0 if anything is to be warned of.
    """
    from sphinx.cmd.build import main as sphinx

    source, html = folder / "source", folder / "html"
    stage(source, run)
    bundle_mathjax(folder / "npm", source / "_static")
    shutil.rmtree(html, ignore_errors=True)
    options = ["-b", "html", "-E", "-W", "--keep-going", "-q", "-d", str(folder / "doctrees")]
    return sphinx([*options, str(source), str(html)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", default=[""], metavar="NAME", help="of notebooks (default: all)")
    if build(ROOT / "build/site", parser.parse_args().run):
        sys.exit("make site: the messages above say what is wrong")
    print("build/site/html/index.html")
