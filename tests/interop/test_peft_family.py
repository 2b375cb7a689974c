"""What is not LoRA in PEFT's files: VeRA and AdaLoRA, in and out. tests/golden/make_peft_family.py made the files."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from interop.folders import GOLDEN
from interop.peft_golden import expected as gpt2_expected
from interop.peft_golden import gpt2
from methods.tiny import same_bits, weights_of
from minilora.data.batches import LMBatch
from minilora.interop import load_llama, load_peft, save_peft
from minilora.interop.description import describe
from minilora.methods import (
    AdaLoRAConfig,
    LoRAConfig,
    VeRAConfig,
    apply_method,
    combine_adapters,
    load_adapter,
    lora_layers,
    method_of,
    save_adapter,
    set_adapter,
)

LLAMA = GOLDEN / "peft" / "llama"
OWN = {
    "adalora": AdaLoRAConfig(rank=1, initial_rank=3, alpha=5, targets=("k_proj", "up_proj")),
    "vera": VeRAConfig(rank=6, targets=("q_proj", "gate_proj", "down_proj")),
}
each = pytest.mark.parametrize("kind", OWN)


def base():
    return load_llama(LLAMA, dtype="float64")


def expected():
    return load_file(LLAMA / "expected.safetensors")


def logits(model):
    return model.forward(expected()["ids"])[0]


def peft_says(kind):
    return load_file(LLAMA / kind / "expected.safetensors")["logits"]


def changed(folder, kind, tmp_path, **fields):
    """A copy of a folder of PEFT's with other fields."""
    shutil.copytree(folder / kind, tmp_path / "changed")
    path = tmp_path / "changed" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return tmp_path / "changed"


def ours(kind):
    model = base()
    apply_method(model, OWN[kind], rng=np.random.default_rng(1))
    draw = np.random.default_rng(2)
    for p in model.trainable_parameters():
        p.data += 0.5 * draw.standard_normal(p.data.shape)
    return model


@each
def test_logits_are_those_of_peft_and_with_the_adapter_off_those_of_the_base(kind):
    model = base()
    load_peft(model, LLAMA / kind)
    assert np.abs(logits(model) - peft_says(kind)).max() < 1e-10
    assert np.abs(peft_says(kind) - expected()["base"]).max() > 0.1
    set_adapter(model, None)
    assert np.array_equal(logits(model), logits(base()))


@each
def test_what_came_from_peft_goes_out_as_it_was(kind, tmp_path):
    model = base()
    load_peft(model, LLAMA / kind)
    save_peft(model, tmp_path)
    here, there = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, LLAMA / kind))
    assert here.keys() == there.keys()
    for name, tensor in there.items():
        np.testing.assert_allclose(here[name], tensor, rtol=1e-13, err_msg=name)
    config, theirs = (json.loads((f / "adapter_config.json").read_text()) for f in (tmp_path, LLAMA / kind))
    if kind == "adalora":  # there each mask has its own order, and the schedule is in steps
        theirs["rank_pattern"] = {name: sorted(kept)[::-1] for name, kept in theirs["rank_pattern"].items()}
        theirs |= {name: theirs[name] * 1000 / theirs["total_step"] for name in ("tinit", "tfinal", "total_step")}
    others = ("target_modules", "task_type", "base_model_name_or_path")  # a shorter list, and what is known here
    differ = {field: value for field, value in config.items() if field not in others and theirs[field] != value}
    assert not differ


@each
def test_what_came_from_peft_is_kept_in_a_file_of_ours(kind, tmp_path):
    model, other = base(), base()
    load_peft(model, LLAMA / kind)
    save_adapter(model, tmp_path / "file")
    load_adapter(other, tmp_path / "file")
    assert method_of(other) == method_of(model)
    assert np.array_equal(logits(other), logits(model))


@each
def test_an_adapter_of_ours_goes_out_and_in(kind, tmp_path):
    model, other = ours(kind), base()
    save_peft(model, tmp_path)
    load_peft(other, tmp_path)
    assert np.abs(logits(other) - logits(model)).max() < 1e-12


@each
def test_info_says_what_it_is(kind):
    told = describe(LLAMA / kind)
    assert (told["method"], told["format"], told["holds"]) == (kind, "PEFT", "adapter")


# ---- VeRA


def test_veras_file_without_A_and_B_is_refused_and_told_what_to_do(tmp_path):
    folder = changed(LLAMA, "vera", tmp_path, save_projection=False)
    path = folder / "adapter_model.safetensors"
    kept = {name: a for name, a in load_file(path).items() if "vera_A" not in name and "vera_B" not in name}
    save_file(kept, path)
    with pytest.raises(
        ValueError, match=r"save_projection was False, and .* has no vera_A, which torch draws; save it"
    ):
        load_peft(base(), folder)


