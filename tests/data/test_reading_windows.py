"""Generated passages say what was read, are drawn again from a seed, and hold nothing of mini-E2E."""

import random
import re
from collections import Counter
from itertools import product
from string import ascii_lowercase

import numpy as np
import pytest

from minilora.data.copying import LIST_SIGNS, N_COMMON, Words, periodic_string, random_string
from minilora.data.corpora import load_corpus
from minilora.data.generated_tasks import (
    COMMON,
    FLAGS,
    LONGEST,
    N_ATTRIBUTES,
    PLACES,
    Grammar,
    Key,
    usable_attributes,
)
from minilora.data.mini_e2e_grammar import SLOTS
from minilora.data.mini_e2e_material import WORD, mini_e2e_material, table_words
from minilora.data.reading_windows import ReadingWindows

ATTRIBUTES = {
    "speed": {"fast": ["rapid", "brisk", "at a run"], "slow": ["sluggish", "unhurried"]},
    "weight": {"light": ["feathery"], "heavy": ["leaden", "massive"]},
    "quality": {"good": ["fine"], "bad": ["awful"]},  # mini-E2E has "good": one value is left, which is too few
    "price": {"dear": ["costly"], "nominal": ["gratis"]},  # a slot of mini-E2E
}
SPLIT = re.compile("|".join(map(re.escape, sorted(LIST_SIGNS, key=len, reverse=True))))


COUNTS = dict.fromkeys((w for n, vs in ATTRIBUTES.items() for v, ws in vs.items() for w in (n, v, *ws)), COMMON)


def new_reading(**settings):
    texts = [text for text in load_corpus("prose").texts("train") if not mini_e2e_material(text)]
    common = " ".join(COUNTS) + "\n"  # so that all attributes are common
    return ReadingWindows(texts[::2], [*texts[1::2], *[common] * COMMON], ATTRIBUTES, **settings)


@pytest.fixture(scope="module")
def reading():
    return new_reading()


def passages(reading, kind, n=300, seed=0):
    rng = random.Random(seed)
    return [reading.passage(kind, rng) for _ in range(n)]


@pytest.mark.parametrize("kind", ReadingWindows.KINDS[2:])
def test_a_seed_draws_the_same_again(reading, kind):
    assert passages(reading, kind, 50) == passages(reading, kind, 50) != passages(reading, kind, 50, seed=1)


def test_the_keys_of_a_grammar_are_told_apart():
    """No two have one name, and none has the subject's, however few words there are."""
    words = Words(["meadow", "river", "stone", "cloud"])
    for seed in range(50):
        grammar = Grammar(random.Random(seed), words, {})
        names = [grammar.subject, *(key.name for key in grammar.keys)]
        assert len(set(names)) == len(names) > 1


def test_another_object_has_the_same_grammars(reading):
    assert passages(new_reading(), "tasks") == passages(reading, "tasks")
    assert passages(new_reading(grammar_seed=1), "tasks") != passages(reading, "tasks")


def test_a_string_is_said_whole_or_in_pieces(reading):
    whole = 0
    for read, said in passages(reading, "strings"):
        text = read.removesuffix("\n")
        pieces = [text[i : i + 8] for i in range(0, len(text), 8)]
        assert said == text or sorted(said.split(" ")) == sorted(pieces)
        whole += said == text
    assert 75 < whole < 225


def test_a_period_goes_on(reading):
    for read, said in passages(reading, "periods"):
        assert (read * 200).startswith(said) and 1 <= len(said) <= 200


def test_a_list_says_the_same_names(reading):
    for read, said in passages(reading, "lists"):
        words = [sorted(SPLIT.sub(" ", text).split()) for text in (read, said)]
        assert words[0] == words[1]


def test_what_is_missing_is_said_in_the_order_of_the_list(reading):
    nothing = 0
    for read, said in passages(reading, "missing"):
        names, again = read.split("\n")[:2]
        sign = "; " if "; " in names else ", "
        names, again = names.split(sign), re.sub(r" [|-] $", "", again).split(sign)
        assert len(names) >= 2 and set(again) <= set(names)
        assert said == (sign.join(name for name in names if name not in again) or "nothing"), (read, said)
        nothing += said == "nothing"
    assert 10 < nothing < 150


def test_a_piece_of_prose_is_repeated(reading):
    for read, said in passages(reading, "repeats"):
        assert read.startswith(said) and len(read) > len(said)


