"""What peft has saved gives peft's logits here; what cannot be computed or does not fit is refused by its name."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from interop.peft_golden import ADAPTERS, GPT2, expected, gpt2, logits
from methods.tiny import same_bits, trainable_names, weights_of
from minilora.accounting import count_parameters
from minilora.interop import load_peft
from minilora.methods import (
    LoRAConfig,
    adapter_names,
    apply_lora,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
    set_adapter,
)
from minilora.methods.lora import DoRAFactors
from minilora.models import GPT, GPTConfig

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
C_ATTN_0 = "base_model.model.transformer.h.0.attn.c_attn"


@pytest.fixture
def folder(tmp_path):
    """A copy of the golden adapter on c_attn, to be changed."""
    return shutil.copytree(GPT2 / "c_attn", tmp_path / "adapter")


def change_config(folder, **fields):
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(content | fields))


def change_tensors(folder, change):
    tensors = load_file(folder / TENSORS)
    change(tensors)
    save_file(tensors, folder / TENSORS)


# ---- what peft computes


def test_the_base_is_that_of_transformers():
    golden = expected()
    np.testing.assert_allclose(logits(gpt2(), golden["ids"]), golden["base"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_of_peft_gives_peft_s_logits(adapter):
    golden, model = expected(), gpt2()
    load_peft(model, GPT2 / adapter)
    np.testing.assert_allclose(logits(model, golden["ids"]), golden[adapter], rtol=0, atol=1e-10)
    assert np.abs(golden[adapter] - golden["base"]).max() > 1


@pytest.mark.parametrize("adapter", ["c_attn", "patterns"])
def test_an_adapter_of_peft_is_an_ordinary_one(adapter):
    golden, model = expected(), gpt2()
    load_peft(model, str(GPT2 / adapter), name="theirs")
    assert adapter_names(model) == ["theirs"]
    merge_lora(model)
    np.testing.assert_allclose(logits(model, golden["ids"]), golden[adapter], rtol=0, atol=1e-10)
    assert trainable_names(model) == [name for name, _ in model.named_parameters() if name.endswith((".A", ".B"))]


def test_the_base_is_back_without_the_adapter():
    golden, model = expected(), gpt2()
    base = logits(model, golden["ids"])
    load_peft(model, GPT2 / "patterns")
    set_adapter(model, None)
    assert same_bits(logits(model, golden["ids"]), base)


def test_c_attn_becomes_three_layers_with_one_A():
    model, tensors = gpt2(), load_file(GPT2 / "c_attn" / TENSORS)
    load_peft(model, GPT2 / "c_attn")
    A, B = tensors[f"{C_ATTN_0}.lora_A.weight"], tensors[f"{C_ATTN_0}.lora_B.weight"]
    for i, letter in enumerate("qkv"):
        layer = dict(model.named_modules())[f"blocks.0.attn.{letter}_proj"]
        assert same_bits(layer.A.data, A) and same_bits(layer.B.data, B[12 * i : 12 * i + 12])
        assert layer.scale == 6 / 4
    assert next(iter(lora_layers(model).values())).factors.config == LoRAConfig(
        rank=4, alpha=6, targets=("q_proj", "k_proj", "v_proj")
    )


def test_ranks_and_alphas_are_those_of_the_first_pattern_that_fits():
    model = gpt2()
    load_peft(model, GPT2 / "patterns")
    layers = lora_layers(model)
    found = {path: (len(layer.A.data), layer.factors.config.alpha_of(path)) for path, layer in layers.items()}
    attention = [f"attn.{letter}_proj" for letter in "qkv"]
    assert found == {
        **{f"blocks.0.{name}": (3, 5) for name in attention},
        **{f"blocks.1.{name}": (5, 5) for name in attention},
        **{"blocks.0.attn.o_proj": (3, 1.5), "blocks.1.attn.o_proj": (3, 5)},
        **{"blocks.0.mlp.fc_in": (3, 7), "blocks.1.mlp.fc_in": (3, 7)},
        **{"blocks.0.mlp.fc_out": (2, 1.5), "blocks.1.mlp.fc_out": (2, 5)},
    }
    layer = layers["blocks.0.mlp.fc_out"]
    assert layer.scale == pytest.approx(1.5 / np.sqrt(2)) and layer.factors.dropout == 0.1


def test_modules_and_biases_that_were_trained_too_are_trainable():
    model = gpt2()
    load_peft(model, GPT2 / "one_layer")
    besides = [name for name in trainable_names(model) if not name.endswith((".A", ".B"))]
    layers = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "mlp.fc_in")
    biases = [f"blocks.1.{layer}.base.bias" for layer in layers]
    assert besides == ["wpe.W", *biases, "ln_f.gain", "ln_f.bias"]
    in_the_file = sum(array.size for array in load_file(GPT2 / "one_layer" / TENSORS).values())
    assert count_parameters(model).trainable == in_the_file + 2 * 2 * 12  # q, k and v have one A there, three here


def test_an_untrained_adapter_keeps_its_rank(folder):
    def no_B(tensors):
        for name in tensors:
            if "lora_B" in name:
                tensors[name][...] = 0

    change_tensors(folder, no_B)
    model, golden = gpt2(), expected()
    load_peft(model, folder)
    assert {layer.A.data.shape for layer in lora_layers(model).values()} == {(4, 12)}
    assert same_bits(logits(model, golden["ids"]), logits(gpt2(), golden["ids"]))


def test_dora_s_lengths_are_cut_like_the_rows_of_B():
    """Also where B is zero: a length may have changed alone."""
    model, tensors = gpt2(), load_file(GPT2 / "dora" / TENSORS)
    load_peft(model, GPT2 / "dora")
    m = tensors[f"{C_ATTN_0}.lora_magnitude_vector"]
    for i, letter in enumerate("qkv"):
        factors = lora_layers(model)[f"blocks.0.attn.{letter}_proj"].factors
        assert type(factors) is DoRAFactors and same_bits(factors.m.data, m[12 * i : 12 * i + 12])
    assert {name.rsplit(".", 1)[1] for name in trainable_names(model)} == {"A", "B", "m"}


def test_a_layer_whose_part_of_B_is_zero_is_adapted_by_dora(tmp_path):
    folder = shutil.copytree(GPT2 / "dora", tmp_path / "adapter")

    def no_k(tensors):
        for name in tensors:
            if "attn.c_attn.lora_B" in name:
                tensors[name][12:24] = 0

    change_tensors(folder, no_k)
    model = gpt2()
    load_peft(model, folder)
    layer = lora_layers(model)["blocks.0.attn.k_proj"]
    assert len(layer.A.data) == 3 and not layer.B.data.any()
    m = load_file(folder / TENSORS)[f"{C_ATTN_0}.lora_magnitude_vector"][12:24]
    np.testing.assert_allclose(np.linalg.norm(layer.base.W.data + layer.delta_W(), axis=1), np.abs(m), rtol=1e-12)


def test_a_layer_whose_part_of_B_is_zero_is_not_adapted(folder):
    def no_k(tensors):
        for name in tensors:
            if "lora_B" in name:
                tensors[name][12:24] = 0

    change_tensors(folder, no_k)
    model = gpt2()
    load_peft(model, folder)
    assert {path.split(".")[-1] for path in lora_layers(model)} == {"q_proj", "v_proj"}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_smaller_numbers_become_the_model_s(folder, dtype):
    tensors = load_file(folder / TENSORS)
    write_as(folder / TENSORS, tensors, dtype)
    model = gpt2()
    load_peft(model, folder)
    A = lora_layers(model)["blocks.0.attn.q_proj"].A.data
    assert A.dtype == "float64"
    precision = {"float32": 1e-7, "float16": 1e-3, "bfloat16": 1e-2}[dtype]
    np.testing.assert_allclose(A, tensors[f"{C_ATTN_0}.lora_A.weight"], rtol=precision)
    assert not np.array_equal(A, tensors[f"{C_ATTN_0}.lora_A.weight"])


def write_as(path, tensors, dtype):
    if dtype != "bfloat16":
        return save_file({name: array.astype(dtype) for name, array in tensors.items()}, path)
    header, data = {}, b""
    for name, array in tensors.items():
        half = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [len(data), len(data) + len(half)]}
        data += half
    header = json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


# ---- fields

SAME = {  # fields that change nothing of what is computed
    "another start": {"init_lora_weights": "gaussian"},
    "no fan_in_fan_out": {"fan_in_fan_out": None},
    "another fan_in_fan_out, which peft sets right": {"fan_in_fan_out": False},
    "any layers, as patterns": {"layers_to_transform": [0, 1], "layers_pattern": []},
    "any layers, as text": {"layers_to_transform": [0, 1], "layers_pattern": ""},
    "layers by a regular expression": {"layers_to_transform": [0, 1], "layers_pattern": "(h|layers?)"},
    "a target that has no layer": {"target_modules": ["c_attn", "ln_f"], "layers_to_transform": [0, 1]},
    "a base": {"base_model_name_or_path": "openai-community/gpt2", "revision": "main", "peft_version": "0.4.0"},
    "a start's settings": {"eva_config": {"rho": 2.0}, "loftq_config": {"loftq_bits": 4}},
    "an unknown field that is off": {"use_the_future": False, "future_config": None, "futures": []},
    "a regular expression": {"target_modules": r".*attn\.c_attn"},
    "a part of the name": {"target_modules": ["attn.c_attn"]},
    "whole names": {"target_modules": ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]},
    "both layers": {"layers_to_transform": [0, 1], "layers_pattern": "h"},
    "no layers": {"layers_to_transform": []},
    "whole names, in whatever layers": {
        "target_modules": ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"],
        "layers_to_transform": [7],
    },
    "all but the rest": {"target_modules": "all-linear", "exclude_modules": ["c_proj", "c_fc"]},
    "an exclusion": {"target_modules": ["c_attn", "c_fc"], "exclude_modules": r".*mlp\.c_fc"},
    "a pattern for others": {"rank_pattern": {"c_fc": 2}, "alpha_pattern": {"attn": 9}},
    "a head that is not there": {"modules_to_save": ["classifier", "score"]},
}


@pytest.mark.parametrize("fields", SAME.values(), ids=SAME.keys())
def test_fields_that_ask_for_the_same(folder, fields):
    change_config(folder, **fields)
    model, golden = gpt2(), expected()
    load_peft(model, folder)
    np.testing.assert_allclose(logits(model, golden["ids"]), golden["c_attn"], rtol=0, atol=1e-10)


def test_the_fields_that_peft_needs_are_enough(folder):
    fields = {"peft_type": "LORA", "target_modules": ["c_attn"], "r": 4, "lora_alpha": 6}
    (folder / CONFIG).write_text(json.dumps(fields))
    model, golden = gpt2(), expected()
    load_peft(model, folder)
    np.testing.assert_allclose(logits(model, golden["ids"]), golden["c_attn"], rtol=0, atol=1e-10)


UNSUPPORTED = {
    "peft_type": "OFT",
    "use_dora": 1,
    "layer_replication": [[0, 2]],
    "lora_bias": True,
    "alora_invocation_tokens": [1],
    "megatron_config": {"tensor_parallel": 2},
    "target_parameters": ["c_attn.weight"],
    "trainable_token_indices": [3],
    "use_qalora": True,
    "use_bdlora": {"nblocks": 2},
    "velora_config": {"num_groups": 64},
    "monteclora_config": {"num_samples": 8},
    "kasa_config": {"beta": 1},
    "arrow_config": {"top_k": 3},
    "ensure_weight_tying": True,
    "use_the_future": True,
    "fan_in_fan_out": "yes",
    "init_lora_weights": "pissa",
    "bias": "some",
    "r": 0,
    "lora_alpha": float("nan"),
    "use_rslora": 1,
    "target_modules": None,
    "exclude_modules": 3,
    "modules_to_save": "ln_f",
    "layers_to_transform": "1",
    "layers_pattern": [0],
    "rank_pattern": [2],
    "alpha_pattern": "c_fc",
}


@pytest.mark.parametrize(("field", "value"), UNSUPPORTED.items(), ids=UNSUPPORTED.keys())
def test_a_field_that_is_not_supported_is_refused_by_its_name_and_value(folder, field, value):
    change_config(folder, **{field: value})
    refused(folder, rf"{CONFIG}: {field} was ")


WRONG_FIELDS = {
    "no such layers": ({"layers_to_transform": [0, 1], "layers_pattern": "layer"}, "the model has no such module"),
    "a regular expression for a part": ({"target_modules": r".*c_att"}, "the model has no such module"),
    "no such module": ({"target_modules": ["query"]}, r"target_modules was \['query'\]; the model has no such module"),
    "an embedding": (
        {"modules_to_save": ["wte"]},
        "modules_to_save named 'wte'; minilora ties transformer.wte.weight to another",
    ),
    "the head": ({"modules_to_save": ["lm_head"]}, "modules_to_save named 'lm_head'"),
    "the same module, whole": ({"modules_to_save": ["c_attn"]}, "target_modules was .*; the model has no such module"),
    "positions to adapt": ({"target_modules": ["c_attn", "wpe"]}, "target_modules meant transformer.wpe; minilora"),
    "the head to adapt": (
        {"target_modules": ["c_attn", "lm_head"]},
        "target_modules meant lm_head; minilora adapts no",
    ),
    "dropout of 10^400": ({"lora_dropout": 10**400}, "lora_dropout was 1000.*; it must be 0 <= lora_dropout < 1"),
    "an alpha of 10^400": ({"lora_alpha": 10**400}, "lora_alpha was 1000.*; it must be a finite number"),
    "a rank of 10^400": ({"r": 10**400}, "r was 1000.*; it must be an integer"),
    "layers of a regular expression": (
        {"target_modules": ".*c_attn", "layers_to_transform": [0]},
        "layers_to_transform was .* target_modules is a regular expression",
    ),
    "no regular expression": ({"target_modules": "(c_attn"}, r"the regular expression '\(c_attn' is refused: missing"),
    "repeated groups": ({"target_modules": r"(\w*\.?)*x"}, "the model has no such module"),
    "forty times one or none": ({"target_modules": ".?" * 40 + "!"}, "the model has no such module"),
    "dropout of 1": ({"lora_dropout": 1.0}, "lora_dropout was 1.0"),
    "a rank of no number": ({"rank_pattern": {"c_attn": "4"}}, "rank_pattern was .*; each rank must be an integer"),
    "a rank of zero": ({"rank_pattern": {"c_attn": 0}}, "rank_pattern was .*; each rank must be an integer"),
    "an infinite alpha": ({"alpha_pattern": {"c_attn": float("inf")}}, "alpha_pattern was .*; each alpha must be"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
def test_a_wrong_field_is_refused_with_its_file(folder, fields, message):
    change_config(folder, **fields)
    refused(folder, rf"{CONFIG}: .*{message}|{CONFIG}: {message}")


# ---- files


def truncated(folder):
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-8])


def longer(folder):
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes() + b"more")


def huge_header(folder):
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes((2**62).to_bytes(8, "little") + content[8:])


def header(**tensors):
    def write(folder):
        text = json.dumps(tensors).encode()
        (folder / TENSORS).write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))

    return write


def without(name):
    return lambda folder: change_tensors(folder, lambda tensors: tensors.pop(name))


def with_tensor(name, *shape, dtype="float64"):
    return lambda folder: change_tensors(folder, lambda tensors: tensors.update({name: np.zeros(shape, dtype)}))


def only_a_pickle(folder):
    (folder / TENSORS).unlink()
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04K\x01.")


A, B = f"{C_ATTN_0}.lora_A.weight", f"{C_ATTN_0}.lora_B.weight"
DAMAGE = {
    "no folder": (lambda folder: shutil.rmtree(folder), f"there is no file .*{CONFIG}"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), f"there is no file .*{CONFIG}"),
    "no tensors": (lambda folder: (folder / TENSORS).unlink(), f"there is no file .*{TENSORS}"),
    "only a pickle": (only_a_pickle, "adapter_model.bin, which can run code and is not opened"),
    "half a configuration": (lambda folder: (folder / CONFIG).write_text('{"r": '), f"{CONFIG} is not JSON"),
    "JSON in Latin-1": (lambda folder: (folder / CONFIG).write_bytes(b'{"r": "\xe9"}'), f"{CONFIG} is not JSON"),
    "a deep configuration": (lambda folder: (folder / CONFIG).write_text("[" * 100_000), f"{CONFIG} is not JSON"),
    "a list": (lambda folder: (folder / CONFIG).write_text("[1]"), f"{CONFIG} holds a list; it must hold"),
    "empty": (lambda folder: (folder / TENSORS).write_bytes(b""), f"{TENSORS} is not a safetensors file"),
    "text": (lambda folder: (folder / TENSORS).write_text("A B " * 100), f"{TENSORS} is not a safetensors file"),
    "truncated": (truncated, f"{TENSORS} is not a safetensors file, or it is damaged"),
    "longer": (longer, f"{TENSORS} is not a safetensors file, or it is damaged"),
    "a huge header": (huge_header, f"{TENSORS} is not a safetensors file, or it is damaged"),
    "offsets outside": (
        header(A={"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 1 << 40]}),
        f"{TENSORS} is not a safetensors file",
    ),
    "offsets backwards": (
        header(A={"dtype": "F32", "shape": [2, 8], "data_offsets": [64, 0]}),
        f"{TENSORS} is not a safetensors file",
    ),
    "another size than the shape's": (
        header(A={"dtype": "F32", "shape": [1 << 40, 8], "data_offsets": [0, 64]}),
        f"{TENSORS} is not a safetensors file",
    ),
    "DoRA without its lengths": (
        lambda folder: change_config(folder, use_dora=True),
        rf"{TENSORS} lacks {C_ATTN_0}.lora_magnitude_vector",
    ),
    "lengths without DoRA": (
        with_tensor(f"{C_ATTN_0}.lora_magnitude_vector", 36),
        rf"{TENSORS} holds {C_ATTN_0}.lora_magnitude_vector, which {CONFIG} does not ask for",
    ),
    "a missing tensor": (without(B), f"{TENSORS} lacks {B}"),
    "an extra tensor": (with_tensor(f"{C_ATTN_0}.lora_C", 2), rf"{TENSORS} holds {C_ATTN_0}.lora_C, which"),
    "an extra layer": (with_tensor(A.replace("h.0", "h.2"), 4, 12), r"holds .*h\.2\.attn.*, which .* lacks"),
    "a name without the prefix": (with_tensor("transformer.wte.weight", 19, 12), "holds transformer.wte.weight, which"),
    "A of another rank": (with_tensor(A, 3, 12), rf"{A} has shape \(3, 12\); .* must be \(4, 12\)"),
    "a transposed B": (with_tensor(B, 4, 36), rf"{B} has shape \(4, 36\); .* must be \(36, 4\)"),
    "integers": (with_tensor(A, 4, 12, dtype="int64"), rf"{A} is I64; it must be one of F64, F32, F16, BF16"),
    "another rank": (lambda folder: change_config(folder, r=3), rf"{A} has shape \(4, 12\); .* must be \(3, 12\)"),
    "another module": (
        lambda folder: change_config(folder, target_modules=["c_fc"]),
        rf"{TENSORS} holds {A}, which {CONFIG} does not ask for",
    ),
    "one layer more than asked for": (
        lambda folder: change_config(folder, layers_to_transform=[0]),
        r"holds .*h\.1\.attn.*, which .* does not ask for",
    ),
    "a module that was not saved": (
        lambda folder: change_config(folder, modules_to_save=["ln_f"]),
        rf"{TENSORS} lacks base_model.model.transformer.ln_f.weight",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_folder_that_is_damaged_is_refused_by_file_and_tensor(folder, damage, message):
    damage(folder)
    refused(folder, message)


def test_a_rank_larger_than_the_matrix_gains_nothing_and_does_no_harm(folder):
    def wider(tensors):
        for name, array in tensors.items():
            tensors[name] = np.pad(array, ((0, 9), (0, 0)) if "lora_A" in name else ((0, 0), (0, 9)))

    change_config(folder, r=13, lora_alpha=6 * 13 / 4)
    change_tensors(folder, wider)
    golden, model = expected(), gpt2()
    load_peft(model, folder)
    np.testing.assert_allclose(logits(model, golden["ids"]), golden["c_attn"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("bias", ["lora_only", "all"])
def test_a_bias_that_was_not_saved_is_the_base_s_and_that_is_said(folder, bias):
    change_config(folder, bias=bias)
    golden, model = expected(), gpt2()
    with pytest.warns(UserWarning, match=f"bias was '{bias}', but {TENSORS} holds no .*bias, which PEFT before"):
        load_peft(model, folder)
    np.testing.assert_allclose(logits(model, golden["ids"]), golden["c_attn"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["default", "weight"])
def test_the_name_of_an_adapter_in_the_names_of_tensors_does_not_matter(folder, name):
    def named(tensors):
        for tensor in list(tensors):
            tensors[tensor.replace(".weight", f".{name}.weight")] = tensors.pop(tensor)

    change_tensors(folder, named)
    golden, model = expected(), gpt2()
    load_peft(model, folder)
    np.testing.assert_allclose(logits(model, golden["ids"]), golden["c_attn"], rtol=0, atol=1e-10)


def test_an_embedding_that_was_saved_along_comes_with_the_adapter(folder):
    """As PEFT saves it of a model whose vocabulary has grown; its head is tied to it."""
    model, golden = gpt2(), expected()
    table = model.wte.W.data + np.random.default_rng(0).standard_normal(model.wte.W.data.shape)
    embedding = {f"base_model.model.{name}.weight": table for name in ("transformer.wte", "lm_head")}
    change_tensors(folder, lambda tensors: tensors.update(embedding))
    load_peft(model, folder)
    other = gpt2()
    other.wte.W.data[...] = table
    load_peft(other, GPT2 / "c_attn")
    assert same_bits(logits(model, golden["ids"]), logits(other, golden["ids"]))
    set_adapter(model, None)
    assert same_bits(logits(model, golden["ids"]), logits(gpt2(), golden["ids"]))
    with_tensor("base_model.model.lm_head.weight", *table.shape)(folder)
    refused(folder, f"{TENSORS}: lm_head.weight differs from transformer.wte.weight, to which minilora ties it")


def test_an_adapter_of_another_model_is_refused(folder):
    model = GPT(GPTConfig(vocab_size=19, n_positions=9, n_layer=2, d_model=8, n_head=2), np.random.default_rng(0))
    refused(folder, rf"{A} has shape \(4, 12\); .* must be \(4, 8\)", model)


def test_a_name_that_is_taken_is_refused(folder):
    model = gpt2()
    apply_lora(model, LoRAConfig(rank=2), rng=np.random.default_rng(0))
    refused(folder, "name was 'default'; the model already has an adapter of this name", model)


def test_a_model_that_peft_has_no_names_for_is_refused(folder):
    with pytest.raises(ValueError, match="model was a Linear; PEFT's names are known for GPT, "):
        load_peft(dict(gpt2().named_modules())["blocks.0.attn.q_proj"], folder)


def refused(folder, message, model=None):
    """Loading raises a ValueError that says so, and changes nothing in the model."""
    model = model or gpt2()
    before, trainable, names = weights_of(model), trainable_names(model), adapter_names(model)
    with pytest.raises(ValueError, match=message):
        load_peft(model, folder)
    assert same_bits(weights_of(model), before)
    assert (trainable_names(model), adapter_names(model)) == (trainable, names)


# ---- something else than a folder of PEFT's


def test_what_a_path_is_instead_is_said_with_what_to_do(folder, tmp_path):
    model = gpt2()
    apply_lora(model, LoRAConfig(rank=2), rng=np.random.default_rng(0))
    (tmp_path / "run").mkdir()
    save_adapter(model, tmp_path / "run" / "adapter.safetensors")
    for function, path, message in (
        (load_adapter, folder, rf"{folder} is a folder that PEFT saved, .* `minilora import-peft {folder} --out "),
        (load_adapter, folder.parent, rf"is a folder; it must be a file of an adapter; there is one in {folder}"),
        (load_adapter, tmp_path / "run", r"run is a folder; the adapter in it is .*run/adapter.safetensors"),
        (load_peft, folder.parent, rf"there is no file .*{CONFIG}; there is one in {folder}"),
        (
            load_peft,
            tmp_path / "run",
            rf"there is no file .*{CONFIG}; .*safetensors is an adapter of minilora's, which",
        ),
        (load_peft, tmp_path / "run" / "adapter.safetensors", r"is a file; PEFT's adapters are folders \(load_adapter"),
        (load_peft, tmp_path / "none", rf"there is no file .*none.{CONFIG}$"),
    ):
        with pytest.raises(ValueError, match=message):
            function(gpt2(), path)
