"""|Theta| of every method by formula, against models in memory and against the paper's formulas."""

import numpy as np
import pytest

from minilora.accounting import ARCHITECTURES, METHODS, adaptation, architecture_of, count_parameters
from minilora.accounting.architectures import TARGETS
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=11, n_positions=7, n_layer=3, d_model=6, n_head=2, d_mlp=10)
A = architecture_of(CONFIG)
L, C = 3, 6
BOTTLENECK = 2 * C * 4 + 4 + C  # an adapter with r = 4: two matrices and their biases


@pytest.mark.parametrize("targets", [("q_proj",), ("q_proj", "v_proj"), ("fc_in",), ("o_proj", "fc_out"), TARGETS])
def test_lora_trains_what_a_model_in_memory_trains(targets):
    model = GPT(CONFIG, np.random.default_rng(0))
    apply_lora(model, LoRAConfig(rank=4, targets=targets), rng=np.random.default_rng(0))
    adapted = adaptation(A, "lora", rank=4, targets=targets)
    assert adapted.trainable == count_parameters(model).trainable
    assert A.n_parameters + adapted.added == count_parameters(model).total
    assert adapted.added_matrices == adapted.added and adapted.own == 0


def test_what_is_the_model_s_own_is_a_part_of_its_shapes():
    sizes = {name: int(np.prod(shape)) for name, shape in A.shapes.items()}
    assert adaptation(A, "full").trainable == sum(sizes.values())
    last_two = sum(size for name, size in sizes.items() if name.startswith(("blocks.1.", "blocks.2.")))
    assert adaptation(A, "top-k", blocks=2).trainable == last_two
    assert adaptation(A, "bitfit").trainable == sum(size for name, size in sizes.items() if name.endswith("bias"))


ADDED = {
    "prefix-embedding": ({"before": 3, "after": 2}, C * 5),
    "prefix-layer": ({"before": 0, "after": 5}, L * C * 5),
    "adapter-h": ({"size": 4}, 2 * L * BOTTLENECK),
    "adapter-l": ({"size": 4}, L * BOTTLENECK + 2 * L * C),
    "adapter-p": ({"size": 4}, L * BOTTLENECK),
    "adapter-d": ({"size": 4, "leave_out": 1}, (L - 1) * BOTTLENECK),
    "lora": ({"rank": 2, "targets": ("k_proj",)}, 2 * C * 2 * L),
    "lora, the embedding": ({"rank": 2, "targets": ("k_proj", "wte")}, 2 * C * 2 * L + 2 * (11 + C)),
    "dora": ({"rank": 2, "targets": ("k_proj", "fc_in")}, (2 * C * 2 + (C + 10) * 2 + C + 10) * L),
    "adalora": ({"initial_rank": 3, "targets": ("k_proj", "fc_in")}, (3 * (2 * C + C + 10) + 2 * 3) * L),
    "vera": ({"vera_rank": 9, "targets": ("k_proj", "fc_in")}, (9 + C + 9 + 10) * L),
    "lora-ga": ({"rank": 2, "targets": ("k_proj", "fc_in")}, (2 * C * 2 + (C + 10) * 2) * L),
    "lora-fa": ({"rank": 2, "targets": ("k_proj", "fc_in")}, (C * 2 + 10 * 2) * L),
    "lora+prefix-embedding": ({"rank": 2, "targets": ("k_proj",), "before": 3, "after": 2}, 2 * C * 2 * L + C * 5),
    "random-subspace": ({"dimension": 5, "targets": ("k_proj", "fc_in")}, 5),
    "prompt-tuning": ({"prompt_length": 3}, 3 * C),
    "trainable-tokens": ({"tokens": (2, 7)}, 2 * C),
    "ia3": ({}, L * (2 * C + 10)),
    "lora+prefix-layer": ({"rank": 2, "targets": ("k_proj",), "before": 0, "after": 5}, 2 * C * 2 * L + L * C * 5),
}


@pytest.mark.parametrize(("method", "settings", "count"), [(m, s, n) for m, (s, n) in ADDED.items()], ids=ADDED.keys())
def test_what_is_added_is_the_paper_s_formula(method, settings, count):
    adapted = adaptation(A, method.partition(",")[0], **settings)
    assert (adapted.own, adapted.added, adapted.trainable) == (0, count, count)


@pytest.mark.parametrize("kind", ["embedding", "layer"])
def test_lora_with_a_prefix_costs_what_both_do(kind):
    both, lora, prefix = (adaptation(A, m, rank=2) for m in (f"lora+prefix-{kind}", "lora", f"prefix-{kind}"))
    assert (both.kept, both.prefix, both.added_matrices) == (lora.kept, prefix.prefix, lora.added_matrices)
    assert both.depth == lora.depth == prefix.depth == L and both.own == 0


def test_every_method_is_tested():
    assert METHODS.keys() == {"full", "top-k", "bitfit", *ADDED} - {"lora, the embedding"}


def test_adapters_that_are_dropped_shorten_the_way_back():
    assert adaptation(A, "adapter-d").depth == 2 and adaptation(A, "adapter-p").depth == 3
    assert adaptation(A, "adapter-d", leave_out=0) == adaptation(A, "adapter-p")


@pytest.mark.parametrize("method", METHODS)
def test_the_largest_architecture_takes_no_memory(method):
    assert 0 < adaptation(ARCHITECTURES["gpt3-175b"], method).trainable <= ARCHITECTURES["gpt3-175b"].n_parameters


WRONG = {
    "an unknown method": ("magic", {}, "method was 'magic'; it must be one of full, top-k, "),
    "rank 0": ("lora", {"rank": 0}, "rank was 0; it must be an integer of at least 1"),
    "a rank too large": ("lora", {"rank": 7}, "rank was 7; it must be an integer from 1 to 6"),
    "an unknown target": ("lora", {"targets": ("c_attn",)}, r"targets was \('c_attn',\); each must be one of q_proj, "),
    "a head that is tied": ("lora", {"targets": ("lm_head",)}, r"targets was \('lm_head',\); each must be one of q_"),
    "DoRA of the embedding": ("dora", {"targets": ("wte",)}, r"targets was \('wte',\); each must be one of q_proj"),
    "no target": ("dora", {"targets": ()}, r"targets was \(\); each must be one of q_proj"),
    "more layers than there are": ("top-k", {"blocks": 4}, "blocks was 4; it must be an integer from 1 to 3"),
    "no width": ("adapter-h", {"size": 0}, "size was 0; it must be an integer of at least 1"),
    "every adapter dropped": ("adapter-d", {"leave_out": 3}, "leave_out was 3; it must be an integer from 0 to 2"),
    "less than nothing": ("prefix-layer", {"before": -1}, "before was -1; it must be an integer of at least 0"),
    "no prefix": (
        "prefix-layer",
        {"before": 0, "after": 0},
        "before and after were 0; at least one of them must be above 0",
    ),
}


@pytest.mark.parametrize(("method", "settings", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_refused(method, settings, message):
    with pytest.raises(ValueError, match=message):
        adaptation(A, method, **settings)
