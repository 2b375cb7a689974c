import tracemalloc

from exercises.attempts import Attempts

a = Attempts("peak_memory")


def measure(f, x):
    tracemalloc.start()
    try:
        b = tracemalloc.get_traced_memory()[0]
        y = f(x)
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return b, now, most, y


@a.is_right("with reset_peak")
def reset(f, x):
    tracemalloc.start()
    tracemalloc.reset_peak()
    y = f(x)
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(peak / 10**6), round(y.nbytes / 1e6)


@a.is_right("snapshots for what is kept")
def snapshots(f, x):
    tracemalloc.start()
    first = tracemalloc.take_snapshot()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    y = f(x)
    peak = tracemalloc.get_traced_memory()[1] - before
    kept = sum(s.size_diff for s in tracemalloc.take_snapshot().compare_to(first, "filename"))
    tracemalloc.stop()
    return round(peak / 1e6), round(min(kept, y.nbytes) / 1e6)


a.is_wrong("MiB")(lambda f, x: (lambda b, n, m, y: (round((m - b) / 2**20 * 1.2), round((n - b) / 2**20 * 1.2)))(*measure(f, x)))
a.is_wrong("not rounded", "whole")(lambda f, x: (lambda b, n, m, y: ((m - b) / 1e6, (n - b) / 1e6))(*measure(f, x)))
a.is_wrong("in each other's place", "the right kept", "the right peak", "what is there after", "the peak")(lambda f, x: (lambda b, n, m, y: (round((n - b) / 1e6), round((m - b) / 1e6)))(*measure(f, x)))
a.is_wrong("the peak twice", "the peak")(lambda f, x: (lambda b, n, m, y: (round((m - b) / 1e6),) * 2)(*measure(f, x)))
a.is_wrong("bytes", "bytes")(lambda f, x: (lambda b, n, m, y: (10**6 * round((m - b) / 1e6), 10**6 * round((n - b) / 1e6)))(*measure(f, x)))


@a.is_wrong("the result has no name", "Without a name")
def no_name(f, x):
    tracemalloc.start()
    f(x)
    now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(most / 1e6), round(now / 1e6)


@a.is_wrong("the size of x", "zero")
def of_x(f, x):
    return round(x.nbytes / 1e6), round(x.nbytes / 1e6)


@a.is_wrong("called twice, with both kept")
def twice(f, x):
    tracemalloc.start()
    y = f(x), f(x)
    now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del y
    return round(most / 1e6), round(now / 1e6)


a.is_wrong("nothing")(lambda f, x: None)
