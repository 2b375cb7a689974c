"""Adapters that peft makes, and the logits that it then computes. Run by the Python that has torch and peft:

    PYTHON peer_peft.py make FOLDER     nine tiny models, some 70 adapters each, and what each says
    PYTHON peer_peft.py read FOLDER     what peft computes with adapters that somebody else wrote there

FOLDER/KIND is a model's folder; FOLDER/KIND/NAME an adapter's; FOLDER/KIND.safetensors has ids, mask and the outputs by
name; FOLDER/KIND.json says what peft itself refused.
"""

import json
import shutil
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

sys.path.append(str(Path(__file__).resolve().parent.parent / "golden"))
from float64 import in_float64

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)

SIZES = {"vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
GPT2 = {"vocab_size": 23, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": 20}
ROBERTA = SIZES | {"max_position_embeddings": 16, "type_vocab_size": 2, "pad_token_id": 1}
DEBERTA = SIZES | {
    "num_attention_heads": 4,  # 3 K is a square then: transformers rounds its root to float32
    "relative_attention": True,
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "position_buckets": 4,
    "max_relative_positions": 16,
    "max_position_embeddings": 16,
    "type_vocab_size": 0,
    "conv_kernel_size": 3,
    "conv_act": "gelu",
    "pad_token_id": 0,
    "layer_norm_eps": 1e-7,
    "pooler_hidden_size": 12,
    "pooler_hidden_act": "gelu",
    "pooler_dropout": 0.0,
}
LLAMA = SIZES | {"num_key_value_heads": 1, "max_position_embeddings": 16}
UNTIED = LLAMA | {"attention_bias": True, "tie_word_embeddings": False}
TIED = LLAMA | {"tie_word_embeddings": True}
MISTRAL = LLAMA | {"sliding_window": None, "head_dim": 6}
LLAMA_NAMES = ("CAUSAL_LM", ["q_proj", "v_proj"], ["gate_proj", "down_proj"], "input_layernorm", "layers")
BERT = ["output.dense", "intermediate.dense"]
MODELS = {  # the class, its configuration, the task, and names of modules: attention's, the MLP's, a norm, the blocks
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2, "CAUSAL_LM", ["c_attn"], ["c_fc", "mlp.c_proj"], "ln_1", "h"),
    "roberta": (
        "RobertaForSequenceClassification",
        "RobertaConfig",
        ROBERTA | {"num_labels": 3},
        "SEQ_CLS",
        ["query", "value"],
        BERT,
        "output.LayerNorm",
        "layer",
    ),
    "masked": ("RobertaForMaskedLM", "RobertaConfig", ROBERTA, None, ["query", "key"], BERT, "LayerNorm", "layer"),
    "encoder": ("RobertaModel", "RobertaConfig", ROBERTA, None, ["query", "value"], BERT, "LayerNorm", "layer"),
    "deberta": (
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        DEBERTA | {"num_labels": 3},
        "SEQ_CLS",
        ["query_proj", "value_proj"],
        BERT,
        "output.LayerNorm",
        "layer",
    ),
    "deberta-encoder": (
        "DebertaV2Model",
        "DebertaV2Config",
        DEBERTA,
        None,
        ["key_proj", "value_proj"],
        BERT,
        "output.LayerNorm",
        "layer",
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", UNTIED, *LLAMA_NAMES),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", TIED, *LLAMA_NAMES),
    "mistral": ("MistralForCausalLM", "MistralConfig", MISTRAL, *LLAMA_NAMES),
}
HEADS = {
    "gpt2": ["lm_head"],
    "roberta": ["classifier.dense", "classifier.out_proj"],
    "masked": ["lm_head.dense", "lm_head.decoder"],
    "encoder": ["pooler.dense"],
    "deberta": ["pooler.dense", "classifier"],
    "deberta-encoder": ["rel_embeddings"],
    "llama": ["lm_head"],
    "qwen2": ["lm_head"],
    "mistral": ["lm_head"],
}
DECODERS = ("gpt2", "llama", "qwen2", "mistral")
DENSE = {"gpt2": "c_proj", "llama": "o_proj", "qwen2": "o_proj", "mistral": "o_proj"}  # what others call dense
EMBEDDING = {"gpt2": "wte", "llama": "embed_tokens", "qwen2": "embed_tokens", "mistral": "embed_tokens"}
POSITIONS = {"gpt2": "wpe", "deberta": "rel_embeddings", "deberta-encoder": "rel_embeddings"}


def configurations(kind):
    """What is asked of peft, by name: settings of LoraConfig, and with a leading "file." changes of the saved file."""
    *_, task, attention, mlp, norm, blocks = MODELS[kind]
    first, word = attention[0], EMBEDDING.get(kind, "word_embeddings")
    both = [*attention, *mlp]
    whole = [name for name, _ in new_model(kind).named_modules() if name.endswith(first)]
    cases = {
        "default": {},
        "rank 1": {"r": 1},
        "rank 5, alpha 3": {"r": 5, "lora_alpha": 3},
        "alpha 0": {"lora_alpha": 0},
        "alpha below 0": {"lora_alpha": -2.5},
        "rank above the matrix": {"r": 17, "target_modules": both},
        "dropout": {"lora_dropout": 0.3},
        "dropout 1": {"lora_dropout": 1.0},
        "rslora": {"use_rslora": True, "r": 3},
        "dora": {"use_dora": True},
        "dora, rslora": {"use_dora": True, "use_rslora": True, "target_modules": both},
        "dora, all-linear": {"use_dora": True, "target_modules": "all-linear"},
        "mlp": {"target_modules": mlp},
        "both": {"target_modules": both},
        "one letter": {"target_modules": attention[:1]},
        "whole names": {"target_modules": whole},
        "whole names, layers": {"target_modules": whole, "layers_to_transform": [9]},
        "all-linear": {"target_modules": "all-linear"},
        "all-linear, upper": {"target_modules": "ALL-Linear"},
        "all-linear in the file": {"target_modules": "all-linear", "file.target_modules": "all-linear"},
        "dense": {"target_modules": [DENSE.get(kind, "dense")]},
        "dense, no task": {"target_modules": [DENSE.get(kind, "dense")], "task_type": None},
        "heads": {"target_modules": [*attention, *HEADS[kind]]},
        "heads, no task": {"target_modules": [*attention, *HEADS[kind]], "task_type": None},
        "all-linear, no task": {"target_modules": "all-linear", "task_type": None},
        "regex": {"target_modules": rf".*({'|'.join(attention)})"},
        "regex of blocks": {"target_modules": rf".*\.1\..*{first}"},
        "regex, all": {"target_modules": r".*\.[01]\..*(" + "|".join(n.replace(".", r"\.") for n in both) + ")"},
        "exclude list": {"target_modules": both, "exclude_modules": mlp[:1]},
        "exclude regex": {"target_modules": both, "exclude_modules": r".*\.0\..*"},
        "exclude whole": {"target_modules": attention, "exclude_modules": whole[:1]},
        "layers": {"layers_to_transform": [1]},
        "layers, a number": {"layers_to_transform": 0},
        "layers, none": {"layers_to_transform": []},
        "layers, dense": {
            "target_modules": [DENSE.get(kind, "dense")],
            "layers_to_transform": [0],
        },
        "layers, heads": {"target_modules": [*attention, *HEADS[kind]], "layers_to_transform": [0]},
        "layers, pattern": {"layers_to_transform": [1], "layers_pattern": blocks},
        "layers, patterns": {"layers_to_transform": [1], "layers_pattern": ["nothing", blocks]},
        "layers, empty pattern": {"layers_to_transform": [1], "layers_pattern": []},
        "layers, empty text": {"layers_to_transform": [1], "layers_pattern": ""},
        "layers, regex": {"layers_to_transform": [0], "layers_pattern": "(h|la.*r|layers)"},
        "rank pattern": {"target_modules": both, "rank_pattern": {first: 2, mlp[0]: 6}},
        "rank pattern regex": {"target_modules": both, "rank_pattern": {rf".*\.0\..*{first}": 2, r"^.*\.1\..*": 5}},
        "alpha pattern": {"target_modules": both, "alpha_pattern": {first: 2, mlp[0]: 0.5}},
        "patterns": {"target_modules": both, "rank_pattern": {first: 3}, "alpha_pattern": {r"\d+\..*": 7}},
        "alpha pattern 0": {"target_modules": both, "alpha_pattern": {first: 0}},
        "bias all": {"bias": "all"},
        "bias all, both": {"bias": "all", "target_modules": both, "task_type": None},
        "bias all, all-linear": {"bias": "all", "target_modules": "all-linear"},
        "bias lora_only": {"bias": "lora_only"},
        "bias lora_only, all-linear": {"bias": "lora_only", "target_modules": "all-linear"},
        "bias lora_only, old file": {"bias": "lora_only", "file.without": "base_layer.bias"},
        "bias all, dora": {"bias": "all", "use_dora": True},
        "norms": {"modules_to_save": [norm]},
        "norms and bias": {"modules_to_save": [norm], "bias": "all"},
        "positions": {"modules_to_save": [POSITIONS.get(kind, "position_embeddings")]},
        "embedding saved": {"modules_to_save": [word]},
        "heads saved": {"modules_to_save": HEADS[kind]},
        "mlp saved": {"modules_to_save": mlp[:1]},
        "attention saved": {"modules_to_save": [first], "target_modules": mlp},
        "block saved": {"modules_to_save": [f"{blocks}.1"]},
        "all embeddings saved": {"modules_to_save": [EMBEDDING.get(kind, "embeddings")]},
        "lm_head saved": {"modules_to_save": ["lm_head"]},
        "lm_head adapted": {"target_modules": [*attention, "lm_head"]},
        "embedding adapted": {"target_modules": [*attention, word]},
        "embedding alone": {"target_modules": [word]},
        "embedding along": {"along": True},
        "conv": {"target_modules": [*attention, "conv.conv"]},
        "tokens": {"trainable_token_indices": {word: [1, 3]}},
        "tokens, a list": {"trainable_token_indices": [2]},
        "tied": {"modules_to_save": [word], "ensure_weight_tying": True},
        "gaussian": {"init_lora_weights": "gaussian"},
        "no init": {"init_lora_weights": False},
        "orthogonal": {"init_lora_weights": "orthogonal", "r": 4},
        "olora": {"init_lora_weights": "olora"},
        "pissa": {"init_lora_weights": "pissa"},
        "fan_in_fan_out": {"fan_in_fan_out": True, "file.fan_in_fan_out": True},
        "no fan_in_fan_out": {"fan_in_fan_out": False, "file.fan_in_fan_out": False},
        "lora_bias": {"lora_bias": True},
        "target_parameters": {"target_parameters": [f"{norm}.weight"], "target_modules": attention},
        "replication": {"layer_replication": [[0, 2], [1, 2]]},
        "a minimal file": {"file.only": ["peft_type", "target_modules", "r", "lora_alpha", "modules_to_save"]},
        "default in names": {"file.named": True},
    }
    settings = {"r": 4, "lora_alpha": 6, "target_modules": attention, "task_type": task}
    return {name: settings | case for name, case in cases.items()}


def new_model(kind):
    name, config, sizes, *_ = MODELS[kind]
    torch.manual_seed(0)
    config = getattr(transformers, config)(**sizes, bos_token_id=0, eos_token_id=2)
    config.pad_token_id = sizes.get("pad_token_id")
    return randomised(getattr(transformers, name)(config).double().eval(), 1, 0.3)


def randomised(model, seed, size, only_trainable=False):
    draw = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        if p.requires_grad or not only_trainable:
            p.data += size * torch.randn(p.shape, generator=draw, dtype=p.dtype)
    return model


def inputs(kind):
    draw = np.random.default_rng(2)
    ids = draw.integers(4, 23, (3, 7))
    mask = np.ones((3, 7), bool)
    if kind not in DECODERS:
        mask[1, 5:] = mask[2, 3:] = False
        ids[~mask] = MODELS[kind][2]["pad_token_id"]
    return ids, mask


def outputs(kind, model):
    ids, mask = inputs(kind)
    with torch.no_grad():
        result = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long())
    return np.where(mask[..., None] if result[0].dim() == 3 else True, result[0].numpy(), 0.0)


