"""Answers as students write them, right and wrong, beyond the mistakes that the exercises list: a file for each exercise.

Each is a function, or one for each function of the exercise; those that it does not give are right. A wrong one says why
it is wrong, and which sentences about it would be true: pieces of what the checker may then say. Whatever else it says
is false.
"""

from typing import NamedTuple


class Attempt(NamedTuple):
    why: str
    functions: dict
    true: tuple[str, ...] = ()  # pieces of the sentences that would be true


class Attempts:
    """The attempts at one exercise."""

    def __init__(self, function):
        self.function = function
        self.wrong, self.right = [], []

    def is_wrong(self, why, *true, **functions):
        """Note functions, or decorate one."""
        return self._note(self.wrong, why, true, functions)

    def is_right(self, why, **functions):
        return self._note(self.right, why, (), functions)

    def _note(self, attempts, why, true, functions):
        def note(function):
            attempts.append(Attempt(why, functions or {self.function: function}, true))
            return function

        return note(None) if functions else note
