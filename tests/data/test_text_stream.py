"""Text piece by piece is the text of all tokens, and never holds half a character."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.data import ByteTokenizer, TextStream

BYTES = ByteTokenizer()


class Pieces:
    """A vocabulary of byte strings, as byte-level BPE has: a token can be a part of a character."""

    vocab, vocab_size, unused_rows, end_of_text = [bytes([i]) for i in range(256)], 256, 0, 0

    def __init__(self, *longer):
        self.vocab = [*self.vocab, *longer]

    def decode(self, ids):
        return b"".join(self.vocab[i] for i in ids).decode("utf-8", errors="replace")


class ByteFallback(Pieces):
    """Bytes that are not a character become one U+FFFD each, all of a run, as in Llama 2's tokenizer."""

    def decode(self, ids):
        data = bytes(ids)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return "\ufffd" * len(data)


def pieces(tokenizer, ids):
    text = TextStream(tokenizer)
    return [*(text.add(i) for i in ids), text.end()]


def test_a_character_comes_with_its_last_byte():
    assert pieces(BYTES, BYTES.encode("aé€😀b")) == ["a", "", "é", "", "", "€", "", "", "", "😀", "b", ""]


def test_a_token_that_ends_in_half_a_character_gives_the_whole_ones():
    tokenizer = Pieces(b"ab" + "é".encode()[:1], "é".encode()[1:] + b"c")
    assert pieces(tokenizer, [256, 257]) == ["ab", "éc", ""]


def test_what_never_becomes_a_character_comes_at_the_end():
    assert pieces(BYTES, "é€".encode()[:-1]) == ["", "é", "", "", "\ufffd"]
    assert "".join(pieces(BYTES, b"\xff\xff\xff\xff\xff\xffab")) == "\ufffd" * 6 + "ab"


def test_at_most_three_bytes_are_waited_for():
    assert pieces(ByteFallback(), "€".encode()) == ["", "", "€", ""]
    assert pieces(ByteFallback(), "😀".encode()) == ["", "", "", "😀", ""]
    assert pieces(ByteFallback(), b"\xff" * 5) == ["", "", "", "\ufffd", "\ufffd", "\ufffd" * 3]


def test_a_fallback_that_spoils_what_was_said_says_it_once():
    assert "".join(pieces(ByteFallback(), "é€".encode())) == "é€"


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80))
def test_the_pieces_together_are_the_text(text):
    parts = pieces(BYTES, BYTES.encode(text))
    assert "".join(parts) == text
    assert all("\ufffd" not in part for part in parts) or "\ufffd" in text


@given(st.binary(max_size=60).filter(lambda data: 0 not in data))
def test_and_so_for_bytes_that_are_no_text(data):
    assert "".join(pieces(BYTES, data)) == BYTES.decode(np.frombuffer(data, np.uint8))


def test_each_token_decodes_a_bounded_number_of_tokens():
    longest = 0

    class Watched(Pieces):
        def decode(self, ids):
            nonlocal longest
            longest = max(longest, len(ids))
            return super().decode(ids)

    parts = pieces(Watched(), ("word " * 300).encode())
    assert "".join(parts) == "word " * 300
    assert longest <= 32


def test_after_the_end_a_new_text_begins():
    text = TextStream(BYTES)
    text.add(ord("a"))
    assert text.end() == ""
    assert text.add(ord("b")) == "b"


def test_what_goes_on_keeps_the_blank_that_a_new_text_loses():
    class FirstBlank(Pieces):
        def decode(self, ids):
            return super().decode(ids).removeprefix(" ")

    tokenizer, before = FirstBlank(b" is", b" long"), b"the river"
    for after, expected in (((), "is long"), (before, " is long"), (np.array(list(before)), " is long")):
        text = TextStream(tokenizer, after=after)
        assert "".join([text.add(256), text.add(257), text.end()]) == expected


@pytest.mark.parametrize("kind", [int, np.int64])
def test_tokens_are_integers_of_any_kind(kind):
    assert TextStream(BYTES).add(kind(97)) == "a"