def load(kind, folder, adapter):
    model = getattr(transformers, MODELS[kind][0]).from_pretrained(folder, dtype=torch.float64).eval()
    return peft.PeftModel.from_pretrained(model, folder / adapter, autocast_adapter_dtype=False).eval()


def precision(kind):
    """transformers computes a Llama in float32, whatever its dtype, unless it is told otherwise."""
    return in_float64() if "num_key_value_heads" in MODELS[kind][2] else nullcontext()


def make(root):
    for kind in MODELS:
        with precision(kind):
            make_kind(root, kind)


def make_kind(root, kind):
    folder = root / kind
    new_model(kind).save_pretrained(folder)
    ids, mask = inputs(kind)
    found = {"ids": ids, "mask": mask, "base": outputs(kind, new_model(kind))}
    refused = {}
    for name, settings in configurations(kind).items():
        try:
            made = make_adapter(kind, folder / name, dict(settings))
            found[f"out.{name}"] = outputs(kind, load(kind, folder, name))
            if made is not None and np.abs(found[f"out.{name}"] - made).max() > 1e-10:
                print(kind, name, "peft does not read back what it wrote", np.abs(found[f"out.{name}"] - made).max())
        except Exception as error:  # whatever peft says
            found.pop(f"out.{name}", None)
            refused[name] = f"{type(error).__name__}: {error}"[:300]
    save_file(found, root / f"{kind}.safetensors")
    (root / f"{kind}.json").write_text(json.dumps(refused))


