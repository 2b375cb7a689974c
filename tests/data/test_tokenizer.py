import numpy as np
import pytest

from minilora.data import EOT, ByteTokenizer

tokenizer = ByteTokenizer()


@pytest.mark.parametrize("text", ["", "plain", "two\nlines", "naïve café, 東京 🙂"])
def test_decode_inverts_encode(text):
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64
    assert ids.tolist() == list(text.encode("utf-8"))
    assert tokenizer.decode(ids) == text


def test_decode_stops_at_the_first_eot():
    assert EOT == tokenizer.end_of_text == 0
    assert tokenizer.decode([104, 105, EOT, 33, EOT]) == "hi"
    assert tokenizer.decode([EOT]) == ""


def test_decode_replaces_what_is_not_utf8():
    assert tokenizer.decode([104, 255, 105]) == "h\ufffdi"


@pytest.mark.parametrize("ids", [[-1, 5], [5, 256]])
def test_decode_names_the_range(ids):
    with pytest.raises(ValueError, match="ids must be from 0 to 255; they run from"):
        tokenizer.decode(ids)


def test_decode_refuses_other_arrays():
    with pytest.raises(TypeError, match="ids must be integers, not float64"):
        tokenizer.decode([1.0])
    with pytest.raises(ValueError, match=r"ids must have one axis, \(T,\), not the shape \(1, 2\)"):
        tokenizer.decode([[1, 2]])


def test_encode_refuses_nul_and_other_types():
    with pytest.raises(ValueError, match="NUL character at position 2"):
        tokenizer.encode("ab\0c")
    with pytest.raises(TypeError, match="text must be a str, not bytes"):
        tokenizer.encode(b"ab")
