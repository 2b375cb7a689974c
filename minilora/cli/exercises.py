"""`minilora exercises list`, `start`, `check`, `hint`, `reset` and `solution`."""

import argparse
import itertools
import shutil
import sys
from pathlib import Path

from minilora.cli.options import add_seed, one_of, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_folder
from minilora.cli.printing import table
from minilora.exercises import progress
from minilora.exercises.sources import exercises as all_exercises
from minilora.exercises.sources import find, student_file
from minilora.files import write_atomically

EXAMPLE = "minilora exercises start 1"
ACTIONS = ("list", "start", "check", "hint", "reset", "solution")
USED_BY = {"notebook": ("start",), "seed": ("check",)}  # the actions that use an option


def add_options(p: Parser) -> None:
    """What to do, with which exercise, and where the answers are."""
    p.add_argument(
        "action",
        type=one_of(ACTIONS),
        metavar="{" + ",".join(ACTIONS) + "}",
        help="what to do; without an exercise, start begins the next one",
    )
    p.add_argument("exercise", nargs="?", help="its number or its name")
    p.add_argument("--folder", metavar="DIR", default="exercises", help="your answers and your progress")
    p.add_argument("--notebook", action="store_true", help="start with a notebook, which needs jupytext")
    add_seed(p, "for the numbers with which check tries an answer")


def run(options: argparse.Namespace) -> int:
    """Do what `options.action` says; returns the exit status, which is 1 for an answer that is not yet right."""
    for option, actions in USED_BY.items():
        if options.action not in actions:
            reason = f"{options.action} does not use it; it is for {', '.join(actions)}"
            refuse(options, [option], reason)
    if options.action == "list" and options.exercise is not None:
        raise ValueError(f"the exercise was {options.exercise}, but list names all of them; it must be left out")
    check_folder("--folder", options.folder)
    if options.action in ("check", "hint", "reset", "solution") and options.exercise is None:
        raise ValueError(f"which exercise? For example:  minilora exercises {options.action} 1")
    actions = {"list": show_list, "start": start, "check": check, "hint": hint, "reset": reset, "solution": solution}
    return actions[options.action](options) or 0


def show_list(options):
    done = progress.load(options.folder)
    rows = [("exercise", "difficulty", "minutes", "state")]
    for exercise in all_exercises():
        of = progress.of(done, exercise.name)
        state = "passed" if of["passed"] else "begun" if of["checks"] else ""
        rows.append((f"{exercise.number:>2}  {exercise.name}", "*" * exercise.difficulty, str(exercise.minutes), state))
    print("\n".join(table(rows)))
    passed = sum(of["passed"] for of in done.values())
    following = command("start", next_one(options.folder), options)
    print(f"\n{passed} of {len(all_exercises())} passed. The next one:  {following}")


def start(options):
    exercise = find(options.exercise) if options.exercise is not None else next_one(options.folder)
    path = path_of(exercise, options.folder)
    if path is not None:
        print(f"{path} exists already, and is left unchanged.")
    else:
        path = write(exercise, options)
        print(f"{path}: exercise {exercise.number}, {exercise.title}")
    print(f"Open it, write the answer, and then:  {command('check', exercise, options)}")
    print(f"A hint:  {command('hint', exercise, options)}")


def check(options):
    from minilora.exercises.checking import check_answer
    from minilora.exercises.notebooks import answer_in

    exercise = find(options.exercise)
    path = path_of(exercise, options.folder)
    if path is None:
        raise ValueError(
            f"there is no {exercise.file_name} in {options.folder}; begin with:  {command('start', exercise, options)}"
        )
    answer = answer_in(path, exercise.name)
    verdict = check_answer(exercise.name, answer.source, options.seed)
    before = progress.of(progress.load(options.folder), exercise.name)
    passed = before["passed"] or verdict.passed
    progress.record(options.folder, exercise.name, checks=before["checks"] + 1, passed=passed)
    print("\n".join((*answer.notes, verdict.report)))
    if not verdict.passed:
        print(f"\nA hint:  {command('hint', exercise, options)}")
        return 1
    if exercise.number < len(all_exercises()):
        print(f"\nThe next one:  {command('start', find(exercise.number + 1), options)}")
    return 0


def hint(options):
    exercise = find(options.exercise)
    n = min(progress.of(progress.load(options.folder), exercise.name)["hints"] + 1, len(exercise.hints))
    progress.record(options.folder, exercise.name, hints=n)
    print(f"Hint {n} of {len(exercise.hints)} for exercise {exercise.number}, {exercise.name}\n")
    print(exercise.hints[n - 1])


def reset(options):
    exercise = find(options.exercise)
    path = path_of(exercise, options.folder)
    if path is not None:
        kept = unused(path.with_name(path.name + ".before-reset"))
        path.replace(kept)
        print(f"{kept}: what you had written")
    path = write(exercise, options, suffix=path.suffix if path else None)
    progress.record(options.folder, exercise.name, **progress.FRESH)
    print(f"{path}: exercise {exercise.number}, as at the start")


def unused(path):
    """The path, or the first of path-2, path-3, ... that does not exist, so that nothing is overwritten."""
    names = itertools.chain([path], (path.with_name(f"{path.name}-{n}") for n in itertools.count(2)))
    return next(candidate for candidate in names if not candidate.exists())


def solution(options):
    exercise = find(options.exercise)
    progress.record(options.folder, exercise.name, solution_seen=True)
    print(f"A solution of exercise {exercise.number}, {exercise.name}\n\n{exercise.solution.strip()}")


def next_one(folder):
    """The first exercise that was not passed; the last one, if all were."""
    done = progress.load(folder)
    left = [exercise for exercise in all_exercises() if not progress.of(done, exercise.name)["passed"]]
    return (left or all_exercises())[-1 if not left else 0]


def path_of(exercise, folder):
    """The student's file, or notebook; None if there is neither."""
    path = Path(folder) / exercise.file_name
    return next((p for p in (path, path.with_suffix(".ipynb")) if p.is_file()), None)


def write(exercise, options, suffix=None):
    """Write a student's file, or notebook, and return its path."""
    from minilora.exercises.notebooks import student_notebook

    notebook = options.notebook if suffix is None else suffix == ".ipynb"
    path = (Path(options.folder) / exercise.file_name).with_suffix(".ipynb" if notebook else ".py")
    write_atomically(path, student_notebook(exercise) if notebook else student_file(exercise))
    return path


def command(action, exercise, options):
    """What to type next."""
    folder = f" --folder {options.folder}" if options.folder != "exercises" else ""
    return f"{program()} exercises {action} {exercise.number}{folder}"


def program():
    """How minilora was called: by its name if the shell finds it, else with the path that was typed."""
    called = sys.argv[0]
    by_path = Path(called).name == "minilora" and shutil.which("minilora") != called
    return called if by_path else "minilora"
