"""Shared by the scripts that time a GPU: seconds of a call, and a line for each shape."""

import time

from minilora.arrays.backend import get_xp


def seconds_of(call, array, times):
    """The mean over so many calls, on the GPU of an array, after all that was begun before."""
    wait = get_xp(array).cuda.get_current_stream().synchronize
    wait()
    started = time.perf_counter()
    for _ in range(times):
        call()
    wait()
    return (time.perf_counter() - started) / times


def print_lines(line, shapes):
    """Print ``line(*shape)`` of each shape, or why there is none."""
    for shape in shapes:
        try:
            print(line(*shape), flush=True)
        except Exception as error:
            print(f"{shape}: {error!r:.80}", flush=True)
