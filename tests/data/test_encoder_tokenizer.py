import numpy as np
import pytest

from minilora.data import EncoderTokenizer, pad_rows
from minilora.data.encoder_tokenizer import END, FIRST_BYTE, MASK, PAD, START

tokenizer = EncoderTokenizer()


def tokens(text):
    return [FIRST_BYTE + byte for byte in text.encode()]


def test_the_layout_is_that_of_roberta():
    assert (START, PAD, END) == (0, 1, 2)
    assert tokenizer.vocab_size == 260 == FIRST_BYTE + 256


def test_one_text_stands_between_start_and_end():
    ids = tokenizer.encode("é 1")
    assert ids.dtype == np.int64
    assert ids.tolist() == [START, *tokens("é 1"), END]


def test_two_texts_are_parted_by_two_ends():
    ids = tokenizer.encode("ab", "c")
    assert ids.dtype == np.int64
    assert ids.tolist() == [START, *tokens("ab"), END, END, *tokens("c"), END]


def test_an_empty_second_text_is_a_text():
    assert tokenizer.encode("a", "").tolist() == [START, *tokens("a"), END, END, END]
    assert tokenizer.encode("").tolist() == [START, END]


def test_every_byte_has_its_own_token():
    text = "".join(map(chr, range(128)))  # NUL included: a byte like the others
    assert tokenizer.encode(text).tolist() == [START, *range(FIRST_BYTE, FIRST_BYTE + 128), END]
    assert tokenizer.decode(np.arange(FIRST_BYTE, FIRST_BYTE + 128)) == text


def test_decode_writes_special_tokens_out_and_leaves_padding_away():
    ids, _ = pad_rows([tokenizer.encode("naïve", "東京"), tokenizer.encode("x")], tokenizer.pad)
    ids[0, 2] = MASK
    assert tokenizer.decode(ids[0]) == "<s>n<mask>ïve</s></s>東京</s>"
    assert tokenizer.decode(ids[1]) == "<s>x</s>"
    assert tokenizer.decode([]) == ""


def test_decode_replaces_what_is_not_utf8():
    assert tokenizer.decode([FIRST_BYTE + 104, FIRST_BYTE + 255]) == "h\ufffd"


@pytest.mark.parametrize("ids", [[-1, 5], [5, 260]])
def test_decode_names_the_range(ids):
    with pytest.raises(ValueError, match=f"ids ran from {ids[0]} to {ids[1]}; each must be from 0 to 259"):
        tokenizer.decode(ids)


@pytest.mark.parametrize("ids", [[1.0], [[1, 2]]])
def test_decode_refuses_other_arrays(ids):
    with pytest.raises(ValueError, match=r"they must be integers of shape \(T,\)"):
        tokenizer.decode(ids)


def test_encode_refuses_what_is_no_text():
    with pytest.raises(TypeError, match="text must be a str, not bytes"):
        tokenizer.encode(b"ab")
    with pytest.raises(TypeError, match="text must be a str, not int"):
        tokenizer.encode("ab", 3)
    with pytest.raises(ValueError, match="cannot be written in UTF-8: surrogates not allowed at position 1"):
        tokenizer.encode("a\ud800")


def test_padding_and_its_mask():
    ids, mask = pad_rows([np.array([7, 8]), np.array([9]), np.array([4, 5, 6])], 1)
    assert ids.dtype == np.int64 and mask.dtype == bool
    assert ids.tolist() == [[7, 8, PAD], [9, PAD, PAD], [4, 5, 6]]
    assert mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    with pytest.raises(ValueError, match="rows is empty"):
        pad_rows([], 1)
