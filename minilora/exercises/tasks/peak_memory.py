"""Measure memory: how much a call needs at its peak, and how much it keeps."""

import tracemalloc

import numpy

from minilora.exercises.runner.calls import Call, Function
from minilora.exercises.task import Task, mistakes_in

NAMES = ("peak", "kept")
SIZES = ((1, 4), (3, 6), (5, 8), (7, 9))  # from and below which the MB are drawn that a call gives back, and keeps


def calls(rng):
    given = []
    for low, high in SIZES:
        dropped, kept = int(rng.integers(high, high + 6)), int(rng.integers(low, high))
        arrays = {"dropped": numpy.array(dropped), "kept": numpy.array(kept)}
        where = f"a call that needs {dropped + kept} MB at once, and returns {kept} of them"
        arguments = {"f": Function("allocates MB", arrays), "x": rng.standard_normal(1)}
        given.append(Call(where, "peak_memory", arguments, NAMES))
    return given


def measured(answer):
    """A measurement that turns (before, after, most), in bytes, into its answer."""

    def peak_memory(f, x):
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        y = f(x)
        after, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del y
        return answer(before, after, most)

    return peak_memory


def megabytes(peak, kept):
    return round(peak / 1e6), round(kept / 1e6)


MUTANTS = {
    "what is there after the call; the peak is the most during it": measured(lambda b, a, m: megabytes(a - b, a - b)),
    "what the call has given back, the peak less what is kept": measured(lambda b, a, m: megabytes(m - a, a - b)),
    "0: was the result still there when it was counted? Without a name it is gone": measured(
        lambda b, a, m: megabytes(m - b, 0)
    ),
    "the peak: what is kept is what is there after the call": measured(lambda b, a, m: megabytes(m - b, m - b)),
    "the number of bytes, where MB are asked for": measured(
        lambda b, a, m: tuple(1_000_000 * mb for mb in megabytes(m - b, a - b))
    ),
    "the number of thousands of bytes, where MB are asked for": measured(
        lambda b, a, m: tuple(1000 * mb for mb in megabytes(m - b, a - b))
    ),
}
TASK = Task(
    {"peak_memory": measured(lambda b, a, m: megabytes(m - b, a - b))},
    calls,
    mistakes_in("peak_memory", MUTANTS),
    whole=NAMES,
)
