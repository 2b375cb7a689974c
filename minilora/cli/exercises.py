"""`minilora exercises list`, `start`, `check`, `watch`, `hint`, `reset` and `solution`."""

import argparse
import itertools
import shutil
import sys
import time
from pathlib import Path

from minilora.cli.options import add_seed, one_of, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_folder
from minilora.cli.printing import error_line, fitted, table
from minilora.exercises import progress
from minilora.exercises.sources import CAPSTONE, SHORT_PATH, find, names_of, path_of, student_file
from minilora.exercises.sources import exercises as all_exercises
from minilora.files import write_atomically

EXAMPLE = "minilora exercises start 1"
ACTIONS = ("list", "start", "check", "watch", "hint", "reset", "solution")
CAPSTONE_NAME = "capstone"  # in place of an exercise, and in the progress
# The actions that use an option.
USED_BY = {"notebook": ("start",), "seed": ("check", "watch"), "short": ("list", "start", "check", "watch")}


def add_options(p: Parser) -> None:
    """What to do, with which exercise, and where the answers are."""
    p.add_argument(
        "action",
        type=one_of(ACTIONS),
        metavar="{" + ",".join(ACTIONS) + "}",
        help="what to do; without an exercise, start and check take the next one, and watch checks each that you save",
    )
    p.add_argument("exercise", nargs="?", help="its number or its name; capstone, for check: eight answers train LoRA")
    p.add_argument("--folder", metavar="DIR", default="exercises", help="your answers and your progress")
    numbers = ", ".join(str(exercise.number) for exercise in of_path(short=True))
    p.add_argument("--short", action="store_true", help=f"the short path to LoRA: {numbers} alone")
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
    if options.exercise is not None:
        refuse(options, ["short"], f"the exercise was {options.exercise}, and the path says which one is next")
    if options.action in ("hint", "reset", "solution") and options.exercise is None:
        raise ValueError(f"which exercise? For example:  minilora exercises {options.action} 1")
    actions = {"list": show_list, "start": start, "check": check, "watch": watch}
    actions |= {"hint": hint, "reset": reset, "solution": solution}
    return actions[options.action](options) or 0


def show_list(options):
    done, shown = progress.load(options.folder), of_path(options.short)
    rows = [("exercise", "difficulty", "minutes", "tries", "hints", "state")]
    for exercise in shown:
        of = progress.of(done, exercise.name)
        state = "passed" if of["passed"] else "begun" if of["checks"] else ""
        counts = (str(of[counted] or "") for counted in ("checks", "hints"))
        name = f"{exercise.number:>2}  {exercise.name}"
        rows.append((name, "*" * exercise.difficulty, str(exercise.minutes), *counts, state))
    print("\n".join(table(rows)))
    passed = sum(progress.of(done, exercise.name)["passed"] for exercise in shown)
    following = command("start", next_one(options.folder, options.short), options)
    print(f"\n{passed} of {len(shown)} passed. The next one:  {following}")
    if not options.short:
        short, eight = (", ".join(str(find(name).number) for name in names) for names in (SHORT_PATH, CAPSTONE))
        print(f"In a hurry? {short} lead to LoRA by themselves:")
        print(f"  {program()} exercises list --short{in_folder(options)}")
        state = " (passed)" if progress.of(done, CAPSTONE_NAME)["passed"] else ""
        print(f"Your answers to {eight} train LoRA{state}:")
        print(f"  {program()} exercises check {CAPSTONE_NAME}{in_folder(options)}")


def start(options):
    exercise = asked_or_next(options)
    path = path_of(exercise, options.folder)
    if path is not None:
        print(f"{path} exists already, and is left unchanged.")
    else:
        path = write(exercise, options)
        print(f"{path}: exercise {exercise.number}, {exercise.title}")
    print(f"Open it, write the answer, and then:  {command('check', exercise, options)}")
    print(f"A hint:  {command('hint', exercise, options)}")


def check(options):
    if options.exercise == CAPSTONE_NAME:
        return check_capstone(options)
    exercise = asked_or_next(options, begun=True)
    path = path_of(exercise, options.folder)
    if path is None:
        raise ValueError(
            f"there is no {exercise.file_name} in {options.folder}; begin with:  {command('start', exercise, options)}"
        )
    return check_file(exercise, path, options)


