"""``make site``: the course as web pages, in build/site/html, which load nothing from elsewhere.

python site/make_site.py                        runs all notebooks, which takes some minutes
python site/make_site.py --run 02_backprop      runs those whose names contain this; the others show no outputs
"""

import argparse
import ast
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))
import checker_picture
import drawn
import figure_pages
import make_pages
import nbformat
import pages
from address import address

from minilora import plots
from minilora.exercises.sources import exercises

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# first of docs/
DOCS = ("install", "lora", "demo", "models", "python", "command_line", "machines", "testing", "speed", "report")
BEGIN = "import sys\n\nsys.path.insert(0, {site!r})\nimport drawn\n\ndrawn.begin({folder!r}, {url!r}, {starts!r})"


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
        notebook = nbformat.read(path, as_version=4)
        if any(part in path.stem for part in run):
            pictures = source / "_static/drawn" / path.stem
            notebook = with_pictures(notebook, str(pictures), f"../_static/drawn/{path.stem}")
        else:
            notebook.metadata["mystnb"] = {"execution_mode": "off"}
        notebook = with_exercises(notebook, path.stem)
        nbformat.write(notebook, source / "tutorials" / path.name)
    figure_pages.stage(source / "figures", source / "_static", source.parent / "pictures")
    fill_in(source / "index.md")
    for path in sorted((source / "docs").glob("*.md")):
        text = pages.linked_inside(path.read_text(encoding="utf-8"), path.parent, source, address())
        path.write_text(text, encoding="utf-8")


def fill_in(page):
    """Put the committed results into a page, as `make pages` does, and the pictures with their texts."""
    text = make_pages.filled(page.read_text(encoding="utf-8"), make_pages.blocks())
    lora = drawn.with_twin(plots.lora_picture)()
    pictures = drawn.Pictures(page.parent / "_static/drawn/home", "_static/drawn/home", ())
    name, text_of, _, twin = pictures.save(lora, "lora")
    shown = drawn.both(pictures.url, name, text_of, 560, twin)
    there = sorted(path.stem for path in (page.parent / "docs").glob("*.md"))
    docs = sorted(there, key=lambda name: DOCS.index(name) if name in DOCS else len(DOCS))
    text = text.replace("DOCS", "\n".join(f"docs/{name}" for name in docs))
    text = text.replace("PICTURE", shown).replace("ALT", checker_picture.alt())
    page.write_text(text, encoding="utf-8")


def write(folder, texts):
    """Write files into a new folder, from a dict of name to text."""
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def with_pictures(notebook, folder, url):
    """The notebook in which pictures become files, and a slider takes the place of the static picture behind it."""
    starts, hidden = [], []
    for cell, following in pairwise([*notebook.cells, None]):
        if cell.cell_type == "code" and (call := sliders_in(cell.source)):
            start = position_in(following, call)
            starts.append(start or {})
            if start:
                hidden.append(following)
    for cell in hidden:
        cell.metadata.setdefault("tags", []).append("remove-cell")
    code = BEGIN.format(site=str(HERE), folder=folder, url=url, starts=starts)
    begin = nbformat.v4.new_code_cell(code, id="drawn", metadata={"tags": ["remove-cell"]})
    notebook.cells.insert(0, begin)
    return notebook


def sliders_in(code):
    """The call of plots.sliders that ends a cell, as a syntax tree; None if there is none."""
    tree = ast.parse("\n".join(line for line in code.splitlines() if not line.startswith("%")))
    last = tree.body[-1] if tree.body else None
    call = last.value if isinstance(last, ast.Expr) else None
    return call if isinstance(call, ast.Call) and ast.unparse(call.func) == "plots.sliders" else None


def position_in(cell, sliders):
    """Where sliders stand in the static picture behind them, as a dict; None if the cell is something else."""
    if cell is None or cell.cell_type != "code":
        return None
    try:
        (only,) = ast.parse(cell.source).body
        call = only.value
        if ast.unparse(call.func) != ast.unparse(sliders.args[0]):
            return None
        names = [keyword.arg for keyword in sliders.keywords]
        given = dict(zip(names, map(ast.literal_eval, call.args)))
        return given | {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, AttributeError, SyntaxError):
        return None


def with_exercises(notebook, stem):
    """The notebook with links to the exercises that it prepares, behind its title and at its end."""
    prepared = [exercise for exercise in exercises() if pages.PREPARED_BY.get(exercise.number) == stem]
    if prepared:
        links = [f"- [{e.number}. {e.title}](exercises/{e.file_name[:-3]}.md)" for e in prepared]
        text = "\n".join(["## Exercises", "", "Write it yourself, and let the checker say what is right:", "", *links])
        notebook.cells.append(nbformat.v4.new_markdown_cell(text, id="exercises"))
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
