"""Which examples are held out: decided by a hash, so that a split never moves.

Texts that belong together (one file, one attribute combination) share a group key, and only the key is
hashed. So they land in the same split on every machine, whatever is added to the data later.
"""

import hashlib
import math
from collections.abc import Callable, Iterable

SPLITS = ("train", "valid", "test")


def split_of(key: str, *, valid: float = 0.05, test: float = 0.05) -> str:
    """The split of a group: "train", "valid" or "test".

    Parameters
    ----------
    key : str
        The group's name.
    valid, test : float
        The fractions of the keys that are held out; train gets the rest.
    """
    if not isinstance(key, str):
        raise TypeError(f"key must be a str, not {type(key).__name__}")
    if valid < 0 or test < 0 or valid + test > 1:
        raise ValueError(f"valid and test must be fractions that add up to at most 1, not {valid} and {test}")
    position = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") / 2**64  # in [0, 1)
    if position < valid:
        return "valid"
    if position < valid + test:
        return "test"
    return "train"


def split_fitting(examples: Iterable, n_tokens: Callable, length: float, name: str) -> tuple[dict[str, list], int]:
    """Examples by the hash of their keys, without those that are too long.

    Parameters
    ----------
    examples : iterable of Example or LabelledExample
    n_tokens : callable
        ``n_tokens(example)``: how many tokens it has.
    length : int, or infinity
        How many it may have.
    name : str
        What the examples are called in the error.

    Returns
    -------
    splits : dict of str to list
        By the names in SPLITS; a tenth of the keys is valid, and a tenth is test.
    left_out : int
        How many examples were too long.

    Raises
    ------
    ValueError
        If a split is empty.
    """
    examples = list(examples)
    fitting = [example for example in examples if n_tokens(example) <= length]
    splits = {split: [e for e in fitting if split_of(e.key, valid=0.1, test=0.1) == split] for split in SPLITS}
    empty = [split for split in SPLITS if not splits[split]]
    if empty:
        limit = "" if length == math.inf else f" of at most {length} tokens"
        found = f"{len(fitting)} example{'s' * (len(fitting) != 1)}{limit}"
        raise ValueError(
            f"{name} has {found}, and none of them falls into {' or '.join(empty)}; give more of them, or shorter ones"
        )
    return splits, len(examples) - len(fitting)


def check_split(split: str) -> None:
    """Raise ValueError unless `split` is one of SPLITS."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")


def corpus_id(texts: Iterable[str]) -> str:
    """12 hex digits that name these texts in this order: a prefix of their SHA-256."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8") + b"\0")
    return digest.hexdigest()[:12]
