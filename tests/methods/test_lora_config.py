"""What may be asked for, what each setting does, and what is said to those who ask for something else."""

import dataclasses
import math

import numpy as np
import pytest

from methods.tiny import EVERYWHERE, logits_of, rng, same_bits, tiny_gpt, tiny_lora, trainable_names, weights_of
from minilora.methods import (
    AdaLoRAConfig,
    LoRAConfig,
    VeRAConfig,
    apply_lora,
    load_adapter,
    lora_layers,
    method_of,
    save_adapter,
)
from minilora.methods.lora import LoRALinear
from minilora.models import GPT, GPTConfig

# ---- scale


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"rank": 2, "alpha": 3}, 1.5),
        ({"rank": 4, "alpha": 4}, 1.0),
        ({"rank": 4, "alpha": 4, "rslora": True}, 2.0),
        ({"rank": 2, "alpha": 3, "rslora": True}, 3 / math.sqrt(2)),
    ],
)
def test_scale_is_alpha_over_r_and_with_rslora_over_its_root(settings, scale):
    layers = lora_layers(tiny_lora(LoRAConfig(**settings))).values()
    assert [layer.scale for layer in layers] == [pytest.approx(scale, rel=1e-15)] * 4


# ---- patterns: the longest name that fits wins

PATTERN = {"q_proj": 1, "blocks.1.attn.q_proj": 3, "attn.q_proj": 2}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("blocks.0.attn.q_proj", 2),
        ("blocks.1.attn.q_proj", 3),
        ("other.q_proj", 1),
        ("blocks.0.attn.v_proj", 4),
        ("blocks.0.attn.my_q_proj", 4),
    ],
)
def test_the_longest_name_that_fits_decides_rank_and_alpha(path, value):
    config = LoRAConfig(rank=4, alpha=4, rank_pattern=PATTERN, alpha_pattern=PATTERN)
    assert config.rank_of(path) == config.alpha_of(path) == value


def test_patterns_reach_the_layers():
    config = LoRAConfig(
        rank=2, alpha=2, targets=("fc_in", "fc_out"), rank_pattern={"fc_in": 4}, alpha_pattern={"blocks.1.mlp.fc_in": 8}
    )
    assert {path: (layer.A.data.shape, layer.scale) for path, layer in lora_layers(tiny_lora(config)).items()} == {
        "blocks.0.mlp.fc_in": ((4, 6), 0.5),
        "blocks.0.mlp.fc_out": ((2, 10), 1.0),
        "blocks.1.mlp.fc_in": ((4, 6), 2.0),
        "blocks.1.mlp.fc_out": ((2, 10), 1.0),
    }


# ---- initial values


def start(init, dtype="float32"):
    """A of all layers of a wider model, I = 64, r = 16; and its B."""
    model = GPT(GPTConfig(vocab_size=2, n_positions=2, n_layer=2, d_model=64, n_head=1), rng(), dtype=dtype)
    apply_lora(model, LoRAConfig(rank=16, init=init), rng=rng(1))
    layers = lora_layers(model).values()
    return np.stack([layer.A.data for layer in layers]), np.stack([layer.B.data for layer in layers])


def test_uniform_fills_the_interval_of_one_over_root_I():
    A, _ = start("uniform")
    assert 0.99 / 8 < np.abs(A).max() <= 1 / 8
    assert A.std() == pytest.approx(1 / math.sqrt(3 * 64), rel=0.03)
    assert abs(A.mean()) < 4 * A.std() / math.sqrt(A.size)


def test_gaussian_has_a_deviation_of_one_over_r():
    A, _ = start("gaussian")
    assert A.std() == pytest.approx(1 / 16, rel=0.04)
    assert np.abs(A).max() > 3 / 16


