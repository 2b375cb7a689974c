"""`minilora course template` and `check`: a repository for a class, and what its workflow runs on each push."""

import argparse
import json
import secrets
import sys
from pathlib import Path

import minilora
from minilora.cli.colours import painted
from minilora.cli.completion import from_words
from minilora.cli.options import add_json, integer, one_of, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_folder, check_output_folder
from minilora.cli.printing import print_json, print_lines, progress, table
from minilora.exercises.sources import exercises as all_exercises
from minilora.exercises.sources import find
from minilora.exercises.template import write_template
from minilora.files import write_together

EXAMPLE = "minilora course template my-class 1 2 9"
ACTIONS = ("template", "check")
USED_BY = {"requirement": ("template",), "out": ("check",), "seed": ("check",)}  # the actions that use an option
WRITTEN = ("feedback.md", "feedback.json")
COLOURS = {"passed": "green", "not yet": "red", "cannot be read": "red"}


def add_options(p: Parser) -> None:
    """What to do, where, and with which exercises."""
    p.add_argument(
        "action",
        type=one_of(ACTIONS),
        metavar="{" + ",".join(ACTIONS) + "}",
        help="template: write a repository with exercises, and a workflow that checks them on each push, for GitHub, "
        "GitLab, Forgejo and Gitea; check: what the workflow runs, check all answers in a folder",
    ).completer = from_words(ACTIONS)
    p.add_argument("folder", help="the repository to write, or the answers to check")
    p.add_argument("exercises", nargs="*", metavar="EXERCISE", help="numbers or names (default: all)")
    p.add_argument(
        "--requirement",
        metavar="LINE",
        default=f"minilora=={minilora.__version__}",
        help="what pip installs where answers are checked: a version, a git address, or a wheel, which is put into the "
        "repository",
    )
    p.add_argument("--out", metavar="DIR", default="feedback", help="for feedback.md and feedback.json")
    p.add_argument(
        "--seed",
        type=integer(0, 2**32 - 1),
        metavar="N",
        help="for the numbers with which answers are tried (default: another one each time)",
    )
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Do what `options.action` says; returns the exit status, which is 1 if an answer that was begun is not right."""
    for option, actions in USED_BY.items():
        if options.action not in actions:
            refuse(options, [option], f"{options.action} does not use it; it is for {', '.join(actions)}")
    chosen = sorted({find(name).number for name in options.exercises})
    return {"template": template, "check": check}[options.action](options, [find(number) for number in chosen])


def template(options, chosen):
    check_folder("the folder", options.folder)
    written = write_template(Path(options.folder), chosen or all_exercises(), options.requirement)
    names = [str(path.relative_to(options.folder)) for path in written]
    if options.json:
        print_json({"folder": options.folder, "files": names})
        return 0
    others = [name for name in names if not name.startswith("exercises/")]
    print_lines(
        [
            f"{options.folder}: a repository with {len(names) - len(others)} exercises, {', '.join(sorted(others))}",
            f"requirements.txt has {options.requirement}, which must be there for pip",
            "Push it, and let each student have a copy; check.sh is what runs on each push.",
        ]
    )
    return 0


def check(options, chosen):
    from minilora.exercises import feedback

    folder = Path(options.folder)
    if not folder.is_dir():
        raise ValueError(f"the folder was {options.folder}; there is no such folder")
    check_output_folder("--out", options.out, {"the command": options.folder}, WRITTEN)
    found = feedback.answers_in(folder, chosen or all_exercises())
    missing = [exercise.file_name for exercise in chosen if exercise.name not in found]
    if missing or not found:
        raise ValueError(f"the folder was {options.folder}, without {missing[0] if missing else 'any answer'}")
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    there = [find(name) for name in found]
    results = [feedback.checked(e, found[e.name], folder, seed) for e in progress(there, "check", "answer")]
    out = Path(options.out)
    data = feedback.as_data(results, seed)
    contents = (feedback.as_markdown(results, seed), json.dumps(data, indent=1) + "\n")
    write_together({out / name: content for name, content in zip(WRITTEN, contents, strict=True)})
    if options.json:
        print_json(data)
    else:
        rows = [(f"{r.number:>2}  {r.name}", r.state, f"{r.points:g} of {r.of:g}") for r in results]
        lines = table([("exercise", "state", "points"), *rows])
        print("\n".join(painted_states(lines)) + f"\n\n{out / WRITTEN[0]}: the feedback")
    return int(any(r.state in (feedback.NOT_YET, feedback.UNREADABLE) for r in results))


def painted_states(lines):
    """The lines of a table in which each state has its colour, on a terminal."""
    for state, colour in COLOURS.items():
        lines = [line.replace(f" {state} ", f" {painted(state, colour, sys.stdout)} ") for line in lines]
    return lines
