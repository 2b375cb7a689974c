"""A repository for a class: the exercises, and one workflow that checks them on each push, for any hosted git.

`check.sh` does the work. The workflows of GitHub (which Forgejo and Gitea read too) and of GitLab only call it, so that
a teacher can run the same on a clone.
"""

from collections.abc import Sequence
from pathlib import Path

from minilora.exercises.sources import Exercise, student_file
from minilora.files import write_together

HERE = Path(__file__).parent
PLACES = {  # what lies beside this file, and where it goes
    "check.sh": "check.sh",
    "github.yml": ".github/workflows/check.yml",
    "gitlab.yml": ".gitlab-ci.yml",
    "ignored": ".gitignore",
    "readme.md": "README.md",
}
FOLDER = "exercises"


def write_template(folder: Path, exercises: Sequence[Exercise], requirement: str) -> list[Path]:
    """Write the repository.

    Parameters
    ----------
    folder : Path
        New, or empty.
    exercises : sequence of Exercise
    requirement : str
        What pip installs on the runner: one line of a requirements file; or a wheel, which is put into the repository.

    Returns
    -------
    written : list of Path

    Raises
    ------
    ValueError
        If there is something in the folder already, or the requirement is not one line.
    """
    if folder.is_dir() and (there := sorted(path.name for path in folder.iterdir() if path.name != ".git")):
        raise ValueError(f"the folder was {folder}, which holds {there[0]} already; it must be a new or an empty one")
    if not requirement.strip() or not requirement.isprintable() or requirement.startswith("-"):
        raise ValueError(f"the requirement was {requirement[:100]!r}; it must be one line that pip can install")
    contents: dict[Path, bytes | str] = {
        folder / place: (HERE / name).read_text(encoding="utf-8") for name, place in PLACES.items()
    }
    if requirement.endswith(".whl"):
        wheel = Path(requirement)
        if not wheel.is_file():
            raise ValueError(f"the requirement was {requirement}; there is no such file")
        contents[folder / wheel.name] = wheel.read_bytes()
        requirement = f"./{wheel.name}"
    contents[folder / "requirements.txt"] = requirement + "\n"
    contents |= {folder / FOLDER / exercise.file_name: student_file(exercise) for exercise in exercises}
    write_together(contents)
    return list(contents)
