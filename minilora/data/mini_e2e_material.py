"""Finds material of mini-E2E in a text: a bundled model must not have seen its test in pretraining.

A model that is pretrained for the package is measured on mini-E2E, so neither its prose nor its generated windows may
contain mini-E2E's names, phrases, values of several words, "slot: value" pairs or sentence shapes.
Single words such as "park" or "cheap" are English and stay in prose; generators draw none of them.
"""

import re

from minilora.data.mini_e2e_grammar import ADJECTIVES, CLAUSES, CONNECTIVES, PLACES, QUALITIES, SLOTS

WORD = re.compile(r"[a-z]+")
# The words of mini-E2E's tables that any English text needs.
COMMON = frozenset("a all and by for has in is no not of on the to with".split()) | frozenset(CONNECTIVES)


def table_texts() -> list[str]:
    """Every name, value and phrase of the grammar."""
    values = [value for values in SLOTS.values() for value in values]
    tables = (ADJECTIVES, PLACES, QUALITIES, CLAUSES)
    phrases = [p for table in tables for slot in table.values() for phrases in slot.values() for p in phrases]
    return list(dict.fromkeys(values + phrases))


def table_words() -> frozenset[str]:
    """Every word of the grammar's keys, names, values and phrases, except those that any text needs; lower case."""
    return frozenset(WORD.findall(" ".join([*SLOTS, *table_texts()]).lower())) - COMMON


def _pattern() -> re.Pattern[str]:
    several = [text for text in table_texts() if len(WORD.findall(text.lower())) > 1]
    texts = {*several, *SLOTS["name"]}
    types = "|".join(SLOTS["type"])
    pairs = [f"{slot}: (?:{'|'.join(values)})" for slot, values in SLOTS.items()]
    shapes = [  # of PLANS: "a cheap Thai cafe", "there is a ... called", and the beginning of every source
        rf"an? (?:[\w-]+ ){{0,4}}(?:{types})",
        r"there is an? [^.:;]{0,80} called",
        r"name: [^;\n]+; type",
    ]
    # A hyphen counts as a space: "low cost" is the same phrase as "low-cost".
    phrases = [re.sub(r"[ -]", "[ -]", re.escape(text).replace(r"\ ", " ").replace(r"\-", "-")) for text in texts]
    return re.compile(rf"\b(?:{'|'.join([*sorted(phrases), *pairs, *shapes])})\b", re.IGNORECASE)


MATERIAL = _pattern()


def mini_e2e_material(text: str) -> str | None:
    """The first passage of a text that comes from mini-E2E; None if there is none."""
    found = MATERIAL.search(text)
    return found.group() if found else None
