"""Counting what backwards compute, to see that no gradient is computed that nobody asked for."""

from collections import Counter
from importlib import import_module


def count_calls(monkeypatch, places):
    """Count the calls of functions, or the gradients that a backward returns.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
    places : dict of str to str or tuple of str
        For each place in minilora, such as "layers.linear.linear_backward", a label of its calls; or a label for each
        gradient, which is counted unless it is None.

    Returns
    -------
    collections.Counter
        By label.
    """
    counts = Counter()

    def counted(function, labels):
        def wrapper(*args, **options):
            result = function(*args, **options)
            if isinstance(labels, str):
                counts[labels] += 1
            else:
                counts.update(label for label, grad in zip(labels, result, strict=True) if grad is not None)
            return result

        return wrapper

    for place, labels in places.items():
        module, _, name = f"minilora.{place}".rpartition(".")
        monkeypatch.setattr(f"minilora.{place}", counted(getattr(import_module(module), name), labels))
    return counts
