"""Texts that repeat what came before them: these teach a model of bytes to look back and copy.

Each generator draws one `Passage`: what is read, and what is then to be written. Only the second part counts in a loss,
because the first is random and cannot be predicted. A random string forces a model to copy: nothing else in it
predicts the next byte. Lists and names do the same with words.
"""

import random
import string
from collections.abc import Sequence
from typing import NamedTuple

from minilora.data.mini_e2e_material import table_words

CONSONANTS = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pl pr sh st th tr".split()
VOWELS = "a e i o u ai ea oo".split()
ENDINGS = ["", "", "n", "r", "l", "s", "m", "t", "x", "nd", "ck"]
PRINTABLE = "".join(map(chr, range(33, 127)))
ALPHABETS = (string.ascii_lowercase, string.ascii_letters + string.digits, PRINTABLE)
LIST_SIGNS = (", ", "; ", " ", " and ", "\n")
NOT_DRAWN = table_words()
N_COMMON = 1500


class Passage(NamedTuple):
    """A text in two parts."""

    read: str
    said: str


class Words:
    """Words and names to draw from: a vocabulary, words that are made up, and numbers; none of mini-E2E's.

    Parameters
    ----------
    vocabulary : sequence of str
        The most common first.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = [word for word in vocabulary if word.lower() not in NOT_DRAWN]

    def known(self, rng: random.Random) -> str:
        """A word of the vocabulary."""
        return rng.choice(self.vocabulary)

    def common(self, rng: random.Random) -> str:
        """One of the N_COMMON first words of the vocabulary."""
        return rng.choice(self.vocabulary[:N_COMMON])

    def made_up(self, rng: random.Random) -> str:
        """One to three random syllables."""
        while True:
            syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.choice((1, 2, 2, 3))))
            word = "".join(syllables) + rng.choice(ENDINGS)
            if word not in NOT_DRAWN:
                return word

    def any(self, rng: random.Random) -> str:
        """A word of either kind, and now and then a number."""
        kind = rng.random()
        if kind < 0.5:
            return self.known(rng)
        return self.made_up(rng) if kind < 0.95 else str(rng.randint(0, 9999))

    def name(self, rng: random.Random) -> str:
        """One or two words, mostly with capitals."""
        words = [self.any(rng) for _ in range(rng.choice((1, 2, 2, 2)))]
        return " ".join(word.capitalize() for word in words) if rng.random() < 0.7 else " ".join(words)


def random_string(rng: random.Random) -> Passage:
    """A random string, then itself: whole, or in pieces of eight in another order."""
    alphabet = rng.choice(ALPHABETS)
    text = "".join(rng.choices(alphabet, k=rng.randint(12, 60)))
    if rng.random() < 0.5:
        return Passage(text + "\n", text)
    pieces = [text[i : i + 8] for i in range(0, len(text), 8)]
    rng.shuffle(pieces)
    return Passage(text + "\n", " ".join(pieces))


def periodic_string(rng: random.Random, words: Words) -> Passage:
    """A short random string or a name, then the same again and again."""
    kind = rng.random()
    if kind < 0.35:
        period = "".join(rng.choices(rng.sample(PRINTABLE, rng.randint(4, 30)), k=rng.randint(4, 24)))
    elif kind < 0.7:
        period = "".join(rng.sample(PRINTABLE, rng.randint(4, 30)))
    else:
        period = words.name(rng)
    period += rng.choice(("", " ", "\n", ", ", "\t"))
    return Passage(period, (period * rng.randint(2, 9))[:200])


def shuffled_list(rng: random.Random, words: Words) -> Passage:
    """Some names, then the same names, mostly in another order."""
    names = [words.name(rng) for _ in range(rng.randint(2, 6))]
    again = rng.sample(names, len(names)) if rng.random() < 0.7 else names
    return Passage(rng.choice(LIST_SIGNS).join(names) + "\n", rng.choice(LIST_SIGNS).join(again))


def missing_items(rng: random.Random, words: Words) -> Passage:
    """A list of names and some of them again; then those that were not said again, in the list's order."""
    names = list(dict.fromkeys(words.name(rng) for _ in range(rng.randint(3, 8))))
    again = rng.sample(names, rng.randint(1, len(names)))
    sign, end = rng.choice(LIST_SIGNS[:2]), rng.choice((" | ", " - ", "\n"))
    missing = [name for name in names if name not in again]
    return Passage(f"{sign.join(names)}\n{sign.join(again)}{end}", sign.join(missing) or "nothing")


def repeated_passage(rng: random.Random, paragraphs: Sequence[str]) -> Passage:
    """A piece of prose, mostly with other prose after it, then the first piece again."""
    paragraph, other = rng.choice(paragraphs), rng.choice(paragraphs)
    start = rng.randint(0, max(0, len(paragraph) - 60))
    piece = paragraph[start : start + rng.randint(25, 100)]
    between = rng.choice(("\n", " ", ". ", " ... ")) + other[: rng.randint(0, 50)]
    return Passage(f"{piece}{between}\n", piece)
