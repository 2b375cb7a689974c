import numpy as np
import pytest

from minilora import GPT, GPTConfig, LoRAConfig, apply_lora
from minilora.accounting import count_parameters

V, T, L, C, F = 11, 6, 2, 8, 20


def model():
    return GPT(
        GPTConfig(vocab_size=V, n_positions=T, n_layer=L, d_model=C, n_head=2, d_mlp=F), np.random.default_rng(0)
    )


def base_size():
    """By hand; the head is the token embedding, and counts once."""
    block = 4 * (C * C + C) + (F * C + F) + (C * F + C) + 2 * 2 * C
    return V * C + T * C + L * block + 2 * C


def test_a_whole_model():
    count = count_parameters(model())
    assert count == (base_size(), base_size())
    assert count.percent == 100.0


def test_lora_trains_2_d_r_for_each_adapted_matrix():
    adapted, r = model(), 3
    apply_lora(adapted, LoRAConfig(rank=r, targets=("q_proj", "v_proj")), rng=np.random.default_rng(0))
    count = count_parameters(adapted)
    assert count.trainable == 2 * C * r * (2 * L)
    assert count.total == base_size() + count.trainable
    assert count.percent == pytest.approx(100 * count.trainable / count.total)


def test_lora_on_an_oblong_matrix_trains_r_times_in_plus_out():
    adapted = model()
    apply_lora(adapted, LoRAConfig(rank=3, targets=("fc_in",)), rng=np.random.default_rng(0))
    assert count_parameters(adapted).trainable == 3 * (C + F) * L
