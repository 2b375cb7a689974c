"""mini-E2E: restaurants as lists of attributes, to be put into English sentences.

A task in the spirit of the E2E NLG challenge (Novikova et al., 2017), with names and phrases of its own,
written by a grammar (mini_e2e_grammar.py). The parser (mini_e2e_parser.py) is the grammar's exact inverse, so
a model's sentences are scored without a human. A meaning representation (mr) is a dict of slot to value. All
mrs that differ only in the name are in one split: a test combination of attributes never occurs in
training, under any name.
"""

import functools
import itertools
import random

from minilora.data.example import Example
from minilora.data.mini_e2e_grammar import FACTS, PART_PHRASES, PART_ROOM, PLANS, REQUIRED, SLOTS, write
from minilora.data.splits import check_split, split_of

MAX_SENTENCE = 140  # bytes; a source has at most 110, and both fit a context of 256


def source_text(mr: dict[str, str]) -> str:
    """An mr as one line, such as "name: Blue Heron; type: cafe; food: Thai", in the order of SLOTS."""
    check_mr(mr)
    return "; ".join(f"{slot}: {mr[slot]}" for slot in SLOTS if slot in mr)


def parse_source(source: str) -> dict[str, str]:
    """The mr that `source_text` wrote."""
    mr = {}
    for item in source.split("; "):
        slot, separator, value = item.partition(": ")
        if not separator:
            raise ValueError(f"source must be made of 'slot: value' joined by '; '; it has {item!r}")
        if slot in mr:
            raise ValueError(f"source gives {slot!r} twice")
        mr[slot] = value
    check_mr(mr)
    return mr


def realise(mr: dict[str, str], rng: random.Random) -> str:
    """One of the sentences that say what mr says, drawn at random; at most MAX_SENTENCE bytes."""
    check_mr(mr)
    while True:
        sentence = draw_sentence(mr, rng)
        if len(sentence) <= MAX_SENTENCE:
            return sentence


def draw_sentence(mr: dict[str, str], rng: random.Random) -> str:
    """A plan, drawn at random, with each fact in a random part of it and each part in a random phrase."""
    plan = rng.choice(PLANS).split()
    slots_of_part = assign_facts([slot for slot in FACTS if slot in mr], plan, rng)
    phrases = {
        part: [rng.choice(PART_PHRASES[part][slot][mr[slot]]) for slot in slots]
        for part, slots in slots_of_part.items()
    }
    clauses = phrases["clauses"]
    n_first = 0  # clauses in the first sentence; the others are left to a second one
    if "also" in plan:
        n_first = rng.randint(0, min(1, len(clauses)))  # "... is a cafe and serves Thai food."
    elif "clauses" in plan:
        n_first = rng.randint(1, len(clauses))  # "..., a cafe, is cheap and serves Thai food."
    first, second = clauses[:n_first], clauses[n_first:]

    words_of_part = {
        "name": [mr["name"]],
        "type": [mr["type"]],
        "front": [*phrases["front"], ","] if phrases.get("front") else [],
        "adjectives": phrases["adjectives"],
        "ending": phrases["ending"],
        "also": ["and", *first] if first else [],
        "clauses": join_clauses(first),
        "rest": [".", "it", *join_clauses(second), "."] if second else ["."],
    }
    return write([token for word in plan for token in words_of_part.get(word, [word])])


def assign_facts(facts: list[str], plan: list[str], rng: random.Random) -> dict[str, list[str]]:
    """Each part of a plan with the facts that it is to state: random, where the part has phrases and room."""
    slots_of_part: dict[str, list[str]] = {part: [] for part in PART_ROOM if part != "front" or part in plan}
    shuffled = rng.sample(facts, len(facts))
    if "clauses" in plan:
        slots_of_part["clauses"].append(shuffled.pop())  # such a plan has no other verb
    shuffled.sort(key=lambda slot: slot != "area")  # first, because it cannot be an adjective
    for slot in shuffled:
        parts = [part for part in slots_of_part if slot in PART_PHRASES[part]]
        roomy = [part for part in parts if len(slots_of_part[part]) < PART_ROOM[part]]
        slots_of_part[rng.choice(roomy)].append(slot)
    slots_of_part["adjectives"].sort(key=lambda slot: slot == "food")  # "a cheap Thai cafe"
    return slots_of_part


