"""Matching regular expressions from untrusted files, in a bounded number of steps.

Python's `re` tries one way after another, and forty ``.?`` have 2^40 ways. Here all ways are followed at once: an
expression is a map from sets of positions in the text to sets of positions, and a set of positions is an integer with
one bit per position.

    c            S -> (S & M_c) << 1          M_c has a bit wherever the text has the character c
    e f          S -> f(e(S))
    e | f        S -> e(S) | f(S)
    e*           S -> S | e(S) | e(e(S)) | ... until nothing is new
    (?=e)        S -> the positions in S from which e leads somewhere

Python's own parser reads the expression. Anything that is not a regular expression in the mathematical sense
(backreferences), looks backwards, or changes the rules midway (flags) is refused by name.
"""

import functools
import re
import warnings
from collections.abc import Callable
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from minilora.limits import shown

MOST_STEPS = 300_000  # of one Matcher: at most about a second
LONGEST_PATTERN = 10_000  # characters
PLAIN = re.compile(r"[\w.]+")  # nothing in it repeats or branches

CATEGORIES = {
    op.CATEGORY_DIGIT: re.compile(r"\d").match,
    op.CATEGORY_NOT_DIGIT: re.compile(r"\D").match,
    op.CATEGORY_SPACE: re.compile(r"\s").match,
    op.CATEGORY_NOT_SPACE: re.compile(r"\S").match,
    op.CATEGORY_WORD: re.compile(r"\w").match,
    op.CATEGORY_NOT_WORD: re.compile(r"\W").match,
}
ONE_CHARACTER = (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)
NAMES = {
    op.GROUPREF: "a backreference",
    op.GROUPREF_EXISTS: "a condition on a group",
    op.ATOMIC_GROUP: "an atomic group",
    op.POSSESSIVE_REPEAT: "a possessive repeat",
}