def check_file(exercise, path, options):
    """Check one answer, note the try, and print the report; returns the exit status."""
    from minilora.exercises.checking import check_answer
    from minilora.exercises.earlier import passed_answers
    from minilora.exercises.notebooks import answer_in

    answer = answer_in(path, exercise.name)
    verdict = check_answer(exercise.name, answer.source, options.seed, passed_answers(options.folder))
    before = progress.of(progress.load(options.folder), exercise.name)
    passed = before["passed"] or verdict.passed
    progress.record(options.folder, exercise.name, checks=before["checks"] + 1, passed=passed)
    print("\n".join((*answer.notes, verdict.report)))
    if not verdict.passed:
        print(f"\nA hint:  {command('hint', exercise, options)}")
        return 1
    following = [other for other in of_path(options.short) if other.number > exercise.number]
    if following:
        print(f"\nThe next one:  {command('start', following[0], options)}")
    return 0


def check_capstone(options):
    """Train with the student's own functions; returns the exit status."""
    from tqdm import tqdm

    from minilora.exercises import capstone
    from minilora.exercises.earlier import passed_answers, source_of

    answers = passed_answers(options.folder)
    answers |= {name: source for name in CAPSTONE if (source := source_of(find(name), options.folder)) is not None}
    before = progress.of(progress.load(options.folder), CAPSTONE_NAME)
    with tqdm(total=capstone.STEPS, desc="steps", delay=2, leave=False, disable=sys.stderr is None) as bar:

        def after(steps):
            bar.update(steps - bar.n)

        def say(text):
            bar.clear()
            print("\n".join(fitted(text.split("\n"), indent="  ")), flush=True)

        passed = capstone.check_capstone(answers, options.seed, say, after)
    passed_ever = before["passed"] or passed
    progress.record(options.folder, CAPSTONE_NAME, checks=before["checks"] + 1, passed=passed_ever)
    return 0 if passed else 1


def watch(options):
    """Check an answer each time that it is saved, until Ctrl-C."""
    from minilora.exercises.watching import saves

    watched = [find(options.exercise)] if options.exercise is not None else of_path(options.short)
    names = {Path(options.folder) / name: e for e in watched for name in names_of(e)}
    what = f"exercise {watched[0].number}" if len(watched) == 1 else "each exercise"
    print(f"Checks {what} in {options.folder} whenever you save it. Ctrl-C ends this.", flush=True)
    try:
        for path in saves(lambda: list(names)):
            print(f"\n---- {path.name}, saved at {time.strftime('%H:%M:%S')}\n", flush=True)
            try:
                check_file(names[path], path, options)
            except (ValueError, OSError) as error:  # of this file; the next save may be better
                print(error_line(str(error)))
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nNo longer watching. What was passed:  " + f"{program()} exercises list{in_folder(options)}")
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


def of_path(short=False):
    """The exercises in their order: all, or those of the short path."""
    return [find(name) for name in SHORT_PATH] if short else all_exercises()


def asked_or_next(options, begun=False):
    """The exercise that was named; else the next one, or the first that was begun and not passed."""
    if options.exercise is not None:
        return find(options.exercise)
    if begun:
        done = progress.load(options.folder)
        for exercise in of_path(options.short):
            if path_of(exercise, options.folder) is not None and not progress.of(done, exercise.name)["passed"]:
                return exercise
    return next_one(options.folder, options.short)


def next_one(folder, short=False):
    """The first exercise that was not passed; the last one, if all were."""
    done, among = progress.load(folder), of_path(short)
    left = [exercise for exercise in among if not progress.of(done, exercise.name)["passed"]]
    return left[0] if left else among[-1]


def write(exercise, options, suffix=None):
    """Write a student's file, or notebook, and return its path."""
    from minilora.exercises.notebooks import student_notebook

    notebook = options.notebook if suffix is None else suffix == ".ipynb"
    path = (Path(options.folder) / exercise.file_name).with_suffix(".ipynb" if notebook else ".py")
    write_atomically(path, student_notebook(exercise) if notebook else student_file(exercise))
    return path


def command(action, exercise, options):
    """What to type next."""
    return f"{program()} exercises {action} {exercise.number}{in_folder(options)}"


def in_folder(options):
    """The option that names the folder, if it is not the usual one."""
    return f" --folder {options.folder}" if options.folder != "exercises" else ""


def program():
    """How minilora was called: by its name if the shell finds it, else with the path that was typed."""
    called = sys.argv[0]
    by_path = Path(called).name == "minilora" and shutil.which("minilora") != called
    return called if by_path else "minilora"