def join_clauses(clauses: list[str]) -> list[str]:
    """Up to three clauses as "x", "x and y" or "x, y and z"."""
    match clauses:
        case [x, y]:
            return [x, "and", y]
        case [x, y, z]:
            return [x, ",", y, "and", z]
    return clauses


def examples(split: str, n: int, seed: int = 0) -> list[Example]:
    """n examples of a split: the source is an mr's line, the target one of its sentences.

    Mrs of every size, from 3 slots to all, are equally frequent, as far as the split has enough of them.

    Parameters
    ----------
    split : str
        "train", "valid" or "test". In valid and test all mrs are different.
    n : int
        At least 1; in valid and test at most as many as there are mrs.
    seed : int
        The same seed gives the same examples.
    """
    check_split(split)
    by_size, names = combinations_by_size(split), SLOTS["name"]
    n_mrs = sum(map(len, by_size)) * len(names)
    if n < 1 or (split != "train" and n > n_mrs):
        limit = "" if split == "train" else f" and at most {n_mrs}, the number of mrs in {split}"
        raise ValueError(f"n must be at least 1{limit}; it was {n}")
    rng = random.Random(f"{split} {seed}")
    if split == "train":
        mrs = [{"name": rng.choice(names), **rng.choice(rng.choice(by_size))} for _ in range(n)]
    else:
        of_sizes = [[{"name": name, **rest} for rest in of_size for name in names] for of_size in by_size]
        mrs = in_turn([rng.sample(mrs, len(mrs)) for mrs in of_sizes])[:n]
    return [Example(source_text(mr), realise(mr, rng), combination_key(mr)) for mr in mrs]


def references(mr: dict[str, str], n: int, seed: int = 0) -> list[str]:
    """n different sentences that say what mr says; ValueError if fewer were found."""
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    rng = random.Random(f"{source_text(mr)} {seed}")
    found = {}  # a dict keeps the order in which they were drawn
    for _ in range(100 * n):
        found[realise(mr, rng)] = True
        if len(found) == n:
            return list(found)
    raise ValueError(f"n must be at most about {len(found)}, the sentences found for this mr, not {n}")


def combination_key(mr: dict[str, str]) -> str:
    """What decides an mr's split: everything except the name, whatever the order of the slots."""
    return "; ".join(f"{slot}: {value}" for slot, value in sorted(mr.items()) if slot != "name")


@functools.cache
def combinations_of(split: str) -> list[dict[str, str]]:
    """All mrs of a split, without their names."""
    choices = [SLOTS["type"], *((None, *SLOTS[slot]) for slot in FACTS)]
    combinations = []
    for values in itertools.product(*choices):
        mr = {slot: value for slot, value in zip(("type", *FACTS), values, strict=True) if value is not None}
        if len(mr) > 1 and split_of(combination_key(mr)) == split:
            combinations.append(mr)
    return combinations


@functools.cache
def combinations_by_size(split: str) -> list[list[dict[str, str]]]:
    """The mrs of `combinations_of`, in lists of the same number of slots."""
    by_size = itertools.groupby(sorted(combinations_of(split), key=len), key=len)
    return [list(combinations) for _, combinations in by_size]


def in_turn(lists: list[list]) -> list:
    """One item from each list, then the next from each, until all are empty."""
    rounds = itertools.zip_longest(*lists)
    return [item for items in rounds for item in items if item is not None]


def check_mr(mr: dict[str, str]) -> None:
    """Raise TypeError or ValueError, with the allowed values, unless mr is a meaning representation."""
    if not isinstance(mr, dict):
        raise TypeError(f"mr must be a dict of slot to value, not {type(mr).__name__}")
    for slot, value in mr.items():
        if slot not in SLOTS:
            raise ValueError(f"mr has the slot {slot!r}; the slots are {', '.join(SLOTS)}")
        if value not in SLOTS[slot]:
            raise ValueError(f"mr has {slot} = {value!r}; {slot} must be one of {', '.join(SLOTS[slot])}")
    if any(slot not in mr for slot in REQUIRED) or len(mr) == len(REQUIRED):
        raise ValueError(
            f"mr must have name, type and at least one of {', '.join(FACTS)}; it has {', '.join(mr) or 'nothing'}"
        )
