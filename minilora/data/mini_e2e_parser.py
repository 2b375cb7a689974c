"""Reading a mini-E2E sentence: which slots it states, and everything in it that the grammar could not have written.

The sentence is cut into the grammar's phrases and connectives, the longest first. Then no word may be left
over, no slot may be stated twice, the phrases must stand in the order of one of the plans, and writing them
out again must give the sentence, which covers capitals, spaces and articles. So every character is accounted
for.
"""

import re
from typing import Any, NamedTuple

from minilora.data.mini_e2e_grammar import (
    ADJECTIVES,
    CLAUSES,
    CONNECTIVES,
    PLACES,
    PLANS,
    QUALITIES,
    SLOTS,
    write,
)


class Lexeme(NamedTuple):
    """A phrase or connective: its text, its kind, and what it states (a connective states nothing)."""

    text: str
    kind: str
    slot: str | None = None
    value: str | None = None


class Parsed(NamedTuple):
    """The slots that a sentence states, and its problems; without any, the grammar can write the sentence."""

    slots: dict[str, str]
    problems: list[str]


class SlotErrors(NamedTuple):
    """How a sentence differs from what it should say.

    Attributes
    ----------
    missing : list of str
        Slots that it should state but does not.
    wrong : dict of str to (str, str)
        Slot to the value that it should have and the one that the sentence states.
    extra : dict of str to str
        Slots that it states but should not.
    unparsed : list of str
        What the parser could not account for.
    """

    missing: list[str]
    wrong: dict[str, tuple[str, str]]
    extra: dict[str, str]
    unparsed: list[str]

    @property
    def exact(self) -> bool:
        """Whether the sentence says everything that it should, and nothing else."""
        return not any(self)

    @property
    def n_errors(self) -> int:
        """How many attributes are missing, wrong or invented; what could not be read is none of these."""
        return len(self.missing) + len(self.wrong) + len(self.extra)


def all_lexemes() -> list[Lexeme]:
    """Every name, type, phrase and connective of the grammar."""
    lexemes = [Lexeme(text, text) for text in CONNECTIVES]
    lexemes += [Lexeme(value, slot, slot, value) for slot in ("name", "type") for value in SLOTS[slot]]
    tables = {"adjective": ADJECTIVES, "place": PLACES, "quality": QUALITIES, "clause": CLAUSES}
    for kind, table in tables.items():
        for slot, phrases_of_value in table.items():
            for value, phrases in phrases_of_value.items():
                lexemes += [Lexeme(phrase, kind, slot, value) for phrase in phrases]
    return lexemes


LEXICON = {lexeme.text.lower(): lexeme for lexeme in all_lexemes()}
LEXICON["an"] = LEXICON["a"]

# A known phrase, the longest first, that ends where a word ends; else a single word or sign.
TOKEN = re.compile(
    "|".join(rf"{re.escape(text)}(?![\w'-])" for text in sorted(LEXICON, key=len, reverse=True)) + r"|[\w'-]+|[^\w\s]",
    re.IGNORECASE,
)

# A plan as a pattern over the kinds of the lexemes, each followed by a space.
JOINED_CLAUSES = "clause ((, clause )?and clause )?"
PART_PATTERNS = {
    "front": "(place , )?",
    "adjectives": "(adjective ){0,2}",
    "ending": "((place|quality) )?",
    "also": "(and clause )?",
    "clauses": JOINED_CLAUSES,
    "rest": rf"\. (it {JOINED_CLAUSES}\. )?",
}
PLAN_PATTERN = re.compile(
    "|".join("".join(PART_PATTERNS.get(word, f"{word} ") for word in plan.split()) for plan in PLANS)
)


def parse(sentence: str) -> Parsed:
    """The slots that a sentence states, each with the value stated first, and every problem found."""
    tokens = [match.group() for match in TOKEN.finditer(sentence)]
    problems = [f"unknown: {token!r}" for token in tokens if token.lower() not in LEXICON]
    lexemes = [LEXICON[token.lower()] for token in tokens if token.lower() in LEXICON]

    slots: dict[str, Any] = {}
    for lexeme in lexemes:
        if lexeme.slot in slots:
            problems.append(f"{lexeme.slot} is stated again: {lexeme.text!r}")
        elif lexeme.slot is not None:
            slots[lexeme.slot] = lexeme.value
    if problems:
        return Parsed(slots, problems)

    kinds = "".join(f"{lexeme.kind} " for lexeme in lexemes)
    if not PLAN_PATTERN.fullmatch(kinds):
        problems.append(f"not the order of any plan: {kinds.strip()!r}")
    elif write([lexeme.text for lexeme in lexemes]) != sentence:
        problems.append("capitals, spaces or articles are not as the grammar writes them")
    return Parsed(slots, problems)


def slot_errors(mr: dict[str, str], sentence: str) -> SlotErrors:
    """What a sentence gets wrong about a meaning representation (slot to value).

    A wrong value is only in `wrong`, so a sentence is exact only if all four are empty.
    """
    said, problems = parse(sentence)
    return SlotErrors(
        missing=[slot for slot in mr if slot not in said],
        wrong={slot: (mr[slot], said[slot]) for slot in mr if slot in said and said[slot] != mr[slot]},
        extra={slot: value for slot, value in said.items() if slot not in mr},
        unparsed=problems,
    )
