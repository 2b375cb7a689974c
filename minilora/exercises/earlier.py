"""What an answer can use of others: those that were right, and came before it; and exercise 4's gradient check."""

from pathlib import Path

from minilora.exercises import progress
from minilora.exercises.notebooks import answer_in, without_magics
from minilora.exercises.runner.calls import functions_in
from minilora.exercises.sandbox import Earlier
from minilora.exercises.sources import Exercise, exercises, find, path_of
from minilora.exercises.tasks import TASKS

GRADIENT_CHECK = "numerical_gradient"  # exercise 4: of use to all backward passes


def source_of(exercise: Exercise, folder: str | Path) -> str | None:
    """The code of an answer; None if there is none that can be read."""
    path = path_of(exercise, folder)
    try:
        return without_magics(answer_in(path, exercise.name).source.removeprefix("\ufeff")) if path else None
    except (ValueError, OSError):
        return None


def passed_answers(folder: str | Path) -> dict[str, str]:
    """The code of all answers that were right, by exercise. They may have changed since."""
    done = progress.load(folder)
    passed = [exercise for exercise in exercises() if progress.of(done, exercise.name)["passed"]]
    sources = {exercise.name: source_of(exercise, folder) for exercise in passed}
    return {name: source for name, source in sources.items() if source is not None}


def earlier_for(name: str, answers: dict[str, str]) -> Earlier:
    """What an exercise's answer can use of other ones: those before it, and the gradient check.

    Parameters
    ----------
    name : str
        The exercise.
    answers : dict of str to str
        Right answers, by exercise, such as `passed_answers` gives.
    """
    used = [n for n in answers if n != name and (find(n).number < find(name).number or n == GRADIENT_CHECK)]
    functions = {function: find(n).file_name for n in used for function in TASKS[n].functions}
    return Earlier({find(n).file_name: answers[n] for n in used}, functions)


def looks_at_gradients(name: str, earlier: Earlier, calls: list) -> bool:
    """Whether all that these calls of an exercise need is there: the gradient check, and the forward pass."""
    return bool(calls) and functions_in(calls) <= {*earlier.functions, *TASKS[name].functions}
