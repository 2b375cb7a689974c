"""What is saved for peft: peft's own adapters come out as they came in, ours by the recipe for fused projections."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from device_array import DeviceArray, to_fake_device
from interop.peft_golden import ADAPTERS, GPT2, expected, gpt2, logits
from interop.saved_adapters import BESIDES, OURS, adapted, adapted_besides
from methods.tiny import same_bits
from minilora.interop import load_peft, save_peft
from minilora.methods import (
    LoRAConfig,
    apply_lora,
    apply_method,
    combine_adapters,
    lora_layers,
    merge_lora,
    set_adapter,
)
from minilora.models import RobertaForClassification
from models.tiny_encoders import tiny

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
C_ATTN = "base_model.model.transformer.h.{}.attn.c_attn.lora_{}.weight"
D = 12  # the width of the golden model


def saved(model, folder, **options):
    save_peft(model, folder, **options)
    return json.loads((folder / CONFIG).read_text()), load_file(folder / TENSORS)


def logits_after_loading(folder):
    model = gpt2()
    load_peft(model, folder)
    return logits(model, expected()["ids"])


# ---- peft's own


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_of_peft_is_saved_as_peft_saved_it(adapter, tmp_path):
    """To the bit: the same tensors under the same names; so peft reads what save_peft writes."""
    model, golden = gpt2(), expected()
    load_peft(model, GPT2 / adapter)
    config, tensors = saved(model, tmp_path)
    assert same_bits(tensors, load_file(GPT2 / adapter / TENSORS))
    theirs = json.loads((GPT2 / adapter / CONFIG).read_text())
    same = ("peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "fan_in_fan_out", "inference_mode")
    assert {field: config[field] for field in same} == {field: theirs[field] for field in same}
    assert config.keys() <= theirs.keys()
    np.testing.assert_allclose(logits_after_loading(tmp_path), golden[adapter], rtol=0, atol=1e-10)


def test_the_file_is_marked_as_torch_s(tmp_path):
    save_peft(adapted(), tmp_path)
    with safe_open(tmp_path / TENSORS, framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


# ---- ours


@pytest.mark.parametrize("lora", OURS.values(), ids=OURS.keys())
def test_what_is_saved_is_the_same_adapter(lora, tmp_path):
    """Its tensors, taken by peft's formula alone, give our delta_W; and loading gives our logits."""
    model = adapted(**lora)
    config, tensors = saved(model, tmp_path)
    base = dict(gpt2().named_parameters())
    deltas = {path: layer.delta_W() for path, layer in lora_layers(model).items()}
    for name in tensors:
        if "lora_A" not in name:
            continue
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        A, B = tensors[name], tensors[name.replace("lora_A", "lora_B")]
        rank = config["rank_pattern"].get(module, config["r"])
        alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
        assert A.shape[0] == rank == B.shape[1]
        delta = alpha / (np.sqrt(rank) if config["use_rslora"] else rank) * (B @ A)
        for path, rows in rows_of(module, len(B)).items():
            want = deltas.pop(path, np.zeros((rows.stop - rows.start, A.shape[1])))
            got = delta[rows]
            if config["use_dora"]:
                W, m = base[f"{path}.W"].data, tensors[name.replace("lora_A.weight", "lora_magnitude_vector")][rows]
                got = m[:, None] * (W + got) / np.linalg.norm(W + got, axis=1, keepdims=True) - W
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)
    assert not deltas
    ids = expected()["ids"]
    np.testing.assert_allclose(logits_after_loading(tmp_path), logits(model, ids), rtol=0, atol=1e-10)


def rows_of(module, O):
    """The rows of a module of GPT-2 that are each of our layers."""
    _, _, i, part, name = module.split(".")
    if name == "c_attn":
        return {f"blocks.{i}.attn.{letter}_proj": slice(D * j, D * j + D) for j, letter in enumerate("qkv")}
    ours = {"attn.c_proj": "attn.o_proj", "mlp.c_fc": "mlp.fc_in", "mlp.c_proj": "mlp.fc_out"}[f"{part}.{name}"]
    return {f"blocks.{i}.{ours}": slice(0, O)}


