import pytest

from minilora.data import corpus_id, split_of

KEYS = [f"key {i}" for i in range(4000)]


def test_shares_are_as_asked():
    splits = [split_of(key, valid=0.1, test=0.3) for key in KEYS]
    assert splits.count("valid") / len(KEYS) == pytest.approx(0.1, abs=0.02)
    assert splits.count("test") / len(KEYS) == pytest.approx(0.3, abs=0.03)


def test_splits_never_move():
    """Fixed by SHA-256: another hash, or the salted one of Python, would change these."""
    assert [split_of(key) for key in ("key 2", "key 0", "key 10")] == ["valid", "train", "test"]
    assert corpus_id(["a", "b"]) == "8fb20ef63ced"


def test_corpus_id_sees_every_change():
    ids = {corpus_id(texts) for texts in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ["a"])}
    assert len(ids) == 5


def test_errors():
    with pytest.raises(ValueError, match=r"valid and test must be fractions .* not 0.7 and 0.5"):
        split_of("key", valid=0.7, test=0.5)
    with pytest.raises(TypeError, match="key must be a str, not int"):
        split_of(3)
