"""Unicode names and their general categories: latin small letter a is an Ll, a lower-case letter.

`unicodedata.ucd_3_2_0`, the Unicode database of 2002, is part of every Python and never changes. Without the ideographs
and Hangul syllables, whose names are made by rule, it has 12,886 names in 26 categories. Eleven of these have fewer
than 50 names each, 182 together, which is too few to learn from and to measure on: they are left out, not merged, so
that every label is Unicode's own.

The task has the names in lower case. Unicode ignores case when it compares names (UAX #44, rule UAX44-LM2), and the
bundled encoder, which has read prose, knows few words in capitals.
"""

import functools
import sys
import unicodedata
from collections import Counter

from minilora.data.example import LabelledExample
from minilora.data.splits import SPLITS, split_of

MADE_BY_RULE = ("CJK UNIFIED IDEOGRAPH-", "CJK COMPATIBILITY IDEOGRAPH-", "HANGUL SYLLABLE ")

# The categories that at least 50 names have, in Unicode's order.
CATEGORIES = {
    "Lu": "letter, uppercase",
    "Ll": "letter, lowercase",
    "Lo": "letter, other",
    "Mn": "mark, nonspacing",
    "Mc": "mark, spacing combining",
    "Nd": "number, decimal digit",
    "Nl": "number, letter",
    "No": "number, other",
    "Ps": "punctuation, open",
    "Pe": "punctuation, close",
    "Po": "punctuation, other",
    "Sm": "symbol, math",
    "Sk": "symbol, modifier",
    "So": "symbol, other",
    "Cf": "other, format",
}

LARGEST_GROUP = 300  # names; a word that begins more than this would dominate its split


@functools.cache
def character_names() -> tuple[tuple[str, str], ...]:
    """(name, category) of each character that Unicode 3.2 names, in the order of code points."""
    database = unicodedata.ucd_3_2_0
    named = ((database.name(char, ""), database.category(char)) for char in map(chr, range(sys.maxunicode + 1)))
    return tuple((name, category) for name, category in named if name and not name.startswith(MADE_BY_RULE))


def names_by_hash() -> dict[str, list[LabelledExample]]:
    """The random split: a tenth of the names is valid and a tenth is test, by hash."""
    splits: dict[str, list[LabelledExample]] = {split: [] for split in SPLITS}
    for example in labelled_names():
        splits[split_of(example.key, valid=0.1, test=0.1)].append(example)
    return splits


def names_by_first_word() -> dict[str, list[LabelledExample]]:
    """The split by first word: what train teaches about TIBETAN or COMBINING is of no use in valid and test.

    A fifth of the first words is valid and a fifth is test, by hash. The eight words that begin more than
    LARGEST_GROUP names (YI, LATIN, ...) are in train.
    """
    splits: dict[str, list[LabelledExample]] = {split: [] for split in SPLITS}
    examples = [LabelledExample(e.text, e.label, key=e.key.split()[0]) for e in labelled_names()]
    sizes = Counter(example.key for example in examples)
    for example in examples:
        is_large = sizes[example.key] > LARGEST_GROUP
        splits["train" if is_large else split_of(example.key, valid=0.2, test=0.2)].append(example)
    return splits


def labelled_names() -> list[LabelledExample]:
    """The names whose category is one of CATEGORIES, in lower case; Unicode's own spelling is the key of its group."""
    return [
        LabelledExample(name.lower(), category, key=name)
        for name, category in character_names()
        if category in CATEGORIES
    ]
