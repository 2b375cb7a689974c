"""The files of peft's other methods, written by hand: no peft is needed to see that they are read and written."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from methods.every import EVERY, tiny_adapted
from methods.tiny import CONFIG, some_batch, tiny_gpt
from minilora.interop import load_peft, save_peft
from minilora.methods import IA3Config, apply_ia3, method_of
from minilora.models import RobertaForClassification
from models.tiny_encoders import IDS, MASK, tiny

SHORT = some_batch(T=4)
C, F = CONFIG.d_model, CONFIG.d_mlp
GPT2 = "base_model.model.transformer"


def logits(model):
    return model.forward(SHORT.ids)[0]


def written(folder, config, tensors):
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


IA3 = {"peft_type": "IA3", "target_modules": ["c_attn", "mlp.c_proj"], "feedforward_modules": ["mlp.c_proj"]}


def ia3_tensors(draw):
    shapes = {"attn.c_attn": (3 * C, 1), "mlp.c_proj": (1, F)}
    return {
        f"{GPT2}.h.{i}.{module}.ia3_l": draw.standard_normal(shape)
        for i in range(CONFIG.n_layer)
        for module, shape in shapes.items()
    }


def test_ia3_scales_the_rows_of_c_attn_with_their_bias_and_the_columns_of_the_mlps_c_proj(tmp_path):
    """Against a base whose weights are scaled by hand."""
    tensors = ia3_tensors(np.random.default_rng(0))
    model, by_hand = tiny_gpt(), tiny_gpt()
    load_peft(model, written(tmp_path / "ia3", IA3, tensors))
    for i, block in enumerate(by_hand.blocks):
        l = tensors[f"{GPT2}.h.{i}.attn.c_attn.ia3_l"].reshape(3, C)
        for factor, layer in zip(l, (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj), strict=True):
            layer.W.data *= factor[:, None]
            layer.bias.data *= factor
        block.mlp.fc_out.W.data *= tensors[f"{GPT2}.h.{i}.mlp.c_proj.ia3_l"]
    assert np.allclose(logits(model), logits(by_hand), rtol=0, atol=1e-12)
    assert method_of(model) == IA3Config(("q_proj", "k_proj", "v_proj", "fc_out"), ("fc_out",))


def test_ia3_comes_out_as_it_came_in_to_the_bit(tmp_path):
    model = tiny_gpt()
    load_peft(model, written(tmp_path / "in", IA3, ia3_tensors(np.random.default_rng(0))))
    save_peft(model, tmp_path / "out")
    theirs, ours = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("in", "out"))
    assert theirs.keys() == ours.keys() and all(np.array_equal(theirs[name], ours[name]) for name in theirs)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert set(config["feedforward_modules"]) <= set(config["target_modules"]) and config["fan_in_fan_out"] is True


def test_a_layer_that_is_not_scaled_has_ones_in_a_fused_module_and_is_left_out_again(tmp_path):
    model, again = tiny_adapted(EVERY["ia3"]), tiny_gpt()
    save_peft(model, tmp_path / "out")
    l = load_file(tmp_path / "out" / "adapter_model.safetensors")[f"{GPT2}.h.0.attn.c_attn.ia3_l"]
    assert l.shape == (3 * C, 1) and (l[:C] == 1).all() and (l[C:] != 1).any()
    load_peft(again, tmp_path / "out")
    assert method_of(again) == IA3Config(("k_proj", "v_proj", "fc_out"), ("fc_out",))
    assert np.allclose(logits(again), logits(model), rtol=0, atol=1e-14)


def test_inputs_of_one_layer_of_a_fused_module_have_no_place(tmp_path):
    with pytest.raises(ValueError, match=r"blocks.0.attn.q_proj reads the inputs of all of PEFT's transformer.h.0"):
        save_peft(tiny_adapted(EVERY["ia3, everywhere"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_one_block_scales_inputs_the_names_of_feedforward_are_among_the_targets(tmp_path):
    """PEFT refuses other names, even if they mean the same modules."""
    model, again = tiny_gpt(), tiny_gpt()
    apply_ia3(model, IA3Config(("fc_out",), ("blocks.1.mlp.fc_out",)))
    for p in model.trainable_parameters():
        p.data += np.random.default_rng(p.size).standard_normal(p.shape)
    save_peft(model, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert set(config["feedforward_modules"]) <= set(config["target_modules"])
    load_peft(again, tmp_path / "out")
    assert np.allclose(logits(again), logits(model), rtol=0, atol=1e-14)


WRONG = {
    "a norm": ({"target_modules": ["c_attn", "ln_1"]}, {}, "target_modules was .*, and transformer.h.0.ln_1 is none"),
    "nothing": ({"target_modules": ["magic"]}, {}, r"target_modules was \['magic'\]; it must name linear modules"),
    "no list": ({"feedforward_modules": 3}, {}, "target_modules was 3; it must be a list of names"),
    "no targets": ({"target_modules": None}, {}, "target_modules was None; it must be a list of names"),
    "more than IA3": ({"modules_to_save": ["ln_1"]}, {}, "modules_to_save named .*nothing but a new head"),
    "an unknown field": ({"magic": 1}, {}, "magic was 1; minilora does not compute this"),
    "another shape": (
        {},
        {f"{GPT2}.h.0.mlp.c_proj.ia3_l": np.ones((F, 1))},
        r"has shape \(10, 1\).* must be \(1, 10\)",
    ),
    "not finite": ({}, {f"{GPT2}.h.0.mlp.c_proj.ia3_l": np.full((1, F), np.nan)}, "NaN"),
}


@pytest.mark.parametrize(("fields", "changed", "message"), WRONG.values(), ids=WRONG)
def test_an_ia3_that_cannot_be_read_is_refused_by_its_field_or_tensor(tmp_path, fields, changed, message):
    model = tiny_gpt()
    folder = written(tmp_path / "ia3", IA3 | fields, ia3_tensors(np.random.default_rng(0)) | changed)
    with pytest.raises(ValueError, match=message):
        load_peft(model, folder)
    assert method_of(model) is None


def test_a_tensor_that_is_lacking_is_named(tmp_path):
    tensors = ia3_tensors(np.random.default_rng(0))
    del tensors[f"{GPT2}.h.1.mlp.c_proj.ia3_l"]
    with pytest.raises(ValueError, match=r"lacks base_model.model.transformer.h.1.mlp.c_proj.ia3_l"):
        load_peft(tiny_gpt(), written(tmp_path / "ia3", IA3, tensors))


def test_a_classifiers_head_goes_with_ia3(tmp_path):
    model, other = (tiny(RobertaForClassification) for _ in range(2))
    apply_ia3(model, IA3Config())
    for p in model.trainable_parameters():
        p.data += np.random.default_rng(1).standard_normal(p.data.shape)
    save_peft(model, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["classifier"] and config["task_type"] == "SEQ_CLS"
    load_peft(other, tmp_path / "out")
    ids, mask = IDS, MASK
    assert np.allclose(other.forward(ids, mask)[0], model.forward(ids, mask)[0], rtol=0, atol=1e-14)


# ---- prompt tuning, trained tokens, LoRA on the embedding

DRAW = np.random.default_rng(3)
PROMPT = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "token_dim": C}
TOKENS = {"peft_type": "TRAINABLE_TOKENS", "token_indices": [2, 7], "target_modules": ["wte"]}
EMBEDDING = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": ["wte"]}
FILES = {
    "prompt": (PROMPT, {"prompt_embeddings": DRAW.standard_normal((3, C))}),
    "tokens": (TOKENS, {f"{GPT2}.wte.trainable_tokens_delta": DRAW.standard_normal((2, C))}),
    "embedding": (
        EMBEDDING,
        {
            f"{GPT2}.wte.lora_embedding_A": DRAW.standard_normal((2, CONFIG.vocab_size)),
            f"{GPT2}.wte.lora_embedding_B": DRAW.standard_normal((C, 2)),
        },
    ),
}


def loaded(folder, name, **changed):
    model = tiny_gpt()
    load_peft(model, written(folder / name, FILES[name][0] | changed, FILES[name][1]))
    return model


@pytest.mark.parametrize("name", FILES)
def test_what_comes_in_goes_out_to_the_bit_with_the_fields_that_peft_needs(name, tmp_path):
    model = loaded(tmp_path, name)
    save_peft(model, tmp_path / "out")
    theirs, ours = FILES[name][1], load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert theirs.keys() == ours.keys() and all(np.array_equal(theirs[key], ours[key]) for key in theirs)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    same = FILES[name][0].keys() - {"target_modules"}
    assert {key: config[key] for key in same} == {key: FILES[name][0][key] for key in same}


def test_trained_tokens_are_rows_of_the_embedding_and_of_the_tied_head(tmp_path):
    by_hand = tiny_gpt()
    by_hand.wte.W.data[[2, 7]] = FILES["tokens"][1][f"{GPT2}.wte.trainable_tokens_delta"]
    assert np.allclose(logits(loaded(tmp_path, "tokens")), logits(by_hand), rtol=0, atol=1e-12)


def test_lora_on_the_embedding_is_added_to_the_lookup_and_not_to_the_tied_head(tmp_path):
    base, by_hand = tiny_gpt(), tiny_gpt()
    A, B = FILES["embedding"][1].values()
    by_hand.wte.W.data += 1.5 * (B @ A).T
    x, _ = by_hand.hidden(SHORT.ids)
    assert np.allclose(logits(loaded(tmp_path, "embedding")), x @ base.wte.W.data.T, rtol=0, atol=1e-12)


def test_embeddings_in_front_are_read_before_every_input(tmp_path):
    model, by_hand = loaded(tmp_path, "prompt"), tiny_gpt()
    P = FILES["prompt"][1]["prompt_embeddings"]
    by_hand.wte.W.data = np.concatenate([by_hand.wte.W.data, P])  # as three more tokens
    ids = np.concatenate([np.broadcast_to(CONFIG.vocab_size + np.arange(3), (3, 3)), SHORT.ids], axis=1)
    x = by_hand.wte.W.data[ids] + by_hand.wpe.W.data[:7]
    x, _ = by_hand.ln_f.forward(by_hand.run_blocks(x)[0])
    expected = x @ tiny_gpt().wte.W.data.T
    assert np.allclose(model.forward(ids)[0], expected, rtol=0, atol=1e-12)


REFUSED = {
    "a number that is none": (
        "prompt",
        {"num_virtual_tokens": "3"},
        "num_virtual_tokens was '3'; it must be an",
    ),
    "another number": ("prompt", {"num_virtual_tokens": 4}, r"prompt_embeddings has shape \(3, 6\); .* \(4, 6\)"),
    "a prompt of an encoder": (
        "prompt",
        {"task_type": "SEQ_CLS"},
        "task_type was 'SEQ_CLS'; minilora has",
    ),
    "two submodules": (
        "prompt",
        {"num_transformer_submodules": 2},
        "num_transformer_submodules was 2",
    ),
    "no ids": ("tokens", {"token_indices": []}, r"token_indices was \[\]; it must be several ids"),
    "an id twice": ("tokens", {"token_indices": [2, 2]}, r"token_indices was \[2, 2\]; it must be several ids"),
    "an id too large": ("tokens", {"token_indices": [2, 11]}, "tokens had 11; each must be from 0 to 10"),
    "another module": ("tokens", {"target_modules": ["wpe"]}, "target_modules was .* it must be the token embedding"),
    "DoRA": (
        "embedding",
        {"use_dora": True},
        "transformer.wte; minilora has no DoRA on an embedding",
    ),
    "positions": ("embedding", {"target_modules": ["wpe"]}, "target_modules meant transformer.wpe; minilora adapts no"),
    "a tied head": (
        "embedding",
        {"target_modules": ["wte", "lm_head"]},
        "target_modules meant lm_head; .* tied head",
    ),
}


@pytest.mark.parametrize(("name", "changed", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_by_its_field(name, changed, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, name, **changed)
