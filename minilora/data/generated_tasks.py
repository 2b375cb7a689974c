"""Made-up tasks: a list of keys and values, then a text that says each value once.

A `Grammar` is a small language, drawn at random and then fixed: its keys, how it says each of them, and how it puts
them together. Some values are copied, some are said in other words: with a synonym from WordNet ("speed: fast" as
"rapid"), or with words that stand for the value only in this grammar, or only in one place of its texts.

mini-E2E is such a task too, but shares nothing else: no key, value, phrase or plan. So no adjective precedes a kind of
thing, no text begins with a place, and there is no relative clause and no second sentence about "it". What it does
share: a list of keys and values, a text that says each once, in any order, and ways of saying a key that depend on
where in the text it is said.

A plain grammar has no words of its own, and `record_in_words` draws a new one each time: what it teaches is to say
everything that was read, once, and nothing else.

`keywords_in_prose` makes a task of a sentence: some of its words, in any order, then the sentence.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from minilora.data.copying import NOT_DRAWN, Passage, Words
from minilora.data.mini_e2e_material import WORD, mini_e2e_material

LONGEST = 250  # bytes of a passage, to fit into a window of 256
MOST_WORDS = 3  # for a value that is said in other words
N_ATTRIBUTES = 60  # the most common ones
COMMON = 25  # how often their words occur in the prose, at least
PLACES = 3  # in a text, each with its own ways of saying a key
LETTERS = re.compile(r"[A-Za-z][\w'-]*")

# How a grammar may say a key: {v} is the value or what stands for it, {k} the key, {n}, {m} and {w} its own words.
SAYINGS = (
    "{k} {v}",
    "{v} {k}",
    "the {k} is {v}",
    "{v} as {k}",
    "{n} {v}",
    "{v} {n}",
    "{n} of {v}",
    "its {n}: {v}",
    "{v} for {n}",
    "{w} the {n} {v}",
    "{w} {v} {m}",
    "{m} {w} {v}",
    "so {v} in {n}",
    "{n} and {m} from {v}",
    "under {n}, {v}",
)
# How it may put them together: {S} is the subject, {F} all sayings, {A} the first and {R} the others; or {A} the first,
# {B} the second and {R} those after it. What fills {A}, {B} or {F}, and {R} is said as it is said in the place 0, 1, 2.
FRAMES = (
    "{S}: {F}",
    "{F} ({S})",
    "{F} - {S}",
    "of {S} we know {F}",
    "whoever asks for {S} hears {F}",
    "first {A}; that was {S}; then {R}",
    "{A}, says {S}; {R}",
    "look, {S} - {F} - {u}",
    "{u} {S} {x} {F}",
    "{A} {u} {S} {x} {R}",
    "{x}: {F}. {u}: {S}",
    "we {u} {F} because {S} {x}",
    "{A}, {B} {u} {S}; {x} {R}",
    "{u} {S} ({A}) {x} {B}: {R}",
    "{A} {x} {S} {B} {u} {R}",
)
# What needs no words of its own: every record in words is said with these.
PLAIN_SAYINGS = (
    "the {k} is {v}",
    "{k} {v}",
    "{v} {k}",
    "{v} as {k}",
    "its {k}: {v}",
    "{v} for {k}",
    "{k} of {v}",
    "{v}",
)
PLAIN_FRAMES = (
    "{S}: {F}",
    "{F} ({S})",
    "{F} - {S}",
    "of {S} we know {F}",
    "look, {S} - {F}",
    "{A}, says {S}; {R}",
    "first {A}; that was {S}; then {R}",
)
JOINERS = ("; ", ", ", " - ", " / ", " + ", " and ", " then ", ". ", " | ")
ENDS = ("", ".", "!", " #")
FLAGS = (("true", "false"), ("on", "off"), ("present", "absent"), ("1", "0"), ("open", "shut"))
# How a value may be said that has words of its own in each place.
OWN_SAYINGS = ("{n}", "with {n}", "lacking {n}", "never {n}", "{n} {w}", "{w} the {n}", "{w} {n} {m}", "{n} and {m}")
# The kinds of keys, and how often each is drawn.
KINDS = {"copied": 0.3, "reworded": 0.2, "coded": 0.25, "phrased": 0.25}
PLAIN_KINDS = {"copied": 0.5, "reworded": 0.5}


class Key(NamedTuple):
    """A key of a grammar."""

    name: str
    values: list[str] | None  # None: any word or name
    spoken: dict[str, list[str]]  # value -> what may stand for it; a value that is missing here stands for itself
    sayings: dict[str | None, list[list[str]]]  # value, or None for all -> for each place, templates that hold {v}


class Grammar:
    """A language of keys and values, drawn at random.

    Parameters
    ----------
    rng : random.Random
    words : Words
    attributes : dict of str to dict of str to list of str
        As `wordnet.attributes` gives it: noun -> value -> other words for it.
    plain : bool
        Without words of its own: it is said as everything plain is said, and can be understood without having been
        read before.
    """

    def __init__(
        self, rng: random.Random, words: Words, attributes: dict[str, dict[str, list[str]]], *, plain: bool = False
    ) -> None:
        self.words, self.plain = words, plain
        self.subject = words.common(rng)
        self.keys = self._keys(rng, attributes)
        self.frames = [
            self._filled(rng, frame) for frame in rng.sample(PLAIN_FRAMES if plain else FRAMES, rng.randint(2, 4))
        ]
        self.joiners = rng.sample(JOINERS, 2)
        self.end = rng.choice(ENDS)
        self.in_order = rng.random() < 0.6  # whether keys always stand in one order

    def _filled(self, rng: random.Random, template: str) -> str:
        """A template with the grammar's own words, which are common ones, filled in for n, m, w, u and x."""
        return re.sub(r"\{[nmwux]\}", lambda place: self.words.common(rng), template)

    def _keys(self, rng: random.Random, attributes: dict[str, dict[str, list[str]]]) -> list[Key]:
        """At most seven keys, each with a name of its own."""
        keys = {}
        for _ in range(rng.randint(3, 7)):
            key = self._key(rng, attributes)
            if key.name != self.subject:
                keys[key.name] = key
        return list(keys.values()) or self._keys(rng, attributes)

    def _key(self, rng: random.Random, attributes: dict[str, dict[str, list[str]]]) -> Key:
        kinds = PLAIN_KINDS if self.plain else KINDS
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        if kind == "reworded" and attributes:
            noun = rng.choice(list(attributes))
            spoken = {value: others[:MOST_WORDS] for value, others in attributes[noun].items()}
            return Key(noun, list(spoken), spoken, {None: self._sayings(rng)})
        name = self.words.common(rng)
        if kind == "phrased":
            some = [self.words.common(rng) for _ in range(rng.randint(2, 5))]
            few = rng.choice(FLAGS) if rng.random() < 0.4 else some
            own: dict[str | None, list[list[str]]] = {value: self._sayings(rng, OWN_SAYINGS) for value in few}
            return Key(name, list(few), {}, own)
        values = [self.words.common(rng) for _ in range(rng.randint(2, 8))]
        if kind == "coded":
            spoken = {value: [self._code(rng) for _ in range(rng.randint(1, 3))] for value in values}
            return Key(name, values, spoken, {None: self._sayings(rng)})
        return Key(name, None if rng.random() < 0.6 else values, {}, {None: self._sayings(rng)})

    def _sayings(self, rng: random.Random, templates: Sequence[str] = SAYINGS) -> list[list[str]]:
        """One to three templates for each place; plain ones are the same everywhere."""
        if self.plain:
            return [rng.sample(PLAIN_SAYINGS, rng.randint(2, 4))] * PLACES
        return [
            [self._filled(rng, template) for template in rng.sample(templates, rng.randint(1, 3))]
            for _ in range(PLACES)
        ]

    def _code(self, rng: random.Random) -> str:
        return " ".join(self.words.common(rng) for _ in range(rng.randint(1, 2)))

    def passage(self, rng: random.Random) -> Passage:
        """A list of keys and values, and a text that says each of them once; at most LONGEST bytes."""
        while True:
            passage = self._draw(rng)
            if len(passage.read) + len(passage.said) <= LONGEST:
                return passage

    def _draw(self, rng: random.Random) -> Passage:
        keys = rng.sample(self.keys, rng.randint(1, len(self.keys)))
        if self.in_order:
            keys.sort(key=self.keys.index)
        subject = self.words.name(rng)
        facts = [(key, rng.choice(key.values) if key.values else self.words.any(rng)) for key in keys]
        items = [f"{self.subject}: {subject}", *(f"{key.name}: {value}" for key, value in facts)]
        text = self._together(rng, subject, rng.sample(facts, len(facts)))
        return Passage("; ".join(items) + "\n", text)

    def _together(self, rng: random.Random, subject: str, facts: list[tuple[Key, str]]) -> str:
        """The facts, said in one of the grammar's frames that has as many places at most."""
        places = ("{A}", "{B}", "{R}")
        frame = rng.choice([f for f in self.frames if sum(p in f for p in places) <= len(facts)] or [FRAMES[0]])
        joiner = rng.choice(self.joiners)
        parts = {"{S}": subject}
        for place in places[:2]:
            if place in frame:
                parts[place] = self._said(rng, facts[0], places.index(place))
                facts = facts[1:]
        parts["{F}"] = joiner.join(self._said(rng, fact, 0) for fact in facts)
        parts["{R}"] = joiner.join(self._said(rng, fact, 2) for fact in facts)
        text = re.sub(r"\{[SFABR]\}", lambda place: parts[place.group()], frame)
        return text[0].upper() + text[1:] + self.end

    def _said(self, rng: random.Random, fact: tuple[Key, str], place: int) -> str:
        """A fact as it is said in a place."""
        key, value = fact
        spoken = rng.choice(key.spoken.get(value, [value]))
        saying = rng.choice((key.sayings.get(value) or key.sayings[None])[place])
        return saying.replace("{k}", key.name).replace("{v}", spoken)


