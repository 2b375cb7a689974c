"""A repository for a class: its workflows' steps are run for real, on right, wrong and hostile answers."""

import json
import os
import subprocess
import sys

import pytest

from cli.running import check_refused, prints
from exercises.answers import by_name
from minilora.exercises import feedback
from minilora.exercises.sources import exercises, student_file

yaml = pytest.importorskip("yaml", reason="needs PyYAML, which jupytext brings along")

GITHUB, GITLAB = ".github/workflows/check.yml", ".gitlab-ci.yml"
NUMBERS = (1, 2, 3)
NAMES = ("linear_backward", "lora_linear_forward", "parameter_counting")
SECRET = "a-token-that-nobody-may-read"
SHADOW = "open({marker!r}, 'w').write('taken')\n"
HOSTILE = r"""
import os, sys
print("::error::not mine\n```\n# Feedback\n<script>\n\x1b[2J\x07" + "````")
print(os.environ.get("THE_TOKEN"), sorted(os.environ))
for path in ({feedback!r}, {right!r}, {summary!r}):
    try:
        open(path, "w").write("passed")
    except OSError as error:
        print(error)
def linear_backward(dy, cache):
    __import__("minilora.exercises.checking")
"""


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "class"
    prints("course", "template", folder, *NUMBERS)
    return folder


def steps_of(folder):
    """What a workflow runs, by the place of its file."""
    github = yaml.safe_load((folder / GITHUB).read_text())["jobs"]["check"]["steps"]
    gitlab = yaml.safe_load((folder / GITLAB).read_text())["check"]["script"]
    return {GITHUB: [step["run"] for step in github if "run" in step], GITLAB: gitlab}


def push(folder, workflow=GITHUB):
    """Run a workflow's steps as a runner does; returns the status, what was printed, and the feedback."""
    summary = folder.parent / "summary.md"
    summary.write_text("")
    environment = os.environ | {"PYTHON": sys.executable, "THE_TOKEN": SECRET, "GITHUB_STEP_SUMMARY": str(summary)}
    environment["PYTHONPATH"] = str(folder)  # whatever lies in the repository, isolated Python does not take it
    (step,) = steps_of(folder)[workflow]
    run = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(["bash", "-e", "-c", step], **run)
    written = folder / "feedback" / "feedback.json"
    results = json.loads(written.read_text())["exercises"] if written.is_file() else None
    if done.returncode <= 1:
        assert summary.read_text() == (folder / "feedback" / "feedback.md").read_text()
    return done, results


def answer(folder, name, source):
    (folder / "exercises" / by_name(name).file_name).write_text(source)


def test_what_is_written(repository):
    files = {str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_file()}
    answers = {f"exercises/{by_name(name).file_name}" for name in NAMES}
    assert files == {GITHUB, GITLAB, "check.sh", ".gitignore", "README.md", "requirements.txt", *answers}
    for name in NAMES:
        text = (repository / "exercises" / by_name(name).file_name).read_text()
        assert text == student_file(by_name(name)) and "raise NotImplementedError" in text
    assert steps_of(repository) == {GITHUB: ["sh check.sh"], GITLAB: ["sh check.sh"]}