def test_keywords_are_words_of_the_sentence(reading):
    exchanged = 0
    for read, said in passages(reading, "keywords"):
        values = [item.split(": ")[-1] for item in read.strip().split("; ")] if ": " in read else [read.strip()]
        for value in values if ": " in read else []:
            assert value in said, (read, said)
        exchanged += not any(said == sentence for sentence in reading.sentences)
    assert 100 < exchanged < 290  # a name that only the list tells


def test_a_made_up_text_says_every_value_once(reading):
    """A value or what stands for it; and the subject, once."""
    for grammar in reading.grammars[:30]:
        keys = {key.name: key for key in grammar.keys}
        rng = random.Random(5)
        for _ in range(10):
            read, said = grammar.passage(rng)
            assert len(read) + len(said) <= LONGEST
            subject, *items = [item.split(": ", 1) for item in read.strip().split("; ")]
            assert subject[0] == grammar.subject and subject[1].lower() in said.lower()
            assert 1 <= len(items) <= len(keys)
            for name, value in items:
                key = keys[name]
                assert key.values is None or value in key.values
                if value not in key.sayings:  # a flag is said by words for the whole
                    assert any(spoken.lower() in said.lower() for spoken in key.spoken.get(value, [value]))
                    assert all(template.count("{v}") == 1 for place in key.sayings[None] for template in place)


def test_a_record_is_new_each_time_and_says_every_value_once(reading):
    keys = Counter()
    for read, said in passages(reading, "records"):
        assert len(read) + len(said) <= LONGEST
        (_, subject), *items = [item.split(": ", 1) for item in read.strip().split("; ")]
        assert said.lower().count(subject.lower()) >= 1 and items
        for key, value in items:
            keys[key] += 1
            others = reading.attributes.get(key, {}).get(value, [])
            assert any(spoken.lower() in said.lower() for spoken in [value, *others]), (read, said)
    assert len(keys) > 300 and keys.keys() >= {"speed", "weight"}


def test_a_value_with_words_of_its_own_is_said_by_one_of_them(reading):
    n_phrased = 0
    for grammar in reading.grammars:
        keys = {key.name: key for key in grammar.keys if None not in key.sayings}
        rng = random.Random(6)
        for _ in range(20):
            read, said = grammar.passage(rng)
            for name, value in (item.split(": ", 1) for item in read.strip().split("; ")[1:]):
                if name in keys:
                    n_phrased += 1
                    assert value in keys[name].values
                    places = keys[name].sayings[value]
                    assert len(places) == PLACES
                    assert any(saying.lower() in said.lower() for sayings in places for saying in sayings)
    assert n_phrased > 50


def test_a_grammars_own_words_are_common():
    """Its keys, codes and templates; a value may be any word."""
    words, seen = Words(["".join(letters) for letters in product("bcdfgh", "aeiou", "klmnp", ascii_lowercase)]), set()
    for seed in range(20):
        grammar = Grammar(random.Random(seed), words, {})
        said = [code for key in grammar.keys for codes in key.spoken.values() for code in codes]
        said += [t for key in grammar.keys for places in key.sayings.values() for place in places for t in place]
        seen |= {grammar.subject, *(key.name for key in grammar.keys), *re.findall(r"\b[a-z]{4}\b", " ".join(said))}
    rare = set(words.vocabulary[N_COMMON:])
    assert len(seen & set(words.vocabulary)) > 300 and len(rare) > 1000 and not seen & rare


def test_flags_are_not_mini_e2es():
    assert {value for pair in FLAGS for value in pair}.isdisjoint(SLOTS["family"])


def test_attributes_with_words_of_mini_e2e_are_left_out():
    assert usable_attributes(ATTRIBUTES, COUNTS).keys() == {"speed", "weight"}


def test_attributes_are_those_of_common_words():
    assert usable_attributes(ATTRIBUTES, COUNTS | {"light": COMMON - 1}).keys() == {"speed"}  # heavy has no other
    assert usable_attributes(ATTRIBUTES, COUNTS | {"weight": 0}).keys() == {"speed"}
    assert usable_attributes(ATTRIBUTES, COUNTS | {"brisk": 0})["speed"]["fast"] == ["rapid", "at a run"]
    many = {f"noun{i}": {f"this{i}": ["rapid"], f"that{i}": ["brisk"]} for i in range(N_ATTRIBUTES + 5)}
    counts = {"rapid": 99, "brisk": 99} | {f"{w}{i}": COMMON + i for w in ("noun", "this", "that") for i in range(99)}
    assert usable_attributes(many, counts).keys() == {f"noun{i}" for i in range(5, N_ATTRIBUTES + 5)}