WRONG = {
    "bias": ({"bias": "all"}, "bias was 'all'; it must be 'none'"),
    "rank": ({"r": 4}, r"has shape \(5,\); by adapter_config.json and the model it must be \(4,\)"),
    "a rank without end": ({"r": 10**12}, "by adapter_config.json and the model it must be"),
    "no rank": ({"r": "5"}, "r was '5'; it must be an integer of at least 1"),
    "d": ({"d_initial": "x"}, "d_initial was 'x'; it must be a finite number other than 0"),
    "norms": ({"modules_to_save": ["input_layernorm"]}, "beside VeRA, minilora trains a new head alone"),
    "an unknown field": ({"use_dora": "yes"}, "use_dora was 'yes'"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG.values(), ids=WRONG)
def test_a_file_of_veras_that_does_not_fit_is_refused_and_the_model_stays_as_it_was(fields, message, tmp_path):
    model = base()
    with pytest.raises(ValueError, match=message):
        load_peft(model, changed(LLAMA, "vera", tmp_path, **fields))
    assert same_bits(weights_of(model), weights_of(base()))


def test_what_is_one_module_there_and_three_layers_here_cannot_have_vera(tmp_path):
    model = gpt2()
    apply_method(model, VeRAConfig(rank=3, targets=("q_proj", "fc_in")))
    with pytest.raises(ValueError, match=r"targets meant transformer.h.0.attn.c_attn, which is q_proj, k_proj, v_proj"):
        save_peft(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    apply_method(model, VeRAConfig(rank=3, targets=("fc_in", "o_proj")), name="mlp")
    save_peft(model, tmp_path)


# ---- AdaLoRA


def test_a_fused_module_of_adaloras_comes_apart_and_goes_together_again(tmp_path):
    model, other = gpt2(), gpt2()
    apply_method(model, AdaLoRAConfig(rank=1, initial_rank=3, alpha=4, targets=("q_proj", "v_proj", "fc_in")))
    draw = np.random.default_rng(2)
    for p in model.trainable_parameters():
        p.data += 0.5 * draw.standard_normal(p.data.shape)
    for layer in lora_layers(model).values():
        layer.factors.lam.data[draw.integers(3)] = 0.0  # pruned
    save_peft(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["init_r"], config["lora_alpha"]) == (4, 4 * 4 / 3)
    assert {sum(kept) for name, kept in config["rank_pattern"].items() if "c_attn" in name} == {4}
    load_peft(other, tmp_path)
    ids = gpt2_expected()["ids"]
    assert np.abs(other.forward(ids)[0] - model.forward(ids)[0]).max() < 1e-12
    assert method_of(other).initial_rank == 2 and method_of(other).alpha == pytest.approx(4 * 2 / 3)


def test_an_adapter_that_has_learned_nothing_keeps_all_its_triplets(tmp_path):
    model, other = base(), base()
    apply_method(model, OWN["adalora"])
    save_peft(model, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["rank_pattern"] is None
    load_peft(other, tmp_path)
    layers = lora_layers(other)
    assert all(same_bits(f.factors.B.data, layers[path].factors.B.data) for path, f in lora_layers(model).items())


WRONG_ADALORA = {
    "bias": ({"bias": "all"}, "bias was 'all'; it must be 'none'"),
    "rank": ({"init_r": 0}, "r was 0; it must be an integer of at least 1"),
    "alpha": ({"lora_alpha": -1}, "lora_alpha was -1; for AdaLoRA it must be above 0"),
    "pattern": ({"rank_pattern": {"a": [1]}}, "rank_pattern must be lists of at most 4 times true or false"),
    "no pattern": ({"rank_pattern": None}, "by adapter_config.json and the model it must be"),
    "schedule": ({"tinit": 50}, "warmup_share was 1.0; it must be a number from 0 to 1"),
    "weight": ({"orth_reg_weight": "x"}, "orthogonality was 'x'; it must be a number of at least 0"),
    "dora": ({"use_dora": "x"}, "use_dora was 'x'"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG_ADALORA.values(), ids=WRONG_ADALORA)
def test_a_file_of_adaloras_that_does_not_fit_is_refused(fields, message, tmp_path):
    model = base()
    with pytest.raises(ValueError, match=message):
        load_peft(model, changed(LLAMA, "adalora", tmp_path, **fields))
    assert same_bits(weights_of(model), weights_of(base()))


# ---- LoRA-GA, which is LoRA of twice the rank in PEFT's files


def lora_ga():
    model, ids = base(), expected()["ids"]
    batch = LMBatch(ids[:, :-1], ids[:, 1:], np.ones(ids[:, 1:].shape, bool))
    config = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "o_proj", "down_proj"), init="lora-ga")
    apply_method(model, config, batches=[batch])
    draw = np.random.default_rng(2)
    for p in model.trainable_parameters():
        p.data += 0.5 * draw.standard_normal(p.data.shape)
    return model


def test_lora_ga_says_that_it_can_be_converted_and_converted_it_goes_out_and_in(tmp_path):
    model, other = lora_ga(), base()
    with pytest.raises(ValueError, match=r"the adapter is LoRA-GA's, .* combine_adapters\(model, \[name\], \[1.0\]\)"):
        save_peft(model, tmp_path / "out")
    before = logits(model)
    combine_adapters(model, ["default"], [1.0])
    save_peft(model, tmp_path)
    load_peft(other, tmp_path)
    assert np.abs(logits(other) - before).max() < 1e-10
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4


def test_a_file_that_pefts_lora_ga_began_and_that_was_not_converted_is_refused(tmp_path):
    with pytest.raises(ValueError, match="init_lora_weights was 'lora_ga'; it changes W itself"):
        load_peft(base(), changed(LLAMA, "default", tmp_path, init_lora_weights="lora_ga"))