def test_q_and_v_become_one_adapter_of_twice_the_rank(tmp_path):
    """A = (A_q; A_v), B = (B_q 0; 0 0; 0 B_v), and twice the alpha: the scale stays."""
    model = adapted(targets=("q_proj", "v_proj"))
    config, tensors = saved(model, tmp_path, base="openai-community/gpt2")
    q, v = (lora_layers(model)[f"blocks.1.attn.{letter}_proj"] for letter in "qv")
    zero = np.zeros((D, 2))
    assert same_bits(tensors[C_ATTN.format(1, "A")], np.vstack((q.A.data, v.A.data)))
    assert same_bits(tensors[C_ATTN.format(1, "B")], np.block([[q.B.data, zero], [zero, zero], [zero, v.B.data]]))
    assert (config["r"], config["lora_alpha"]) == (4, 6)
    assert (config["target_modules"], config["fan_in_fan_out"]) == (["attn.c_attn"], True)
    assert config["base_model_name_or_path"] == "openai-community/gpt2" and config["task_type"] == "CAUSAL_LM"


@pytest.mark.parametrize("lora", [OURS[name] for name in ("q and v", "everywhere", "one layer")])
def test_what_was_saved_comes_back_as_it_was(lora, tmp_path):
    """To the bit, with the same settings: also what was fused on the way."""
    model, other = adapted(**lora), gpt2()
    save_peft(model, tmp_path)
    load_peft(other, tmp_path)
    ours, theirs = (lora_layers(m) for m in (model, other))
    assert ours.keys() == theirs.keys()
    for path, layer in ours.items():
        assert same_bits(theirs[path].factors.arrays(), layer.factors.arrays())
        assert theirs[path].scale == layer.scale and theirs[path].factors.dropout == layer.factors.dropout
        config = theirs[path].factors.config
        assert (config.rank_of(path), config.alpha_of(path)) == (2, 3)


def test_layers_of_another_scale_share_one_alpha(tmp_path):
    """v's ratio to q's scale goes into its B."""
    model = adapted(targets=("q_proj", "v_proj"), alpha_pattern={"v_proj": 12})
    _, tensors = saved(model, tmp_path)
    v = lora_layers(model)["blocks.0.attn.v_proj"]
    np.testing.assert_array_equal(tensors[C_ATTN.format(0, "B")][2 * D :, 2:], 4 * v.B.data)


def test_the_name_says_which_adapter(tmp_path):
    model = adapted(targets=("q_proj",))
    first = logits(model, expected()["ids"])
    apply_lora(model, LoRAConfig(rank=3, targets=("o_proj",)), rng=np.random.default_rng(2), name="second")
    assert saved(model, tmp_path / "active")[0]["target_modules"] == ["attn.c_proj"]
    save_peft(model, tmp_path / "named", name="default")
    np.testing.assert_allclose(logits_after_loading(tmp_path / "named"), first, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match=r"name was 'third'; the model's adapters are \['default', 'second'\]"):
        save_peft(model, tmp_path, name="third")


def test_saving_while_merged_saves_A_and_B(tmp_path):
    model = adapted()
    before = saved(model, tmp_path / "before")
    merge_lora(model)
    config, tensors = saved(model, tmp_path / "merged")
    assert config == before[0] and same_bits(tensors, before[1])


@pytest.mark.parametrize("adapter", ["c_attn", "one_layer"])
def test_from_a_device_to_a_device(adapter, tmp_path):
    model = gpt2()
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    load_peft(model, GPT2 / adapter)
    assert all(isinstance(p.data, DeviceArray) for p in model.parameters())
    _, tensors = saved(model, tmp_path)
    assert same_bits(tensors, load_file(GPT2 / adapter / TENSORS))


# ---- what is trained besides


@pytest.mark.parametrize(("parts", "modules", "bias"), BESIDES.values(), ids=BESIDES.keys())
def test_what_is_trained_besides_is_saved_too(parts, modules, bias, tmp_path):
    model = adapted_besides(parts)
    config, _ = saved(model, tmp_path)
    assert (config["modules_to_save"], config["bias"]) == (modules, bias)
    np.testing.assert_allclose(logits_after_loading(tmp_path), logits(model, expected()["ids"]), rtol=0, atol=1e-10)


