"""WordNet (Princeton University) as prose, and as a lexicon of what is said in other words.

A line of `data.noun` and its sisters is a set of synonyms (wndb(5WN)):

    offset file type w_cnt  word id  word id ...  p_cnt  pointer offset type source/target ...  | gloss

A gloss is a definition, then examples in quotation marks. Of the pointers, two are read: "&", from an adjective to
those that are like it, and "=", from an adjective to the noun whose value it is (fast and slow are values of speed).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PARTS = ("noun", "verb", "adj", "adv")
EXAMPLE = re.compile(r'"([^"]+)"')


class Synset(NamedTuple):
    """Words of one meaning."""

    part: str  # one of PARTS
    words: list[str]
    like: list[int]  # offsets of adjectives that are like it
    value_of: list[int]  # offsets of nouns
    gloss: str


def read_synsets(folder: str | Path) -> dict[tuple[str, int], Synset]:
    """All synsets by part and offset, in the order of the files."""
    found = {}
    for part in PARTS:
        for line in (Path(folder) / f"data.{part}").read_text("ascii", errors="ignore").splitlines():
            if not line.startswith(" "):  # the licence stands before the first
                offset, synset = parse_synset(part, line)
                found[part, offset] = synset
    return found


def parse_synset(part: str, line: str) -> tuple[int, Synset]:
    """The offset, and the synset, of a line."""
    fields, _, gloss = line.partition(" | ")
    offset, _, _, n_words, *rest = fields.split()
    end = 2 * int(n_words, 16)
    words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in rest[:end:2]]  # "galore(ip)": its place
    n_pointers = int(rest[end])
    pointers = [rest[end + 1 + 4 * i : end + 5 + 4 * i] for i in range(n_pointers)]
    like = [int(target) for symbol, target, kind, _ in pointers if symbol == "&"]
    value_of = [int(target) for symbol, target, kind, _ in pointers if symbol == "=" and kind == "n"]
    return int(offset), Synset(part, words, like, value_of, gloss.strip())


def dictionary(synsets: dict[tuple[str, int], Synset]) -> Iterator[tuple[str, str]]:
    """(key, entry) of each synset: "Rapid, speedy: characterized by speed. A rapid movement." """
    for (part, offset), synset in synsets.items():
        definition = EXAMPLE.sub("", synset.gloss).strip(" ;:")
        examples = [sentence(example) for example in EXAMPLE.findall(synset.gloss)]
        like = [synsets[part, other].words[0] for other in synset.like if (part, other) in synsets]
        said = [sentence(f"{', '.join(synset.words)}: {definition}"), *examples]
        if like:
            said.append(sentence(f"like it: {', '.join(like)}"))
        yield f"{part}/{offset:08d}", " ".join(said)


def sentence(text: str) -> str:
    """The text with a capital at the beginning and a full stop at the end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def attributes(synsets: dict[tuple[str, int], Synset]) -> dict[str, dict[str, list[str]]]:
    """Nouns that have values, such as speed: noun -> adjective -> other words for it, two or more adjectives each."""
    found: dict[str, dict[str, list[str]]] = {}
    for (part, _), synset in synsets.items():
        for noun in synset.value_of if part == "adj" else ():
            like = [word for other in synset.like for word in synsets[part, other].words]
            others = [word for word in dict.fromkeys(synset.words[1:] + like) if word != synset.words[0]]
            if others:
                found.setdefault(synsets["noun", noun].words[0], {})[synset.words[0]] = others
    return {noun: values for noun, values in sorted(found.items()) if len(values) > 1}