@pytest.mark.parametrize("init", ["uniform", "gaussian"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_B_is_zero_and_both_have_the_dtype_of_W(init, dtype):
    A, B = start(init, dtype)
    assert A.dtype == B.dtype == dtype
    assert A.all() and not B.any()


def test_the_same_seed_draws_the_same_A_and_another_seed_another():
    def A_of(seed):
        model = tiny_gpt()
        apply_lora(model, LoRAConfig(rank=2), rng=rng(seed))
        return model.blocks[1].attn.v_proj.A.data

    assert same_bits(A_of(1), A_of(1))
    assert not np.isclose(A_of(1), A_of(2)).any()


# ---- errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, r"rank was 0; it must be an integer of at least 1"),
        ({"rank": -1}, r"rank was -1; "),
        ({"rank": True}, r"rank was True; "),
        ({"rank": 1.5}, r"rank was 1\.5; "),
        ({"rank_pattern": {"q_proj": 0}}, r"rank_pattern\['q_proj'\] was 0; it must be an integer of at least 1"),
        ({"alpha": math.nan}, r"alpha was nan; it must be a finite number"),
        ({"alpha": math.inf}, r"alpha was inf; "),
        ({"alpha": "8"}, r"alpha was '8'; "),
        ({"alpha_pattern": {"v_proj": math.nan}}, r"alpha_pattern\['v_proj'\] was nan; "),
        ({"targets": "q_proj"}, r"targets was 'q_proj'; it must be several names, such as \('q_proj', 'v_proj'\)"),
        ({"targets": ()}, r"targets was \(\); "),
        ({"targets": []}, r"targets was \[\]; "),
        ({"targets": ("q_proj", 3)}, r"targets was \('q_proj', 3\); it must be several names"),
        ({"dropout": 1.0}, r"dropout was 1\.0; it must be 0 <= dropout < 1"),
        ({"dropout": -0.1}, r"dropout was -0\.1; "),
        ({"dropout": math.nan}, r"dropout was nan; "),
        ({"alpha": 10**400}, r"^alpha was an integer of more than 308 digits; it must be a finite number$"),
        ({"alpha": 10**5000}, r"^alpha was .*; it must be a finite number$"),  # more digits than Python writes
        ({"alpha": np.float64("nan")}, r"alpha was .*nan.*; it must be a finite number"),
        ({"alpha": np.bool_(True)}, r"alpha was .*True.*; it must be a finite number"),
        ({"alpha": True}, r"alpha was True; it must be a finite number"),
        ({"alpha": None}, r"alpha was None; it must be a finite number"),
        (
            {"alpha_pattern": {"q_proj": 10**400}},
            r"^alpha_pattern\['q_proj'\] was an integer of .*; it must be a finite number$",
        ),
        ({"alpha_pattern": 3}, r"alpha_pattern was 3; it must be a dict of names to numbers"),
        ({"rank_pattern": {3: 3}}, r"rank_pattern was \{3: 3\}; it must be a dict of names to numbers"),
        ({"rank": 10**400}, r"^rank was an integer of more than 308 digits; it must be an integer of at least 1$"),
        ({"rank": np.float64(2)}, r"rank was .*2.0.*; it must be an integer of at least 1"),
        ({"dropout": 10**400}, r"^dropout was an integer of .*; it must be 0 <= dropout < 1$"),
        ({"dropout": True}, r"dropout was True; "),
        ({"rslora": 1}, r"rslora was 1; it must be True or False"),
        ({"targets": None}, r"targets was None; it must be several names"),
        ({"targets": 3}, r"targets was 3; it must be several names"),
        ({"init": ["pissa"]}, r"init was \['pissa'\]; it must be one of"),
        ({"init": "orthogonal"}, r"init was 'orthogonal'; it must be one of 'uniform', 'gaussian'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        LoRAConfig(**settings)


def test_scalars_of_numpy_become_pythons_own_and_go_into_a_file(tmp_path):
    numbers = {"rank": np.int64(2), "alpha": np.float32(3), "dropout": np.float64(0.25)}
    config = LoRAConfig(**numbers, rank_pattern={"q_proj": np.int32(1)}, alpha_pattern={"q_proj": np.float64(5)})
    assert {type(n) for n in (config.rank, *config.rank_pattern.values())} == {int}
    assert {type(n) for n in (config.alpha, config.dropout, *config.alpha_pattern.values())} == {float}
    save_adapter(tiny_lora(config), tmp_path / "file")
    model = tiny_gpt()
    load_adapter(model, tmp_path / "file")
    assert method_of(model) == config
    others = (
        LoRAConfig(gamma=np.float32(16)).gamma,
        VeRAConfig(d_initial=np.float32(0.5)).d_initial,
        AdaLoRAConfig(initial_rank=np.int64(12)).initial_rank,
        AdaLoRAConfig(orthogonality=np.float32(0.5)).orthogonality,
        AdaLoRAConfig(beta1=np.float32(0.5)).beta1,
    )
    assert [type(n) for n in others] == [float, float, int, float, float]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1e300}, r"alpha was 1e\+300 for blocks.0.attn.q_proj; scale = 5e\+299 must be at most 3.4e\+38"),
        ({"alpha": 10**300}, r"alpha was 1000.* for blocks.0.attn.q_proj; scale = 5e\+299 must be at most 3.4e\+38"),
        ({"alpha": 1e-300, "init": "pissa"}, r"alpha was 1e-300 for blocks.0.attn.q_proj; PiSSA divides by it"),
    ],
)
def test_a_scale_that_float32_cannot_hold_is_refused_and_the_model_stays_as_it_was(settings, message):
    model = tiny_gpt("float32")
    before = weights_of(model)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        apply_lora(model, LoRAConfig(rank=2, **settings), rng=rng())
    assert same_bits(weights_of(model), before)


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LoRAConfig().rank = 4