class Matcher:
    """Matches regular expressions from one file against names, with at most MOST_STEPS steps in total.

    Parameters
    ----------
    where : str
        The file, and the field in it, which begin an error's message.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.steps = 0
        self._parsed: dict[str, list] = {}

    def fullmatch(self, pattern: str, text: str) -> bool:
        """Whether the whole text matches, like `re.fullmatch`.

        Raises
        ------
        ValueError
            If the pattern is not a regular expression, is one of the refused kinds, or takes too many steps.
        """
        return bool(self._places(pattern, text) >> len(text))

    def match(self, pattern: str, text: str) -> bool:
        """Whether the text begins with a match, like `re.match`. Errors are those of `fullmatch`."""
        return bool(self._places(pattern, text))

    def match_end(self, pattern: str, text: str) -> bool:
        r"""Whether whole parts at the end of a dotted name match: ``re.match(rf"(.*\.)?({pattern})$", text)``."""
        if not PLAIN.fullmatch(pattern):
            return self.match(rf"(.*\.)?({pattern})$", text)
        start = len(text) - len(pattern)
        if start < 0 or (start and text[start - 1] != "."):
            return False
        return all(p in (c, ".") for p, c in zip(pattern, text[start:], strict=True))

    def check(self, pattern: str) -> None:
        """Raise those errors of `fullmatch` that do not depend on a text."""
        self._parse(pattern)

    def _places(self, pattern: str, text: str) -> int:
        """The positions to which the pattern leads from the beginning of the text, one bit each."""
        parsed = self._parse(pattern)
        try:
            return _Text(text, self._step).all_of(parsed, 1)
        except (ValueError, RecursionError) as error:
            raise self._refusal(pattern, error) from None

    def _parse(self, pattern: str) -> Any:
        if pattern not in self._parsed:
            try:
                self._step(40 + 2 * len(pattern))
                self._parsed[pattern] = _parse(pattern)
            except (ValueError, OverflowError, RecursionError, re.error) as error:
                raise self._refusal(pattern, error) from None
        return self._parsed[pattern]

    def _step(self, n: int = 1) -> None:
        self.steps += n
        if self.steps > MOST_STEPS:
            raise ValueError(f"matching must take at most {MOST_STEPS:,} steps in all")

    def _refusal(self, pattern: str, error: Exception) -> ValueError:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        return ValueError(f"{self.where}: the regular expression {shown(pattern)} is refused: {reason}")


def _parse(pattern: str) -> Any:
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"it has {len(pattern):,} characters; it must have at most {LONGEST_PATTERN:,}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what a later Python may read differently
        parsed = _parser.parse(pattern)
    if parsed.state.flags != re.UNICODE.value:
        raise ValueError("it has flags")
    _check_kinds(parsed)
    return parsed


def _check_kinds(parsed: Any) -> None:
    """Raise ValueError, naming anything that is not a regular expression, looks backwards, or has its own flags."""
    for kind, value in parsed:
        if kind in NAMES:
            raise ValueError(f"it has {NAMES[kind]}")
        if kind in (op.ASSERT, op.ASSERT_NOT) and value[0] < 0:
            raise ValueError("it looks backwards")
        if kind is op.SUBPATTERN and (value[1] or value[2]):
            raise ValueError("it has flags")
        for inner in value[1] if kind is op.BRANCH else value if isinstance(value, tuple) else ():
            if isinstance(inner, _parser.SubPattern):
                _check_kinds(inner)


def _between(bounds: tuple[int, int], character: str) -> bool:
    return bounds[0] <= ord(character) <= bounds[1]


class _Text:
    """A text, and the positions that an expression leads to in it."""

    def __init__(self, text: str, step: Callable[..., None]) -> None:
        self.text, self.step = text, step
        self.all = (1 << len(text)) - 1  # every character's place
        self.characters: dict[str, int] = {}  # M_c
        for i, character in enumerate(text):
            self.characters[character] = self.characters.get(character, 0) | (1 << i)

    def all_of(self, parsed: Any, places: int) -> int:
        """e f: the items of an expression, one after another."""
        for kind, value in parsed:
            if not places:
                return 0
            places = self.one(kind, value, places)
        return places

    def one(self, kind: Any, value: Any, places: int) -> int:
        """Where one item leads."""
        self.step()
        if kind in ONE_CHARACTER:
            return (places & self.where(kind, value)) << 1
        if kind is op.BRANCH:
            found = 0
            for branch in value[1]:
                found |= self.all_of(branch, places)
            return found
        if kind is op.SUBPATTERN:
            return self.all_of(value[3], places)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):  # greedy or not: the same texts match
            return self.repeat(value[0], value[1], value[2], places)
        if kind is op.AT:
            return places & self.at(value)
        return self.followed(value[1], places, wanted=kind is op.ASSERT)

    def where(self, kind: Any, value: Any) -> int:
        """The characters of the text that one character of an expression matches, one bit each."""
        if kind is op.LITERAL:
            return self.characters.get(chr(value), 0)
        if kind is op.NOT_LITERAL:
            return self.all & ~self.characters.get(chr(value), 0)
        if kind is op.ANY:
            return self.all & ~self.characters.get("\n", 0)
        negated, found = False, 0
        for inner, what in value:  # [...]
            self.step()
            if inner is op.NEGATE:
                negated = True
            elif inner is op.LITERAL:
                found |= self.characters.get(chr(what), 0)
            elif inner is op.RANGE:
                found |= self.those(functools.partial(_between, what))
            else:
                found |= self.those(CATEGORIES[what])
        return self.all & ~found if negated else found

    def those(self, belongs: Callable[[str], Any]) -> int:
        self.step(len(self.characters))
        found = 0
        for character, places in self.characters.items():
            if belongs(character):
                found |= places
        return found

    def repeat(self, least: int, most: Any, inner: Any, places: int) -> int:
        """e{least,most}. After as many repetitions as the text has positions, another one leads nowhere new."""
        for _ in range(min(least, len(self.text) + 1)):
            if not places:
                return 0
            self.step()
            places = self.all_of(inner, places)
        if most is op.MAXREPEAT and len(inner) == 1 and inner[0][0] in ONE_CHARACTER:
            # c*: adding M_c carries a bit from each place of S to the end of its run of c's
            fitting = self.where(*inner[0])
            return places | (((places & fitting) + fitting) ^ fitting)
        new = places
        for _ in range(min(most - least, len(self.text) + 1)):
            self.step()
            new = self.all_of(inner, new) & ~places
            if not new:
                break
            places |= new
        return places

    def at(self, what: Any) -> int:
        """The positions where the text, or a word, begins or ends."""
        n = len(self.text)
        if what in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
            return 1
        if what is op.AT_END_STRING:
            return 1 << n
        if what is op.AT_END:
            return 1 << n | (1 << (n - 1) if self.text.endswith("\n") else 0)
        words = self.those(CATEGORIES[op.CATEGORY_WORD])
        boundaries = words ^ (words << 1)
        if what is op.AT_BOUNDARY:
            return boundaries
        return ((1 << (n + 1)) - 1) & ~boundaries

    def followed(self, inner: Any, places: int, wanted: bool) -> int:
        """(?=e), or (?!e): the positions from which e leads somewhere, or nowhere."""
        found = 0
        for place in range(places.bit_length()):
            if places >> place & 1:
                self.step()
                found |= (bool(self.all_of(inner, 1 << place)) is wanted) << place
        return found