def test_a_workflow_holds_no_more_rights_than_it_needs(repository):
    workflow = yaml.safe_load((repository / GITHUB).read_text())
    job = workflow["jobs"]["check"]
    assert workflow["permissions"] == {"contents": "read"} and job["timeout-minutes"] <= 30
    (checkout,) = (step for step in job["steps"] if "checkout" in step.get("uses", ""))
    assert checkout["with"]["persist-credentials"] is False
    assert "secrets." not in (repository / GITHUB).read_text()
    (artifact,) = (step for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
    assert artifact["if"] == "always()" and artifact["with"]["path"] == "feedback/"
    assert yaml.safe_load((repository / GITLAB).read_text())["check"]["artifacts"]["when"] == "always"


def test_the_shell_script_is_plain():
    source = (feedback.Path(feedback.__file__).parent / "template" / "check.sh").read_text()
    done = subprocess.run(["sh", "-n"], input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""


def test_a_right_answer_a_wrong_one_and_none(repository):
    right, mistaken, _ = (by_name(name) for name in NAMES)
    done, results = push(repository)
    assert done.returncode == 0 and [r["state"] for r in results] == ["not begun"] * 3, done.stderr
    answer(repository, right.name, right.solution)
    done, results = push(repository, GITLAB)
    assert done.returncode == 0 and [r["state"] for r in results] == ["passed", "not begun", "not begun"]
    assert results[0]["points"] == results[0]["of"] == 2 * right.difficulty and results[1]["points"] == 0
    answer(repository, right.name, right.solution.replace("dx = dy @ W", "dx = 2 * dy @ W"))
    answer(repository, mistaken.name, "def lora_linear_forward(:")
    done, results = push(repository)
    assert done.returncode == 1 and [r["state"] for r in results] == ["not yet", "not yet", "not begun"]
    assert 0 < results[0]["points"] < results[0]["of"] and "  dx: wrong" in results[0]["report"]
    text = (repository / "feedback" / "feedback.md").read_text()
    assert "| 1 linear_backward | not yet |" in text and "dbias: right" in text and "is not Python" in text
    assert "parameter_counting" in done.stdout and "0 of 3 passed" in text


def test_a_hostile_answer_changes_nothing_and_learns_nothing(repository, tmp_path):
    marker, other = tmp_path / "marker", by_name(NAMES[1])
    paths = {
        "feedback": str(repository / "feedback" / "feedback.md"),
        "right": str(repository / "exercises" / other.file_name),
        "summary": str(tmp_path / "summary.md"),
    }
    source = HOSTILE
    for name, path in paths.items():
        source = source.replace("{" + name + "!r}", repr(path))
    answer(repository, NAMES[0], source)
    answer(repository, NAMES[1], other.solution)
    (tmp_path / "outside.py").write_text(SECRET)
    link = repository / "exercises" / by_name(NAMES[2]).file_name
    link.unlink()
    link.symlink_to(tmp_path / "outside.py")
    for shadow in ("numpy.py", "sitecustomize.py", "minilora/__init__.py", "json.py", "exercises/numpy.py"):
        path = repository / shadow
        path.parent.mkdir(exist_ok=True)
        path.write_text(SHADOW.format(marker=str(marker)))
    done, results = push(repository)
    assert done.returncode == 1 and not marker.exists(), done.stderr
    assert [r["state"] for r in results] == ["not yet", "passed", "cannot be read"]
    text = (repository / "feedback" / "feedback.md").read_text()
    assert SECRET not in text + done.stdout + done.stderr and "is a link; it must be a file" in text
    assert "\x1b" not in text and "\x07" not in text and "tried to change" in text
    assert not any(line.startswith("::") for line in done.stdout.splitlines())
    (begin,) = (i for i, line in enumerate(text.splitlines()) if line == "`````text")
    inside = text.splitlines()[begin + 1 :]
    inside = inside[: inside.index("`````")]
    assert any("# Feedback" in line for line in inside) and any("<script>" in line for line in inside)
    assert (repository / "exercises" / other.file_name).read_text() == other.solution


def test_a_teacher_checks_a_clone_with_a_script_of_his_own(repository, tmp_path):
    clone, out = tmp_path / "clone", tmp_path / "out"
    (clone / "exercises").mkdir(parents=True)
    (clone / "exercises" / by_name(NAMES[0]).file_name).write_text(by_name(NAMES[0]).solution)
    (clone / "check.sh").write_text("exit 0")
    command = ["sh", str(repository / "check.sh"), str(clone / "exercises"), str(out)]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, check=False)
    assert done.returncode == 0 and "1 of 1 passed" in (out / "feedback.md").read_text()


def test_a_seed_repeats_the_points(tmp_path):
    exercise = by_name(NAMES[0])
    (tmp_path / exercise.file_name).write_text(exercise.solution.replace("dx = dy @ W", "dx = 2 * dy @ W"))
    said = []
    for seed in (5, 5, 6):
        result = feedback.checked(exercise, tmp_path / exercise.file_name, tmp_path, seed)
        said.append(feedback.as_markdown([result], seed))
    assert said[0] == said[1] != said[2] and "minilora exercises check NUMBER --seed 5" in said[0]


def test_json_and_quiet(repository, capsys):
    capsys.readouterr()
    data = json.loads(prints("course", "check", repository / "exercises", "--out", repository / "out", "--json"))
    assert data == json.loads((repository / "out" / "feedback.json").read_text())
    assert len(exercises()) > len(data["exercises"]) == 3
    told = json.loads(prints("course", "template", repository / "again", "--json"))
    assert len([name for name in told["files"] if name.startswith("exercises/")]) == len(exercises())


def test_a_wheel_comes_along(tmp_path):
    (tmp_path / "minilora-9-py3-none-any.whl").write_bytes(b"PK")
    prints("course", "template", tmp_path / "class", 1, "--requirement", tmp_path / "minilora-9-py3-none-any.whl")
    assert (tmp_path / "class" / "requirements.txt").read_text() == "./minilora-9-py3-none-any.whl\n"
    assert (tmp_path / "class" / "minilora-9-py3-none-any.whl").read_bytes() == b"PK"


WRONG = {
    "no folder": (["course", "check", "none"], "the folder was none; there is no such folder$"),
    "nothing to check": (["course", "check", "."], "the folder was ., without any answer$"),
    "not there": (["course", "check", ".", "1"], "the folder was ., without 01_linear_backward.py$"),
    "no exercise": (["course", "template", "new", "99"], "the exercise was '99'"),
    "something there": (["course", "template", "full"], "the folder was full, which holds notes.txt already"),
    "two lines": (["course", "template", "new", "--requirement", "a\nb"], "it must be one line that pip can install$"),
    "an option of pip": (["course", "template", "new", "--requirement=--index-url=x"], "it must be one line"),
    "no wheel": (["course", "template", "new", "--requirement", "none.whl"], "none.whl; there is no such file$"),
    "seed of a template": (["course", "template", "new", "--seed", "1"], "--seed was given, but template does not"),
    "wheel of a check": (["course", "check", ".", "--requirement", "x"], "--requirement was given, but check does not"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    check_refused(arguments, message, tmp_path, capsys)
