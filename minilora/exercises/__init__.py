"""Graded exercises: a student writes a function, and is told whether it is right, and if not, which mistake it is.

    minilora exercises start 1        # writes exercises/01_linear_backward.py
    minilora exercises check 1

The text of each exercise is a file in `tutorials/exercises/`, with the solution, three hints, and a summary of what was
shown; students' files are generated from it (`sources.py`). What an answer is compared with, and the known mistakes,
are in `tasks/`. The answer runs in a process of its own that has no minilora (`sandbox.py`, `runner/`), and what it
returns is judged here (`judge.py`, `recognise.py`), out of its reach. In a notebook:

    check("linear_backward", linear_backward)
"""

from minilora.exercises.checking import check, marks

__all__ = ["check", "marks"]
