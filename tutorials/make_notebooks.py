"""Make each notebook (.ipynb) from the Python file of the same name, which is the one to edit: ``make notebooks``."""

from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def sources():
    """The notebooks as Python files, in reading order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def notebook(source):
    """The text of the .ipynb that belongs to a Python file: without outputs, and the same whenever it is made."""
    made = jupytext.read(source, fmt="py:percent")
    made.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},  # with jupytext installed, saving one in Jupyter writes both
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
    }
    made.nbformat, made.nbformat_minor = 4, 5
    for i, cell in enumerate(made.cells):
        cell.id = f"cell-{i:02}"  # Jupyter would draw them at random
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    for path in sources():
        path.with_suffix(".ipynb").write_text(notebook(path), encoding="utf-8")
        print(f"{path.name} -> {path.with_suffix('.ipynb').name}")
