"""Chooses what computes: the page, `ops/`, or its engine, `ops/fast/`.

Each function of the engine replaces a function of the page, and says which one:

    @engine_of(page.softmax_forward)
    def softmax_forward(x): ...

Layers call the engine. Within ``with plain_ops():``, the same calls reach the page.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

# One switch for the whole process: a batch is shared among threads, and all of them must compute alike.
_plain = SimpleNamespace(lock=threading.Lock(), contexts=0)


@contextlib.contextmanager
def plain_ops() -> Iterator[None]:
    """A context in which every layer, of every model and in every thread, computes by the plain formulas of `ops/`.

    Results, including training, are equal up to rounding; a cache of one of the two can be used by the other. To step
    through a formula in a debugger, or to see where a number comes from:

        with plain_ops():
            logits, cache = model.forward(ids)
            model.backward(dlogits, cache)
    """
    with _plain.lock:
        _plain.contexts += 1
    try:
        yield
    finally:
        with _plain.lock:
            _plain.contexts -= 1


def plain_ops_active() -> bool:
    """True within `plain_ops`, in any thread."""
    return _plain.contexts > 0


def engine_of(page: Function) -> Callable[[Callable[..., Any]], Function]:
    """Decorate a fast function: it is called unless `plain_ops` is active, which calls `page` instead.

    The result has both functions, as `.page` and `.engine`.
    """

    def decorate(engine: Callable[..., Any]) -> Any:
        @functools.wraps(page)
        def either(*args: Any, **options: Any) -> Any:
            return page(*args, **options) if _plain.contexts else engine(*args, **options)

        either.page, either.engine = page, engine  # type: ignore[attr-defined]
        return either

    return decorate
