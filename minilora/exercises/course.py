"""``python -m minilora.exercises.course FOLDER [EXERCISE ...]``: an nbgrader course with these exercises, released.

`tutorials/exercises/TEACHING.md` says what a teacher does with it.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from minilora.exercises.notebooks import source_notebook
from minilora.exercises.sources import Exercise, exercises, find
from minilora.files import write_together

ASSIGNMENT = "lora"
CONFIG = """# What nbgrader does for this course; see minilora/exercises/grading.py.
from minilora.exercises.grading import configure

configure(get_config())
"""


def build(folder: str | Path, which: Sequence[str | int] = ()) -> Path:
    """Write the sources of an assignment and let nbgrader make its release.

    Parameters
    ----------
    folder : str or Path
        The course's folder, new or existing. Notebooks of an earlier release are replaced; submissions and grades stay.
    which : sequence of str or int
        Numbers or names of exercises; all, if empty. Once something was handed in, the exercises stay as they were
        handed out: see `handed_in`.

    Returns
    -------
    release : Path
        The folder to hand out.

    Raises
    ------
    ValueError
        If there is no such exercise.
    RuntimeError
        If nbgrader fails. The sources and the release are then what they were.
    """
    folder = Path(folder)
    chosen = handed_in(folder) or [find(name) for name in which] or exercises()
    source, release = (folder / step / ASSIGNMENT for step in ("source", "release"))
    notebooks = {source / f"{e.file_name.removesuffix('.py')}.ipynb": source_notebook(e) for e in chosen}
    with restored_on_failure(source), restored_on_failure(release):
        for exercise in exercises():
            (source / exercise.file_name).with_suffix(".ipynb").unlink(missing_ok=True)
        write_together({folder / "nbgrader_config.py": CONFIG, **notebooks})
        done = nbgrader(folder, "generate_assignment", ASSIGNMENT, "--force")
        if done.returncode:
            raise RuntimeError(f"nbgrader could not make the release:\n{done.stderr}")
    return release


def handed_in(folder: str | Path) -> list[Exercise]:
    """The exercises of an assignment, once something was handed in and graded; empty before that.

    From then on, nbgrader does not let notebooks be added or removed.
    """
    database = Path(folder) / "gradebook.db"
    if not database.is_file():
        return []
    from nbgrader.api import Gradebook, MissingEntry

    try:
        with Gradebook(f"sqlite:///{database.resolve()}") as gradebook:
            assignment = gradebook.find_assignment(ASSIGNMENT)
            names = [notebook.name for notebook in assignment.notebooks] if assignment.submissions else []
    except MissingEntry:
        return []
    return [exercise for exercise in exercises() if exercise.file_name.removesuffix(".py") in names]


@contextlib.contextmanager
def restored_on_failure(folder: Path):
    """A context in which a folder's content is rebuilt; if that fails, the old content is restored."""
    aside = folder.with_name(f".{folder.name}.before")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.is_dir():
        shutil.copytree(folder, aside)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if aside.is_dir():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def nbgrader(folder, *arguments):
    """Run nbgrader in a course's folder, and return subprocess's result."""
    scripts = str(Path(sys.executable).parent)  # nbgrader looks for alembic on the PATH
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": os.pathsep.join((scripts, os.environ.get("PATH", "")))},
        capture_output=True,
        text=True,
        check=False,
    )


def main():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m minilora.exercises.course", description="Build a course.")
    parser.add_argument("folder", help="of the course")
    parser.add_argument("exercises", nargs="*", help="numbers or names (default: all)")
    options = parser.parse_args()
    try:
        fixed, asked = handed_in(options.folder), [find(name) for name in options.exercises] or exercises()
        release = build(options.folder, options.exercises)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"course: {error}")
    if fixed and {e.number for e in fixed} != {e.number for e in asked}:
        numbers = " ".join(str(exercise.number) for exercise in fixed)
        print(f"Something was handed in already, so the exercises stay {numbers}. For others, build another folder:")
        print(f"  python -m minilora.exercises.course OTHER_FOLDER {' '.join(options.exercises)}".rstrip())
    print(f"{release}: the notebooks to hand out")


if __name__ == "__main__":
    main()