NO_PLACE = {
    "the token embedding": ["wte.W"],
    "a frozen weight": ["blocks.0.mlp.fc_in.W"],
    "half a LayerNorm": ["ln_f.gain"],
    "a few biases": ["blocks.0.attn.q_proj.bias", "blocks.0.mlp.fc_in.bias"],
}


@pytest.mark.parametrize("names", NO_PLACE.values(), ids=NO_PLACE.keys())
def test_what_peft_has_no_place_for_is_refused_by_name_and_nothing_is_written(names, tmp_path):
    model = adapted(besides=names)
    with pytest.raises(ValueError, match=f"{', '.join(names)} is trained; besides A and B, PEFT saves"):
        save_peft(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# ---- what is wrong


def test_a_model_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"name was None; the model's adapters are \[\]"):
        save_peft(gpt2(), tmp_path / "out")
    model = adapted()
    set_adapter(model, None)
    with pytest.raises(ValueError, match=r"name was None; the model's adapters are \['default'\]"):
        save_peft(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_adapter_of_another_kind_is_refused(tmp_path):
    model = adapted()

    class Doubled(type(lora_layers(model)["blocks.0.attn.q_proj"].factors)):
        pass

    lora_layers(model)["blocks.0.attn.q_proj"].factors.__class__ = Doubled
    with pytest.raises(ValueError, match=r"blocks\.0\.attn\.q_proj has Doubled; save_peft writes LoRA and DoRA"):
        save_peft(model, tmp_path / "out")


def test_an_adapter_in_a_head_is_refused_by_name_and_nothing_is_written(tmp_path):
    model = tiny(RobertaForClassification)
    apply_lora(model, LoRAConfig(rank=1, targets=("q_proj", "dense")), rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"^head\.dense\.bias is trained; besides A and B, PEFT saves all biases"):
        save_peft(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("in_the_way", [CONFIG, TENSORS])
def test_both_files_are_written_or_none(tmp_path, in_the_way):
    save_peft(adapted(), tmp_path)
    other = ({CONFIG, TENSORS} - {in_the_way}).pop()
    before = (tmp_path / other).read_bytes()
    (tmp_path / in_the_way).unlink()
    (tmp_path / in_the_way).mkdir()
    with pytest.raises(OSError, match=in_the_way):
        save_peft(adapted(rank=3), tmp_path)
    assert (tmp_path / other).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {CONFIG, TENSORS}


@pytest.mark.parametrize("method", ["bitfit", "top-k", "full"])
def test_a_method_that_peft_has_no_file_for_says_what_to_do_instead(method, tmp_path):
    model = gpt2()
    apply_method(model, method)
    with pytest.raises(
        ValueError,
        match=f"^the model is adapted by '{method}', for which minilora cannot write .*save_adapter",
    ):
        save_peft(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_pissa_says_that_it_can_be_converted_and_converted_it_is_saved(tmp_path):
    model = adapted(init="pissa")
    with pytest.raises(ValueError, match=r"the adapter is PiSSA's, .* combine_adapters\(model, \[name\], \[1.0\]\)"):
        save_peft(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    combine_adapters(model, ["default"], [1.0])
    save_peft(model, tmp_path)
    np.testing.assert_allclose(logits_after_loading(tmp_path), logits(model, expected()["ids"]), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("alpha", "pattern"),
    [(0, {}), (3, {"q_proj": 0}), (3, {"v_proj": 0}), (0, {"v_proj": 3}), (0, {"q_proj": 3}), (-3, {"q_proj": 0})],
)
def test_an_alpha_of_zero_is_saved_too(alpha, pattern, tmp_path):
    model = adapted(alpha=alpha, alpha_pattern=pattern, targets=("q_proj", "v_proj", "o_proj"))
    save_peft(model, tmp_path)
    np.testing.assert_allclose(logits_after_loading(tmp_path), logits(model, expected()["ids"]), rtol=0, atol=1e-10)


def test_scales_too_far_apart_for_one_alpha_are_refused_and_nothing_is_written(tmp_path):
    model = adapted(alpha_pattern={"q_proj": 1e-200, "v_proj": 1e200})
    with pytest.raises(ValueError, match="infinite"):
        save_peft(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())
