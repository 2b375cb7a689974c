"""Make each notebook (.ipynb) from the Python file of the same name, which is the one to edit: ``make notebooks``."""

import sys
from pathlib import Path

import jupytext
import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))
from address import address, colab

FOLDER = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def sources():
    """The notebooks as Python files, in reading order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def notebook(source, repository=None):
    """The text of the .ipynb that belongs to a Python file: without outputs, and the same whenever it is made.

    Parameters
    ----------
    source : Path
    repository : str, optional
        Its address (default: that of pyproject.toml). With one, Colab is linked to, and a cell installs minilora there.
    """
    made = jupytext.read(source, fmt="py:percent")
    made.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},  # with jupytext installed, saving one in Jupyter writes both
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
    }
    made.nbformat, made.nbformat_minor = 4, 5
    for i, cell in enumerate(made.cells):
        cell.id = f"cell-{i:02}"  # Jupyter would draw them at random
    made.cells[1:1] = for_colab(address() if repository is None else repository, source)
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def for_colab(repository, source):
    """The cells behind the title for Colab, where a notebook comes alone; none without an address on GitHub."""
    link = colab(repository, f"tutorials/{source.stem}.ipynb")
    if not link:
        return []
    code = [
        "# In Colab, this installs minilora; elsewhere it does nothing.",
        "import sys\n",
        'if "google.colab" in sys.modules:',
        f"    %pip install --quiet git+{repository}",
    ]
    return [
        nbformat.v4.new_markdown_cell(f"[Open this notebook in Colab]({link})", id="in-colab"),
        nbformat.v4.new_code_cell("\n".join(code), id="install"),
    ]


if __name__ == "__main__":
    for path in sources():
        path.with_suffix(".ipynb").write_text(notebook(path), encoding="utf-8")
        print(f"{path.name} -> {path.with_suffix('.ipynb').name}")
