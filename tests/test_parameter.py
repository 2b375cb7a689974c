import numpy as np
import pytest

from device_array import device_xp, to_fake_device
from minilora.parameter import Module, Parameter


class Leaf(Module):
    def __init__(self, size):
        self.W = Parameter(np.zeros(size))
        self.bias = Parameter(np.ones(size))


class Tree(Module):
    """Two leaves in a list, one outside it, an array that is no parameter, and a parameter that two places share."""

    def __init__(self):
        self.first = Leaf(2)
        self.leaves = [Leaf(3), Leaf(4)]
        self.constant = np.zeros(7)
        self.numbers = [1, 2]
        self.gain = Parameter(np.ones(5))
        self.head = Leaf(1)
        self.head.W = self.first.W


@pytest.fixture
def tree():
    return Tree()


NAMES = [
    "first.W",
    "first.bias",
    "leaves.0.W",
    "leaves.0.bias",
    "leaves.1.W",
    "leaves.1.bias",
    "gain",
    "head.bias",
]


# ---- Parameter


def test_a_parameter_starts_trainable_and_without_a_gradient():
    p = Parameter(np.ones(2))
    assert p.trainable and p.grad is None and p.name == ""


def test_gradients_accumulate_and_the_first_is_taken_over():
    p, first, second = Parameter(np.zeros(2)), np.array([1.0, 2.0]), np.array([10.0, 20.0])
    p.accumulate(first)
    p.accumulate(second)
    assert p.grad is first
    assert p.grad.tolist() == [11.0, 22.0]
    assert second.tolist() == [10.0, 20.0]


def test_a_frozen_parameter_takes_no_gradient():
    p = Parameter(np.zeros(2), trainable=False)
    for grad in (np.ones(2), None):
        p.accumulate(grad)
        assert p.grad is None


def test_a_trainable_parameter_says_that_its_gradient_was_left_out():
    p = Parameter(np.zeros(2), name="blocks.0.A")
    with pytest.raises(ValueError, match=r"cache was made while blocks\.0\.A was frozen: run forward again"):
        p.accumulate(None)
    with pytest.raises(ValueError, match="cache was made while a parameter was frozen"):
        Parameter(np.zeros(2)).accumulate(None)


def test_repr_says_what_it_is():
    p = Parameter(np.zeros((2, 3), np.float32), trainable=False, name="blocks.0.A")
    assert repr(p) == "Parameter(blocks.0.A: (2, 3) float32, frozen)"
    assert repr(Parameter(np.zeros(1))) == "Parameter(unnamed: (1,) float64, trainable)"


# ---- Module


def test_parameters_are_named_by_their_path_in_definition_order(tree):
    assert [name for name, _ in tree.named_parameters()] == NAMES


def test_a_tied_parameter_comes_once_under_its_first_name(tree):
    assert tree.head.W is tree.first.W
    assert "head.W" not in dict(tree.named_parameters())
    assert len(tree.parameters()) == len({id(p) for p in tree.parameters()})


def test_name_parameters_writes_the_paths_down(tree):
    tree.name_parameters()
    assert [p.name for p in tree.parameters()] == NAMES
    assert tree.head.W.name == "first.W"


def test_named_modules_gives_parents_first(tree):
    assert [name for name, _ in tree.named_modules()] == ["first", "leaves.0", "leaves.1", "head"]


def test_freeze_takes_trainable_and_gradient_away(tree):
    tree.gain.accumulate(np.ones(5))
    tree.freeze()
    assert not tree.trainable and tree.trainable_parameters() == []
    assert tree.gain.grad is None


def test_a_module_is_trainable_if_anything_below_is(tree):
    tree.freeze()
    tree.leaves[1].bias.trainable = True
    assert tree.trainable and tree.leaves[1].trainable
    assert not tree.leaves[0].trainable
    assert tree.trainable_parameters() == [tree.leaves[1].bias]


def test_a_tied_parameter_makes_both_its_places_trainable(tree):
    tree.freeze()
    tree.first.W.trainable = True
    assert tree.first.trainable and tree.head.trainable


def test_zero_grad_forgets_all_gradients(tree):
    for p in tree.parameters():
        p.accumulate(np.ones_like(p.data))
    tree.zero_grad()
    assert all(p.grad is None for p in tree.parameters())


@pytest.mark.parametrize("path", ["first", "leaves.1"])
def test_replace_puts_a_module_in_the_named_place(tree, path):
    new = Leaf(9)
    tree.replace(path, new)
    assert dict(tree.named_modules())[path] is new
    assert dict(tree.named_parameters())[f"{path}.W"] is new.W


def test_a_replica_shares_the_arrays_and_not_the_gradients(tree):
    tree.gain.accumulate(np.ones(5))
    tree.leaves[0].W.trainable = False
    twin = tree.replica()
    for (name, p), (twin_name, q) in zip(tree.named_parameters(), twin.named_parameters(), strict=True):
        assert name == twin_name and q is not p
        assert q.data is p.data
        assert q.trainable == p.trainable and q.grad is None
    assert tree.gain.grad is not None
    assert twin.head.W is twin.first.W


def test_xp_is_where_the_parameters_live(tree):
    assert tree.xp is np
    tree.first.W.data = to_fake_device(tree.first.W.data)
    assert tree.xp is device_xp


def test_parameters_in_a_list_are_found(tree):
    tree.tables = [Parameter(np.zeros(2)), Parameter(np.zeros(3))]
    assert [name for name, _ in tree.named_parameters()] == [*NAMES, "tables.0", "tables.1"]


def test_a_companion_is_made_once_and_a_replica_has_its_own(tree):
    class Notes:
        def __init__(self):
            self.lines = []

    tree.companion(Notes).lines.append("first")
    assert tree.companion(Notes).lines == ["first"]
    twin = tree.replica()
    twin.companion(Notes).lines.append("second")
    assert tree.companion(Notes).lines == ["first"] and twin.companion(Notes).lines == ["first", "second"]
    assert [name for name, _ in tree.named_parameters()] == NAMES
