import numpy as np

from minilora.ops.fast import prefix_backward, prefix_forward

SLOTS = np.array([[0, 2, -1, -1], [-1, -1, 2, -1]])


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_a_slot_gets_its_row_and_everything_else_stays():
    x, P = normal(2, 4, 5), normal(3, 5)
    y, _ = prefix_forward(x, P, SLOTS)
    assert np.array_equal(y[0, :2], P[[0, 2]]) and np.array_equal(y[1, 2], P[2])
    assert np.array_equal(y[SLOTS < 0], x[SLOTS < 0])


def test_dP_sums_over_the_places_of_a_slot_and_a_slot_without_places_has_zero():
    dy = normal(2, 4, 5)
    _, cache = prefix_forward(normal(2, 4, 5), normal(3, 5), SLOTS)
    dx, dP = prefix_backward(dy, cache)
    assert np.array_equal(dP, [dy[0, 0], np.zeros(5), dy[0, 1] + dy[1, 2]])
    assert not dx[SLOTS >= 0].any() and np.array_equal(dx[SLOTS < 0], dy[SLOTS < 0])


def test_without_slots_y_is_x():
    x = normal(2, 4, 5)
    y, cache = prefix_forward(x, normal(3, 5), np.full((2, 4), -1))
    dx, dP = prefix_backward(x, cache)
    assert np.array_equal(y, x) and np.array_equal(dx, x) and not dP.any()
