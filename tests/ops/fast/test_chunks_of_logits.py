"""The loss in chunks of rows: as many as fit, and what comes of it is the same."""

import numpy as np
import pytest

from device_array import to_fake_device
from minilora.ops.fast import (
    cross_entropy_backward,
    cross_entropy_forward,
    linear_backward,
    linear_cross_entropy,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
    linear_forward,
)

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((11, 5)), RNG.standard_normal((7, 5))
TARGETS = RNG.integers(0, 7, 11)


@pytest.mark.parametrize("rows_a_chunk", [1, 4, 11, 100])
def test_chunks_give_the_two_ops(monkeypatch, rows_a_chunk):
    monkeypatch.setattr(linear_cross_entropy, "LOGITS_BYTES", rows_a_chunk * 7 * X.itemsize)
    logits, linear_cache = linear_forward(X, W)
    plain, plain_cache = cross_entropy_forward(logits, TARGETS)
    dlogits = cross_entropy_backward(0.3, plain_cache)
    loss, cache = linear_cross_entropy_forward(X, W, TARGETS)
    dx, dW = linear_cross_entropy_backward(0.3, cache)
    np.testing.assert_allclose(loss, plain, rtol=1e-14)
    np.testing.assert_allclose(dx, linear_backward(dlogits, linear_cache)[0], atol=1e-15)
    np.testing.assert_allclose(dW, linear_backward(dlogits, linear_cache)[1], atol=1e-15)


@pytest.mark.parametrize(("limit", "place"), [("LOGITS_BYTES", np.asarray), ("LOGITS_BYTES_ON_GPU", to_fake_device)])
def test_a_chunk_has_as_many_rows_as_fit_its_bytes(monkeypatch, limit, place):
    plain, sizes = linear_cross_entropy._losses_and_dlogits, []

    def noting(logits, *rest):
        sizes.append(len(logits))
        return plain(logits, *rest)

    monkeypatch.setattr(linear_cross_entropy, "_losses_and_dlogits", noting)
    monkeypatch.setattr(linear_cross_entropy, limit, 4 * 7 * X.itemsize)
    linear_cross_entropy_forward(place(X), place(W), place(TARGETS))
    assert sizes == [4, 4, 3]
