"""The tiny folders that other tests use are what they say: models and tokenizers that belong together."""

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")

from interop.make_tiny_folders import make_gpt2, make_llama
from minilora.data.vocabulary import check_vocabulary
from minilora.interop import load_gpt2, load_tokenizer

TEXT = "The Eagle is  12 years old: ñ 😀\n"


@pytest.mark.parametrize("old_tokenizer", [False, True])
def test_a_gpt2_and_its_tokenizer_belong_together(old_tokenizer, tmp_path):
    make_gpt2(tmp_path, old_tokenizer=old_tokenizer)
    assert (tmp_path / "tokenizer.json").is_file() != old_tokenizer
    model, tokenizer = load_gpt2(tmp_path), load_tokenizer(tmp_path)
    check_vocabulary(model, tokenizer)
    ids = tokenizer.encode(TEXT)
    assert len(ids) < len(TEXT.encode()) and tokenizer.decode(ids) == TEXT and tokenizer.end_of_text == 0
    assert np.isfinite(model.forward(ids[None])[0]).all()


def test_llama_s_tokenizer_reads_digits_one_by_one_and_ends_a_text_with_its_own_token(tmp_path):
    tokenizer = load_tokenizer(make_llama(tmp_path))
    ids = tokenizer.encode(TEXT)
    assert tokenizer.decode(ids) == TEXT and tokenizer.decode([tokenizer.end_of_text]) == ""
    assert len(tokenizer.encode("1234")) == 4
