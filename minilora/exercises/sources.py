"""The exercises' texts: one py:percent file each, from which everything that a student sees is generated.

A file is a sequence of cells, each after a line `# %%`, which a notebook shows one below the other. That line says what
the cell is for, in the form that nbgrader and Jupyter use:

    # %% [markdown]                                 the goal and the formula; the first has the title and the effort
    # %% nbgrader={... "solution": true ...}        the answer, with the solution between two marks; perhaps, after a
                                                    third, commented out, the wrong lines that students get in its place
    # %% tags=["check"] ...                         checks the answer, in a notebook
    # %% nbgrader={... "grade": true ...}           checks it for marks; hidden from students
    # %% [markdown] tags=["hint"]                   three of these, from weak to strong
    # %% [markdown] tags=["shown"]                  what was shown, for the student who has finished
"""

import functools
import re
from pathlib import Path
from typing import NamedTuple

BEGIN, INSTEAD, END = "### BEGIN SOLUTION", "### INSTEAD", "### END SOLUTION"
BLOCK = re.compile(
    rf"^(?P<indent> *){BEGIN}\n(?P<solution>.*?)(?:^ *{INSTEAD}\n(?P<instead>.*?))?^ *{END}(?:\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
# LoRA itself, for whoever has two hours: the gradients of a linear map, and what LoRA adds to it.
SHORT_PATH = ("linear_backward", "lora_linear_forward", "lora_start", "merging", "lora_linear_backward")
# What a training run with LoRA needs of the exercises: `capstone/` says what for.
CAPSTONE = (
    "linear_backward",
    "lora_linear_forward",
    "cross_entropy_backward",
    "lora_start",
    "lora_linear_backward",
    "adamw_step",
    "layernorm",
    "attention_backward",
)
TITLE = re.compile(r"^# Exercise (?P<number>\d+): (?P<title>.+)$", re.MULTILINE)
NOTEBOOK = re.compile(r"`tutorials/(\w+)\.ipynb`")
EFFORT = re.compile(r"^\*Difficulty (?P<difficulty>\d) of 5, about (?P<minutes>\d+) minutes\.\*", re.MULTILINE)


class Cell(NamedTuple):
    """One cell: the line that begins it, and its lines."""

    marker: str
    text: str

    @property
    def markdown(self):
        """The text of a markdown cell, without the comment signs; None for code."""
        if "[markdown]" not in self.marker:
            return None
        return re.sub(r"^# ?", "", self.text, flags=re.MULTILINE).strip()

    def has(self, what):
        """Whether the marker says, for example, "solution": true or has the tag "hint"."""
        return f'"{what}": true' in self.marker or (f'"{what}"' in self.marker and "tags=[" in self.marker)


class Exercise(NamedTuple):
    """An exercise, as read from its file."""

    name: str
    number: int
    title: str
    difficulty: int  # from 1 to 5
    minutes: int
    hints: tuple[str, ...]
    shown: str
    solution: str
    head: str  # the text above the first cell
    cells: tuple[Cell, ...]

    @property
    def mends(self):
        """Whether students get wrong lines to mend, not a blank."""
        return any(INSTEAD in cell.text for cell in self.cells)

    @property
    def notebook(self):
        """The name of the notebook that prepares it, as its text says."""
        return NOTEBOOK.search(self.cells[0].markdown)[1]

    @property
    def file_name(self):
        """The file name of the source, and of a student's file."""
        return f"{self.number:02d}_{self.name}.py"


def folder():
    """Where the sources are: in the package if it was installed from a wheel, else in the checkout."""
    here = Path(__file__).resolve()
    installed = here.parent / "sources"
    return installed if installed.is_dir() else here.parents[2] / "tutorials" / "exercises"


@functools.cache
def exercises():
    """All exercises, in order."""
    found = [read(path) for path in sorted(folder().glob("[0-9][0-9]_*.py"))]
    if not found:
        raise RuntimeError(f"there are no exercises in {folder()}; is the installation of minilora complete?")
    return found


def find(which):
    """The exercise with a name or number.

    Raises
    ------
    ValueError
        If there is none.
    """
    for exercise in exercises():
        if which in (exercise.name, exercise.number, str(exercise.number)):
            return exercise
    last = exercises()[-1].number
    raise ValueError(f"the exercise was {which!r}; it must be a number from 1 to {last}, or a name in the list")


def read(path):
    """The exercise in a file."""
    head, *parts = re.split(r"^(?=# %%)", Path(path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    cells = tuple(Cell(*part.rstrip().partition("\n")[::2]) for part in parts)
    title, effort = TITLE.search(cells[0].markdown), EFFORT.search(cells[0].markdown)
    (shown,) = [cell.markdown for cell in cells if cell.has("shown")]
    (solution,) = [cell.text for cell in cells if cell.has("solution")]
    return Exercise(
        name=Path(path).stem[3:],
        number=int(title["number"]),
        title=title["title"],
        difficulty=int(effort["difficulty"]),
        minutes=int(effort["minutes"]),
        hints=tuple(cell.markdown for cell in cells if cell.has("hint")),
        shown=shown,
        solution=BLOCK.sub(lambda block: block["solution"], solution + "\n").rstrip("\n"),
        head=head,
        cells=cells,
    )


def student_file(exercise):
    """The text of the .py file that a student fills in."""
    cells = [cell for cell in exercise.cells if for_students(cell) and not cell.has("check")]
    blanked = [f"{cell.marker}\n{blank(cell.text, exercise)}" for cell in cells]
    return "\n\n".join(re.sub(r" nbgrader=\{.*\}", "", text) for text in blanked) + "\n"


def for_students(cell):
    """Whether students see a cell: not the hints, what was shown, or the cells that give marks."""
    return not any(cell.has(what) for what in ("hint", "shown", "grade"))


def blank(text, exercise):
    """A cell's text with each solution replaced by what students get: an error that names the task, or wrong lines."""

    def instead(block):
        if block["instead"] is not None:
            return re.sub(r"^( *)# ?", r"\1", block["instead"], flags=re.MULTILINE)
        functions = re.findall(r"^ *def (\w+)", text[: block.start()], re.MULTILINE)
        function = functions[-1] if functions else exercise.name
        return f'{block["indent"]}raise NotImplementedError("exercise {exercise.number}, {function}")\n'

    return BLOCK.sub(instead, text + "\n").rstrip("\n")


def names_of(exercise: Exercise) -> tuple[str, str]:
    """The names of the student's file and notebook."""
    return exercise.file_name, str(Path(exercise.file_name).with_suffix(".ipynb"))


def path_of(exercise: Exercise, folder: str | Path) -> Path | None:
    """The student's file, or notebook; None if there is neither."""
    return next((path for name in names_of(exercise) if (path := Path(folder) / name).is_file()), None)
