"""``python -m minilora.exercises.course FOLDER [EXERCISE ...]``: an nbgrader course with these exercises, released.

`tutorials/exercises/README.md` says what a teacher does with it.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from minilora.exercises.notebooks import source_notebook
from minilora.exercises.sources import exercises, find
from minilora.files import write_together

ASSIGNMENT = "lora"
CONFIG = """# What nbgrader does for this course; see minilora/exercises/grading.py.
from minilora.exercises.grading import configure

configure(get_config())
"""


def build(folder, which=()):
    """Write the sources of an assignment and let nbgrader make its release.

    Parameters
    ----------
    folder : str or Path
        The course's, new or not. Notebooks of an earlier release are replaced, submissions and grades stay.
    which : sequence of str
        Numbers or names of exercises; all, if empty.

    Returns
    -------
    release : Path
        The folder to hand out.

    Raises
    ------
    RuntimeError
        If nbgrader fails.
    """
    folder = Path(folder)
    chosen = [find(name) for name in which] or exercises()
    source = folder / "source" / ASSIGNMENT
    for old in source.glob("*.ipynb"):
        old.unlink()
    notebooks = {source / f"{e.file_name.removesuffix('.py')}.ipynb": source_notebook(e) for e in chosen}
    write_together({folder / "nbgrader_config.py": CONFIG, **notebooks})
    done = nbgrader(folder, "generate_assignment", ASSIGNMENT, "--force")
    if done.returncode:
        raise RuntimeError(f"nbgrader could not make the release:\n{done.stderr}")
    return folder / "release" / ASSIGNMENT


def nbgrader(folder, *arguments):
    """Run nbgrader in a course's folder, and return what subprocess says of it."""
    beside = str(Path(sys.executable).parent)  # nbgrader looks for alembic on the PATH
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": os.pathsep.join((beside, os.environ.get("PATH", "")))},
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
        release = build(options.folder, options.exercises)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"course: {error}")
    print(f"{release}: the notebooks to hand out")


if __name__ == "__main__":
    main()
