"""WordNet's files, in small: four lines in their format, with words of our own."""

import pytest

from minilora.data.wordnet import attributes, dictionary, parse_synset, read_synsets, sentence

FILES = {
    "noun": '00000010 07 n 02 briskness 0 brisk_way 0 000 | how soon a thing is done; "the briskness of bees"  ',
    "verb": "00000020 30 v 01 hum 0 001 @ 00000021 v 0000 02 + 02 00 + 08 00 | make a low sound",
    "adj": (
        '00000030 00 a 02 brisk 0 lively(p) 1 002 & 00000031 a 0000 = 00000010 n 0000 | done soon; "a brisk walk"\n'
        "00000031 00 s 01 bee-like 0 001 & 00000030 a 0000 | as a bee is\n"
        "00000032 00 a 02 idle 0 at_rest 0 001 = 00000010 n 0000 | done late or never"
    ),
    "adv": "00000040 02 r 01 soon 0 000 | in a short time",
}


@pytest.fixture(scope="module")
def synsets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet")
    for part, lines in FILES.items():
        (folder / f"data.{part}").write_text(f"  1 the licence stands here  \n{lines}\n")
    return read_synsets(folder)


def test_a_line_is_read(synsets):
    assert len(synsets) == 6
    offset, brisk = parse_synset("adj", FILES["adj"].splitlines()[0])
    assert offset == 30 and brisk == synsets["adj", 30]
    assert brisk.words == ["brisk", "lively"] and brisk.like == [31] and brisk.value_of == [10]
    assert synsets["noun", 10].words == ["briskness", "brisk way"]


def test_the_number_of_words_is_hexadecimal_and_that_of_pointers_decimal():
    words = " ".join(f"word{i} 0" for i in range(10))
    pointers = " ".join(f"& {i:08d} a 0000" for i in range(10))
    _, synset = parse_synset("adj", f"00000050 00 a 0a {words} 010 {pointers} | many")
    assert synset.words == [f"word{i}" for i in range(10)] and synset.like == list(range(10))


def test_an_entry_is_sentences(synsets):
    entries = dict(dictionary(synsets))
    assert entries["adj/00000030"] == "Brisk, lively: done soon. A brisk walk. Like it: bee-like."
    assert entries["noun/00000010"] == "Briskness, brisk way: how soon a thing is done. The briskness of bees."
    assert sentence("why? ") == "Why?"


def test_a_noun_has_its_values_in_other_words(synsets):
    assert attributes(synsets) == {"briskness": {"brisk": ["lively", "bee-like"], "idle": ["at rest"]}}
