"""What analysis and tokenizers keep, over random matrices, labels and texts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.analysis import accuracy, factored_svd, macro_f1, subspace_similarity
from minilora.data import EOT, ByteTokenizer, EncoderTokenizer
from minilora.data.encoder_tokenizer import FIRST_BYTE, pad_rows

quick = settings(max_examples=40, deadline=None)
sizes, seeds = st.integers(1, 6), st.integers(0, 2**32)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@quick
@given(sizes, sizes, sizes, st.floats(0.01, 100.0), seeds)
def test_the_factored_svd_is_that_of_the_product(O, I, r, scale, seed):
    draw = np.random.default_rng(seed)
    B, A = draw.standard_normal((O, r)), draw.standard_normal((r, I))
    U, S, Vt = factored_svd(B, A, scale)
    product = scale * B @ A
    n = min(O, I, r)
    expected = np.linalg.svd(product, compute_uv=False)
    assert np.allclose(S[:n], expected[:n], rtol=1e-10, atol=1e-10 * scale)
    assert np.allclose((U * S) @ Vt, product, rtol=0, atol=1e-11 * (1 + np.abs(product).max()))
    assert (S[:-1] >= S[1:]).all() and (S >= 0).all()


@quick
@given(sizes, sizes, st.integers(6, 9), seeds)
def test_phi_is_a_part_symmetric_and_one_with_itself(r1, r2, I, seed):
    draw = np.random.default_rng(seed)
    A1, A2 = draw.standard_normal((r1, I)), draw.standard_normal((r2, I))
    phi = subspace_similarity(A1, A2)
    assert phi.shape == (r1, r2) and (phi >= 0).all() and (phi <= 1 + 1e-12).all()
    assert np.allclose(subspace_similarity(A2, A1), phi.T, atol=1e-12)
    assert np.allclose(np.diag(subspace_similarity(A1, A1)), 1.0, atol=1e-10)
    M = draw.standard_normal((r1, r1)) + 3 * np.eye(r1)
    assert np.isclose(subspace_similarity(M @ A1, A2)[-1, -1], phi[-1, -1], atol=1e-6)


@quick
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), seeds)
def test_scores_are_parts_and_forget_order_and_names(labels, seed):
    labels, draw = np.array(labels), np.random.default_rng(seed)
    predictions, order, renamed = draw.integers(0, 4, len(labels)), draw.permutation(len(labels)), draw.permutation(4)
    for score in (accuracy, macro_f1):
        assert 0.0 <= score(labels, predictions) <= 1.0 and score(labels, labels) == 1.0
        assert np.isclose(score(labels[order], predictions[order]), score(labels, predictions))
        assert np.isclose(score(renamed[labels], renamed[predictions]), score(labels, predictions))


@quick
@given(texts, texts)
def test_a_text_comes_back_from_its_tokens(text, more):
    byte, encoder = ByteTokenizer(), EncoderTokenizer()
    assert byte.decode(byte.encode(text)) == text
    assert byte.decode([*byte.encode(text), EOT, *byte.encode(more)]) == text
    assert encoder.decode(encoder.encode(text)) == f"<s>{text}</s>"
    assert encoder.decode(encoder.encode(text, more)) == f"<s>{text}</s></s>{more}</s>"
    assert len(encoder.encode(text)) == len(byte.encode(text)) + 2 == len(text.encode()) + 2


@quick
@given(st.binary(max_size=40), st.lists(st.integers(0, FIRST_BYTE + 255), max_size=40))
def test_any_ids_have_a_text(content, ids):
    assert ByteTokenizer().decode(list(content)) == content.split(b"\0")[0].decode(errors="replace")
    assert isinstance(EncoderTokenizer().decode(ids), str)


@quick
@given(st.lists(texts, min_size=1, max_size=5))
def test_padding_is_told_from_what_it_pads(several):
    rows = [EncoderTokenizer().encode(text) for text in several]
    ids, mask = pad_rows(rows, 1)
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    assert all(np.array_equal(i[m], row) for i, m, row in zip(ids, mask, rows, strict=True))
