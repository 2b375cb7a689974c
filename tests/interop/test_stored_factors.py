"""A, B and scale as an adapter's file has them: their product is the delta_W that the loaded adapter has."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minilora
from experiments.tiny import LORA, byte_gpt
from interop.peft_golden import GOLDEN, GPT2, gpt2
from methods.tiny import with_B
from minilora.analysis import Factors, delta_weights
from minilora.analysis.changes import as_array
from minilora.interop.stored_factors import read_factors


def products(path):
    return {name: as_array(Factors(*(np.asarray(part, float) for part in f))) for name, f in read_factors(path).items()}


def minilora_s(tmp_path, **settings):
    model = byte_gpt()
    minilora.apply_lora(model, minilora.LoRAConfig(**{**vars(LORA), **settings}), rng=np.random.default_rng(0))
    with_B(model)
    minilora.save_adapter(model, tmp_path / "adapter.safetensors")
    return model


@pytest.mark.parametrize(
    "settings",
    [{}, {"rslora": True}, {"init": "pissa"}, {"alpha_pattern": {"fc_in": 7.0}, "rank_pattern": {"v_proj": 3}}],
    ids=str,
)
def test_one_of_minilora_s(settings, tmp_path):
    expected = delta_weights(minilora_s(tmp_path, **settings))
    for path in (tmp_path, tmp_path / "adapter.safetensors"):
        found = products(path)
        assert found.keys() == expected.keys() and len(found) == 3
        for name, delta_W in expected.items():
            np.testing.assert_allclose(found[name], delta_W, rtol=1e-5, atol=1e-5)


def test_dora_s_part_that_is_a_product(tmp_path):
    model = minilora_s(tmp_path, dora=True)
    A, B = (dict(model.named_parameters())[f"blocks.0.attn.q_proj.{letter}"].data for letter in "AB")
    np.testing.assert_allclose(products(tmp_path)["blocks.0.attn.q_proj"], LORA.alpha / LORA.rank * B @ A, atol=1e-6)


@pytest.mark.parametrize("adapter", ["c_attn", "patterns"])
def test_one_of_peft_s_keeps_its_own_names(adapter):
    model = gpt2("float64")
    minilora.load_peft(model, GPT2 / adapter)
    found, ours = products(GPT2 / adapter), delta_weights(model)
    assert "transformer.h.0.attn.c_attn" in found
    for name, delta_W in found.items():
        path = name.replace("transformer.h.", "blocks.")
        if name.endswith("c_attn"):
            parts = [ours.get(path.replace("c_attn", f"{letter}_proj")) for letter in "qkv"]
            parts = [np.zeros_like(delta_W[: len(delta_W) // 3]) if part is None else part for part in parts]
            np.testing.assert_allclose(delta_W, np.concatenate(parts), atol=1e-12)


FOLDERS = {
    str(p.parent.relative_to(GOLDEN)): json.loads(p.read_text())["peft_type"]
    for p in GOLDEN.rglob("adapter_config.json")
}


@pytest.mark.parametrize("folder", sorted(folder for folder, kind in FOLDERS.items() if kind != "LORA"))
def test_a_folder_of_another_method_is_refused_by_its_name(folder):
    with pytest.raises(ValueError, match=f"peft_type was '{FOLDERS[folder]}'; it must be 'LORA'"):
        read_factors(GOLDEN / folder)


@pytest.mark.parametrize("folder", sorted(folder for folder, kind in FOLDERS.items() if kind == "LORA"))
def test_every_architecture_of_peft_s_is_read(folder):
    stored = load_file(GOLDEN / folder / "adapter_model.safetensors")
    pairs = [name for name in stored if ".lora_A" in name and stored[name].ndim == 2]
    assert len(read_factors(GOLDEN / folder)) == len(pairs) > 0


def test_one_of_llama_cpp_s(tmp_path):
    pytest.importorskip("gguf")
    from interop.gguf_models import adapted
    from minilora.interop.gguf_adapter import save_gguf_adapter

    model = adapted()
    save_gguf_adapter(model, tmp_path / "a.gguf")
    found, ours = products(tmp_path / "a.gguf"), delta_weights(model)
    assert sorted(np.linalg.norm(W) for W in found.values()) == pytest.approx(
        sorted(np.linalg.norm(W) for W in ours.values()), rel=1e-5
    )


def changed_peft(tmp_path, change):
    folder = tmp_path / "peft"
    shutil.copytree(GPT2 / "c_attn", folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def twice(tensors):
    for name in list(tensors):
        tensors[name.replace(".weight", ".second.weight")] = tensors[name]


def short(tensors):
    name = next(name for name in tensors if ".lora_B" in name)
    tensors[name] = np.ascontiguousarray(tensors[name][:, :1])


def whole_numbers(tensors):
    tensors.update({name: np.round(array).astype("int32") for name, array in tensors.items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (twice, "holds A and B of 'transformer.h.0.attn.c_attn' twice; it must hold one adapter$"),
        (short, r"for 'transformer.h.0.attn.c_attn'; they must be \(r, I\) and \(O, r\)$"),
        (whole_numbers, "is I32; it must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_factors(changed_peft(tmp_path, change))


def test_what_is_no_pair_of_matrices_is_left_out(tmp_path):
    def change(tensors):
        for letter in "AB":
            tensors[f"base_model.model.conv.lora_{letter}.weight"] = np.ones((2, 2, 1, 1), "float32")
            tensors[f"base_model.model.embed.lora_embedding_{letter}"] = np.ones((2, 2), "float32")

    assert read_factors(changed_peft(tmp_path, change)).keys() == read_factors(GPT2 / "c_attn").keys()


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file .*adapter.safetensors$"):
        read_factors(tmp_path)
    minilora.save_model(byte_gpt(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors holds 'gpt'; expected 'lora'$"):
        read_factors(tmp_path / "model.safetensors")
    config = json.loads((GPT2 / "c_attn" / "adapter_config.json").read_text())
    shutil.copytree(GPT2 / "c_attn", tmp_path / "peft")
    (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": "pissa"}))
    with pytest.raises(ValueError, match="init_lora_weights was 'pissa'; it changes W itself"):
        read_factors(tmp_path / "peft")