def record_in_words(rng: random.Random, words: Words, attributes: dict[str, dict[str, list[str]]]) -> Passage:
    """A new list of keys and values, and a text that says each of them once, plainly."""
    return Grammar(rng, words, attributes, plain=True).passage(rng)


def usable_attributes(
    attributes: dict[str, dict[str, list[str]]], counts: Mapping[str, int]
) -> dict[str, dict[str, list[str]]]:
    """The N_ATTRIBUTES most common attributes that share no key, value or word with mini-E2E.

    Parameters
    ----------
    attributes : dict of str to dict of str to list of str
        As `wordnet.attributes` gives it.
    counts : mapping of str to int
        How often each word occurs in the prose that is read. Nouns, values and other words that occur less than COMMON
        times are left out; then an attribute is as common as the rarest of its noun and values, of which it must have
        two.
    """

    def usable(text: str) -> bool:
        return counts.get(text, 0) >= COMMON and NOT_DRAWN.isdisjoint(WORD.findall(text.lower()))

    found = {}
    for noun, values in attributes.items():
        kept = {value: [word for word in others if usable(word)] for value, others in values.items() if usable(value)}
        kept = {value: others for value, others in kept.items() if others}
        if usable(noun) and len(kept) > 1:
            found[noun] = kept
    most = sorted(found, key=lambda noun: -min(counts[word] for word in (noun, *found[noun])))[:N_ATTRIBUTES]
    return {noun: found[noun] for noun in sorted(most)}


def keywords_in_prose(rng: random.Random, sentences: Sequence[str], words: Words, keywords: frozenset[str]) -> Passage:
    """Keywords of a sentence of prose, in any order, then the sentence; usually one of them is replaced by a name.

    The name can only be known from the list. Usually each keyword follows a key.
    """
    while True:
        sentence = rng.choice(sentences)
        places = [m for m in LETTERS.finditer(sentence) if len(m.group()) > 3 and m.group() in keywords]
        if len(places) < 2:
            continue
        chosen = [m.group() for m in rng.sample(places, min(len(places), rng.randint(2, 6)))]
        chosen = list(dict.fromkeys(chosen))
        if rng.random() < 0.7:
            name = words.name(rng)
            sentence = re.sub(rf"\b{re.escape(chosen[0])}\b", name, sentence)
            chosen[0] = name
        rng.shuffle(chosen)
        if rng.random() < 0.7:
            read = "; ".join(f"{words.known(rng)}: {word}" for word in chosen)
        else:
            read = rng.choice((", ", "; ", " ")).join(chosen)
        if not mini_e2e_material(f"{read}\n{sentence}"):
            return Passage(read + "\n", sentence)
