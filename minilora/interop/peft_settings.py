"""Shared by reading and writing PEFT's adapter_config.json: a rank and an alpha with exceptions, and names."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def ranks_and_alphas(factors: Mapping[str, Any]) -> tuple[int, float, dict[str, int], dict[str, float]]:
    """The most common rank and alpha, and those that differ, by path.

    Parameters
    ----------
    factors : dict of str to Factors

    Returns
    -------
    rank : int
    alpha : float
    rank_pattern : dict of str to int
    alpha_pattern : dict of str to float
    """
    settings = {path: (f.rank, f.alpha) for path, f in factors.items()}
    rank, alpha = Counter(settings.values()).most_common(1)[0][0]
    rank_pattern = {path: r for path, (r, _) in settings.items() if r != rank}
    return rank, alpha, rank_pattern, {path: a for path, (_, a) in settings.items() if a != alpha}


def short_names(chosen: Iterable[str], everything: Iterable[str], parts: int) -> list[str]:
    """Names for the chosen paths: the last `parts` parts if every path with that end is chosen, else the whole path.

    Parameters
    ----------
    chosen, everything : iterable of str
    parts : int

    Returns
    -------
    list of str
    """
    ends = {path: ".".join(path.split(".")[-parts:]) for path in everything}
    not_all = {end for path, end in ends.items() if path not in chosen}
    return list(dict.fromkeys(path if ends[path] in not_all else ends[path] for path in chosen))
