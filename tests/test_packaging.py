"""What pyproject.toml promises is what `make matrix` tries."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OLDEST, NEWEST = (SETTINGS["tool"]["tox"]["env"][name] for name in ("oldest", "newest"))


def versions(requirements, sign):
    """{"numpy": (2, 0)} of ["numpy>=2.0.0"]: names and versions, in which zeros at the end say nothing."""
    pairs = [requirement.split(sign) for requirement in requirements]
    return {name: tuple(map(int, re.sub(r"(\.0)+$", "", version).split("."))) for name, version in pairs}


def test_the_oldest_environment_has_the_lowest_version_of_every_dependency():
    pinned = [requirement for requirement in OLDEST["deps"] if "==" in requirement]
    project = SETTINGS["project"]
    assert versions(pinned, "==") == versions(project["dependencies"] + project["optional-dependencies"]["hf"], ">=")


def test_the_oldest_python_is_the_oldest_that_is_said_to_do():
    (oldest,) = OLDEST["base_python"]
    assert SETTINGS["project"]["requires-python"] == f">={oldest}"
    assert SETTINGS["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


def test_every_python_that_is_listed_is_one_that_can_be_tried():
    listed = {c.rpartition(" ")[2] for c in SETTINGS["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert listed <= {*OLDEST["base_python"], *NEWEST["base_python"]}
