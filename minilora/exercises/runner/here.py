"""Running an answer in this process, where there is no other: in a browser.

A loop that never ends is noticed by Python's trace function, which is called at each instruction of the answer; a
thread, a signal or another process would be needed to stop what is none of them, such as a product of huge matrices.
"""

import builtins
import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from .answers import earlier_answers, earlier_function, explain, functions_of
from .calls import AnswerError, Call, Result, functions_in, perform

GIVEN_UP = (
    "Checked in this Python process, because a browser's has no other: what your code imports, opens or changes is not "
    "held back here."
)


class Printed(io.StringIO):
    """What the answer prints, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.n = most, 0

    def write(self, text: str) -> int:
        self.n += len(text.encode(errors="replace"))
        if self.n > self.most:
            raise AnswerError(
                f"Your code printed more than {self.most >> 10} KB, and was stopped. Is there a print in a loop?"
            )
        return super().write(text)


def run_here(
    path: Path, calls: list[Call], *, seconds: int, printed: int, earlier: Mapping[str, Path] = MappingProxyType({})
) -> tuple[list[Result], str, str]:
    """Run an answer's file in this process and make calls of its functions.

    Parameters
    ----------
    path : Path
        The answer's file.
    calls : list of Call
    seconds : int
        After which it is stopped.
    printed : int
        The most bytes that it may print.
    earlier : dict of str to Path, optional
        By function: the earlier answer that it belongs to.

    Returns
    -------
    results, error, printed
        As in an `Outcome`.
    """
    out, results, error = Printed(printed), [], ""
    exits = {name: getattr(builtins, name) for name in ("exit", "quit") if hasattr(builtins, name)}
    vars(builtins).update(dict.fromkeys(exits, sys.exit))  # those of `site` would close the input as well
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), stopped_after(seconds, str(path)):
            before = earlier_answers({name: str(file) for name, file in earlier.items()})
            functions = functions_of(functions_in(calls) - earlier.keys(), path)
            functions |= {name: earlier_function(before, name) for name in functions_in(calls) & earlier.keys()}
            results = [
                Result(result.values, RuntimeError(explain(result.problem)) if result.problem else None)
                for result in perform(functions, calls)
            ]
    except KeyboardInterrupt:
        raise
    except OutOfTime as stop:
        results, error = [], str(stop)
    except BaseException as problem:  # whatever it is, even an exit, the student should see it
        results, error = [], explain(problem)
    finally:
        vars(builtins).update(exits)
    return results, error, out.getvalue()


@contextlib.contextmanager
def stopped_after(seconds: float, file: str) -> Iterator[None]:
    """A context in which the code of a file raises OutOfTime at its next instruction once the time is up."""
    end, before = time.monotonic() + seconds, sys.gettrace()

    def at_an_instruction(frame: FrameType, event: str, argument: Any) -> Callable:
        if time.monotonic() > end:
            raise OutOfTime(
                f"Your code did not finish, and was stopped after {seconds} seconds. Is there a loop that never ends?"
            )
        return at_an_instruction

    def at_a_call(frame: FrameType, event: str, argument: Any) -> Callable | None:
        if frame.f_code.co_filename != file:
            return None
        frame.f_trace_opcodes = True  # `while True: pass` is one line, and one instruction that jumps to itself
        return at_an_instruction

    sys.settrace(at_a_call)
    try:
        yield
    finally:
        sys.settrace(before)


class OutOfTime(BaseException):
    """The answer took too long. It is no Exception, so it ends all calls: after it, Python traces nothing more."""