def test_the_default_scale_is_one():
    assert {layer.scale for layer in lora_layers(tiny_lora(LoRAConfig(rank=4))).values()} == {2.0}
    assert LoRAConfig().rank == LoRAConfig().alpha == 8


def test_the_largest_scale_that_float32_holds_is_taken():
    model, largest = tiny_gpt("float32"), float(np.finfo("float32").max)
    apply_lora(model, LoRAConfig(rank=1, alpha=largest), rng=rng())
    assert {layer.scale for layer in lora_layers(model).values()} == {largest}


@pytest.mark.parametrize("alpha", [0, -3])
def test_an_alpha_of_zero_or_below_is_a_scale_like_any_other(alpha):
    model = tiny_lora(LoRAConfig(rank=2, alpha=alpha))
    assert {layer.scale for layer in lora_layers(model).values()} == {alpha / 2}
    assert np.allclose(logits_of(model), logits_of(tiny_gpt())) == (alpha == 0)


NOT_IN_THE_MODEL = [
    (
        {"targets": ("q",)},
        "targets named 'q', which is not a linear layer or an embedding of this model; it has wte, "
        + ", ".join(EVERYWHERE),
    ),
    ({"targets": ("q_proj", "blocks.2.attn.q_proj")}, "targets named 'blocks.2.attn.q_proj', "),
    ({"targets": ("attn",)}, "targets named 'attn', "),
    ({"targets": ("wpe",)}, "targets named 'wpe', "),
    ({"rank_pattern": {"c_attn": 2}}, "rank_pattern named 'c_attn', "),
    ({"alpha_pattern": {"c_attn": 2}}, "alpha_pattern named 'c_attn', "),
    ({"rank": 7}, "rank was 7 for blocks.0.attn.q_proj, whose W is 6 x 6; it must be from 1 to 6"),
    (
        {"targets": ("q_proj", "fc_in"), "rank_pattern": {"fc_in": 9}},
        "rank was 9 for blocks.0.mlp.fc_in, whose W is 10 x 6; it must be from 1 to 6",
    ),
]


@pytest.mark.parametrize(("settings", "message"), NOT_IN_THE_MODEL)
def test_what_does_not_fit_the_model_is_refused_and_the_model_stays_as_it_was(settings, message):
    model = tiny_gpt()
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        apply_lora(model, LoRAConfig(**({"rank": 2} | settings)), rng=rng(1))
    assert same_bits(weights_of(model), before)
    assert trainable_names(model) == list(before)
    assert not lora_layers(model)


@pytest.mark.parametrize("rank", [1, 6])
def test_the_smallest_and_the_largest_rank_are_possible(rank):
    model = tiny_lora(LoRAConfig(rank=rank, targets=EVERYWHERE))
    assert all(isinstance(layer, LoRALinear) and len(layer.A.data) == rank for layer in lora_layers(model).values())


def test_targets_may_be_a_list_and_are_kept_as_a_tuple():
    assert LoRAConfig(targets=["fc_in"]).targets == ("fc_in",)
