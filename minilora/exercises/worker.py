"""What happens in the process in which an answer runs; `sandbox.py` starts it.

It runs `answer.py` of the current folder, calls what the file defines at the points of the task, and leaves what came
back, or what went wrong, in `answer.safetensors`. It decides nothing: the process that started it does.
"""

import os
import runpy
import traceback
from pathlib import Path

from minilora.exercises.guard import Forbidden, forbid_all_but_computing, limit_resources
from minilora.exercises.task import AnswerError, run
from minilora.exercises.tasks import TASKS
from minilora.files import save_arrays

ANSWER, RESULT = "answer.py", "answer.safetensors"


def main(name, seed, seconds):
    """Run the answer to a task, within some seconds of the processor's time. Never returns."""
    task, folder = TASKS[name], Path.cwd()
    limit_resources(int(seconds))
    forbid_all_but_computing(folder)
    arrays, error = {}, ""
    try:
        answers = run(task, functions_of(task, folder / ANSWER), int(seed))
        arrays = {f"{i} {tensor}": a for i, answer in enumerate(answers.values()) for tensor, a in answer.items()}
    except BaseException as problem:  # whatever it is, an exit too, it is the student's to see
        error = explain(problem)
    save_arrays(folder / RESULT, arrays, {"kind": "answer", "error": error})
    os._exit(0)  # not waiting for threads that the answer has started


def functions_of(task, path):
    """The functions that a student's file defines."""
    defined = runpy.run_path(str(path), run_name="exercise")
    for name in task.functions:
        if not callable(defined.get(name)):
            raise AnswerError(f"There is no function {name} in your file.")
    return {name: defined[name] for name in task.functions}


def explain(problem):
    """What went wrong, to a student."""
    if isinstance(problem, AnswerError):
        return str(problem)
    if isinstance(problem, SystemExit):
        return "Your code called exit(). A function gives its answer with `return`."
    if isinstance(problem, SyntaxError) and problem.filename and problem.filename.endswith(ANSWER):
        return f"Line {problem.lineno} is no Python: {(problem.text or '').strip()!r} ({problem.msg})."
    line = where(problem)
    if isinstance(problem, NotImplementedError):
        return f"Still to be written: {problem}."
    if isinstance(problem, Forbidden):
        return f"Your code was stopped{line}: {problem}."
    if isinstance(problem, MemoryError):
        return f"Your code ran out of memory{line}: {problem}".rstrip(": ") + "."
    if isinstance(problem, RecursionError):
        return f"Your code calls itself without an end{line}."
    return f"Your code raised {type(problem).__name__}{line}: {problem}"


def where(problem):
    """The last line of the student's own that an exception passed, as " in line 12, `dx = dy @ W.T`"."""
    frames = [f for f in traceback.extract_tb(problem.__traceback__) if f.filename.endswith(ANSWER)]
    return f" in line {frames[-1].lineno}, `{frames[-1].line}`" if frames else ""