def make_adapter(kind, folder, settings):
    changes = {key: settings.pop(key) for key in list(settings) if key.startswith("file.") or key == "along"}
    model = peft.get_peft_model(new_model(kind), peft.LoraConfig(**settings), autocast_adapter_dtype=False).eval()
    randomised(model, 3, 0.4, only_trainable=True)
    if "along" in changes:
        randomised(model.get_input_embeddings(), 4, 0.4)
    model.save_pretrained(folder, save_embedding_layers="along" in changes)
    config_file, tensors_file = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    config, tensors = json.loads(config_file.read_text()), load_file(tensors_file)
    made = outputs(kind, model)
    for key, value in changes.items():
        _, _, field = key.partition(".")
        if field == "only":
            config = {name: config[name] for name in value}
        elif field == "without":
            tensors = {name: array for name, array in tensors.items() if value not in name}
            made = None
        elif field == "named":
            tensors = {
                name.replace(".weight", ".default.weight") if "lora_" in name else name: array
                for name, array in tensors.items()
            }
            made = None
        elif field:
            config[field] = value
    config_file.write_text(json.dumps(config))
    save_file(tensors, tensors_file, metadata={"format": "pt"})
    return made


def read(root):
    for kind in MODELS:
        with precision(kind):
            read_kind(root, kind)


def read_kind(root, kind):
    folder = root / kind
    adapters = sorted(path.name for path in folder.glob("ours *"))
    found, refused = {}, {}
    for name in adapters:
        try:
            found[name] = outputs(kind, load(kind, folder, name))
        except Exception as error:
            refused[name] = f"{type(error).__name__}: {error}"[:300]
    save_file(found, root / f"{kind}.read.safetensors")
    (root / f"{kind}.read.json").write_text(json.dumps(refused))


if __name__ == "__main__":
    action, root = sys.argv[1], Path(sys.argv[2])
    if action == "make" and root.exists():
        shutil.rmtree(root)
    {"make": make, "read": read}[action](root)
