"""Counting the calls of functions, to see that no gradient is computed that nobody asked for."""

from collections import Counter
from importlib import import_module


def count_calls(monkeypatch, places):
    """Count the calls of functions.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
    places : dict of str to str
        A label for each place in minilora, such as "layers.linear.linear_dW".

    Returns
    -------
    collections.Counter
        Calls by label.
    """
    counts = Counter()

    def counted(function, label):
        def wrapper(*args, **options):
            counts[label] += 1
            return function(*args, **options)

        return wrapper

    for place, label in places.items():
        module, _, name = f"minilora.{place}".rpartition(".")
        monkeypatch.setattr(f"minilora.{place}", counted(getattr(import_module(module), name), label))
    return counts
