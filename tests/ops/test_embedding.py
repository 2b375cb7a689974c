import numpy as np

from minilora.ops.fast import embedding_backward, embedding_forward

W = np.random.default_rng(0).standard_normal((4, 3))
IDS = np.array([[1, 3, 1], [1, 0, 3]])  # 2 does not occur


def test_y_is_the_product_with_a_one_hot_matrix():
    y, _ = embedding_forward(IDS, W)
    assert np.array_equal(y, np.eye(4)[IDS] @ W)


def test_repeated_ids_add_up():
    _, cache = embedding_forward(IDS, W)
    dW = embedding_backward(np.ones((2, 3, 3)), cache)
    assert dW.tolist() == [[1.0] * 3, [3.0] * 3, [0.0] * 3, [2.0] * 3]


def test_dW_is_the_product_with_the_transposed_one_hot_matrix():
    dy = np.random.default_rng(1).standard_normal((2, 3, 3))
    _, cache = embedding_forward(IDS, W)
    onehot = np.eye(4)[IDS].reshape(6, 4)
    assert np.allclose(embedding_backward(dy, cache), onehot.T @ dy.reshape(6, 3), rtol=0, atol=1e-15)


def test_no_ids_give_a_zero_dW():
    y, cache = embedding_forward(IDS[:, :0], W)
    dW = embedding_backward(y, cache)
    assert y.shape == (2, 0, 3)
    assert dW.shape == W.shape and not dW.any()
