"""Does this docstring belong to this signature? Pairs of texts from the standard library, half of them true.

Every function comes twice, once with the first line of its own docstring and once with that of another function of the
same file, of about the same length. Each line, too, comes twice, once with its own function and once with another. So
neither text alone, nor its length, nor the file says anything about the label: only the two together do.
"""

import random
from collections import Counter

from minilora.data.example import LabelledExample
from minilora.data.pairs import Pair, load_pairs
from minilora.data.splits import SPLITS, split_of

NO, YES = "no", "yes"
ANSWERS = (NO, YES)  # the classes: labels 0 and 1
GROUP = 4  # the least number of functions whose docstrings are exchanged, in a file with that many


def docstring_matches(seed: int = 0) -> dict[str, list[LabelledExample]]:
    """The pairs by split: 15 % of the files are valid and 15 % are test, by hash.

    The files are those of the running Python. The bundled encoder has read most of their docstrings, in all splits, as
    prose: never a signature, and never which belongs to which.

    Parameters
    ----------
    seed : int
        With the same seed, each signature gets the same wrong docstring.
    """
    splits: dict[str, list[LabelledExample]] = {split: [] for split in SPLITS}
    for key, pairs in functions_by_file().items():
        examples = splits[split_of(key, valid=0.15, test=0.15)]
        for pair, other in exchanged(pairs, random.Random(f"{key} {seed}")):
            examples.append(LabelledExample(pair.signature, YES, key, second=pair.summary))
            examples.append(LabelledExample(pair.signature, NO, key, second=other.summary))
    return splits


def functions_by_file() -> dict[str, list[Pair]]:
    """The functions of each file that has at least two with different names and unique docstrings.

    Otherwise some wrong pairs would be right: the signature of one close() with the docstring of another, or "Close the
    file." with any of the functions that say so. Nor can a docstring be in two splits.
    """
    pairs = load_pairs()
    times = Counter(map(letters, pairs))
    files: dict[str, dict[str, Pair]] = {}
    for pair in pairs:
        if times[letters(pair)] == 1:
            name = pair.signature.partition("(")[0].split()[-1]
            files.setdefault(pair.key, {}).setdefault(name, pair)
    return {key: list(by_name.values()) for key, by_name in files.items() if len(by_name) > 1}


def letters(pair: Pair) -> str:
    """The letters of a docstring: docstrings that differ only in punctuation count as equal."""
    return "".join(filter(str.isalpha, pair.summary.lower()))


def exchanged(pairs: list[Pair], rng: random.Random) -> list[tuple[Pair, Pair]]:
    """Each function with another one, whose docstring it gets: a random cycle in each group of similar length."""
    by_length = sorted(pairs, key=lambda pair: len(pair.summary))
    n_groups = max(1, len(pairs) // GROUP)
    found: list[tuple[Pair, Pair]] = []
    for i in range(n_groups):
        group = by_length[len(pairs) * i // n_groups : len(pairs) * (i + 1) // n_groups]
        cycle = rng.sample(group, len(group))
        found += zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    return found