def test_a_key_is_said_by_where_it_stands():
    """With one saying for each place, a text of one frame has those of its places, in their order."""
    grammar = Grammar(random.Random(0), Words(["meadow", "river", "stone", "cloud"]), {})
    grammar.frames = ["{A} | {S} ({B}): {R}"]
    keys = [
        Key(f"k{i}", [f"v{i}"], {}, {None: [[f"zero{i} {{v}}"], [f"one{i} {{v}}"], [f"two{i} {{v}}"]]})
        for i in range(5)
    ]
    grammar.keys = keys
    orders = set()
    for seed in range(200):
        read, said = grammar.passage(random.Random(seed))
        if read.count(": ") > 3:
            assert re.match(r"Zero\d v\d \| .* \(one\d v\d\): (two\d v\d\W*( and | then )?)+$", said), said
            orders.add(tuple(re.findall(r"v(\d)", said)))
    assert len(orders) > 30


def test_nothing_of_mini_e2e_is_generated(reading):
    """No phrase, pair or shape in any kind; and no word of its tables in what is made of single words."""
    forbidden = table_words()
    for kind in ReadingWindows.KINDS[2:]:
        for read, said in passages(reading, kind, 3000, seed=9):
            assert mini_e2e_material(read + said) is None, (kind, read, said)
            if kind in ("lists", "missing", "records", "tasks"):
                assert forbidden.isdisjoint(WORD.findall((read + said).lower())), (kind, read, said)
            if kind == "keywords":
                assert forbidden.isdisjoint(item.split(": ")[0] for item in read.split("; ") if ": " in item)


def test_words_are_drawn_from_those_that_mini_e2e_has_not():
    words, rng = Words(["park", "Harbour", "meadow", "ladle"]), random.Random(0)
    assert words.vocabulary == ["meadow"] and words.known(rng) == "meadow"
    assert all(word not in table_words() for word in (words.made_up(rng) for _ in range(3000)))


def test_a_batch_counts_what_is_said(reading):
    batch = reading.batch(np.random.default_rng(0), {"strings": 1.0}, batch_size=3, length=128)
    assert batch.ids.shape == batch.targets.shape == batch.loss_mask.shape == (3, 128)
    assert (batch.ids[:, 1:] == batch.targets[:, :-1]).all()
    for row in range(3):
        text = bytes(np.append(batch.ids[row], batch.targets[row, -1]).astype(np.uint8))
        expected = []
        for passage in text.split(b"\0"):
            read, line_break, said = passage.partition(b"\n")
            expected += [False] * len(read + line_break) + [True] * (len(said) + 1)
        assert batch.loss_mask[row].tolist() == expected[1:129]


def test_prose_counts_everywhere_and_a_batch_is_drawn_again_from_a_seed(reading):
    parts = {"prose": 0.5, "tasks": 0.5}
    prose = reading.batch(np.random.default_rng(0), {"prose": 1.0}, batch_size=2, length=64)
    own = reading.batch(np.random.default_rng(0), {"own": 1.0}, batch_size=2, length=64)
    for batch, kind, other in ((prose, "prose", "own"), (own, "own", "prose")):
        assert batch.loss_mask.all() and batch.ids.dtype == np.int64
        text = bytes(batch.ids[0].astype(np.uint8))
        assert text in reading.tokens[kind].tobytes() and text not in reading.tokens[other].tobytes()
    first, again = (reading.batch(np.random.default_rng(4), parts, batch_size=8, length=64) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert 0 < first.loss_mask.all(axis=1).sum() < 8


def test_an_unknown_kind_is_refused(reading):
    with pytest.raises(ValueError, match="kind must be one of strings, .*, not 'poems'"):
        reading.passage("poems", random.Random(0))


def test_the_pieces_of_a_string_are_of_eight():
    rng = random.Random(2)
    drawn = [random_string(rng) for _ in range(200)]
    assert {len(piece) for read, said in drawn if " " in said for piece in said.split(" ")[:1]} <= set(range(1, 9))
    assert all(12 <= len(read) - 1 <= 60 for read, _ in drawn)
    assert max(len(periodic_string(rng, Words(["meadow"])).said) for _ in range(200)) <= 200
