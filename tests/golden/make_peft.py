"""Make tests/golden/peft/: tiny models of transformers, adapters that peft saved for them, and their logits.

    PYTHONHASHSEED=0 python tests/golden/make_peft.py        (peft writes sets in the order of their hashes)

    PYTHONHASHSEED=0 python tests/golden/make_peft.py llama        (one of them)

It needs torch, transformers and peft (0.21); `make test` only reads the files. Each model's folder holds, in float64
and at a generic point (no gain is 1, no bias 0, no B zero),

    config.json, model.safetensors       the base, as `save_pretrained` writes it
    c_attn/, patterns/, ...              adapters, as peft writes them
    expected.safetensors                 ids, and the logits without an adapter ("base") and with each
"""

import sys
from pathlib import Path

import torch
import transformers
from float64 import in_float64
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parent / "peft"
GPT2 = transformers.GPT2Config(
    vocab_size=19, n_positions=9, n_embd=12, n_layer=2, n_head=4, n_inner=20, bos_token_id=0, eos_token_id=0
)
BERT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20, "num_labels": 5}
ROBERTA = transformers.RobertaConfig(
    vocab_size=23, max_position_embeddings=11, type_vocab_size=1, layer_norm_eps=1e-5, **BERT
)
DEBERTA = transformers.DebertaV2Config(
    vocab_size=23,
    max_position_embeddings=11,
    type_vocab_size=0,
    relative_attention=True,
    position_buckets=4,
    max_relative_positions=-1,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
    pos_att_type="p2c|c2p",
    position_biased_input=False,
    conv_kernel_size=3,
    conv_act="gelu",
    pooler_hidden_size=12,
    pooler_hidden_act="gelu",
    **BERT,
)
SIZES = {
    "vocab_size": 19,
    "max_position_embeddings": 9,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "intermediate_size": 20,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
LLAMA = transformers.LlamaConfig(**SIZES, attention_bias=True)
QWEN2 = transformers.Qwen2Config(**SIZES, tie_word_embeddings=True)
MISTRAL = transformers.MistralConfig(**SIZES, head_dim=6, sliding_window=None)
ADAPTERS = {
    "gpt2": {
        "c_attn": {"r": 4, "lora_alpha": 6, "target_modules": ["c_attn"]},
        "patterns": {
            "r": 3,
            "lora_alpha": 5,
            "lora_dropout": 0.1,
            "use_rslora": True,
            "target_modules": ["c_attn", "c_proj", "c_fc"],
            "rank_pattern": {"mlp.c_proj": 2, "h.1.attn.c_attn": 5},
            "alpha_pattern": {"c_fc": 7, r"h\.0\..*c_proj": 1.5},
        },
        "one_layer": {
            "r": 2,
            "target_modules": ["c_attn", "mlp.c_fc"],
            "layers_to_transform": [1],
            "modules_to_save": ["ln_f", "wpe"],
            "bias": "lora_only",
        },
        "regex": {
            "r": 2,
            "target_modules": r".*\.c_(proj|fc)",
            "exclude_modules": ["h.0.mlp.c_proj"],
            "init_lora_weights": "gaussian",
            "bias": "all",
        },
        "dora": {
            "r": 3,
            "lora_alpha": 5,
            "use_dora": True,
            "target_modules": ["c_attn", "mlp.c_proj"],
            "rank_pattern": {"mlp.c_proj": 2},
        },
    },
    "roberta": {
        "default": {"r": 2, "lora_alpha": 3, "task_type": "SEQ_CLS"},
        "one_layer": {
            "r": 3,
            "target_modules": ["query", "key", "value", "attention.output.dense", "intermediate.dense"],
            "rank_pattern": {"intermediate.dense": 2},
            "layers_to_transform": [0],
            "layers_pattern": "layer",
        },
        "dora": {"r": 2, "lora_alpha": 3, "use_dora": True, "use_rslora": True, "task_type": "SEQ_CLS"},
    },
    "roberta_masked_lm": {
        "default": {"r": 2, "lora_alpha": 3},
        "head": {
            "r": 3,
            "lora_alpha": 5,
            "use_rslora": True,
            "target_modules": ["query", "output.dense", "lm_head.dense"],
            "modules_to_save": ["lm_head.layer_norm"],
        },
        "whole_head": {"r": 2, "target_modules": ["key"], "modules_to_save": ["lm_head.dense", "lm_head.layer_norm"]},
        "dora": {"r": 2, "lora_alpha": 3, "use_dora": True, "task_type": "FEATURE_EXTRACTION"},
    },
    "deberta": {
        "default": {"r": 2, "lora_alpha": 3, "task_type": "SEQ_CLS"},
        "pooler": {"r": 2, "target_modules": ["output.dense"], "modules_to_save": ["classifier", "pooler"]},
        "dora": {"r": 2, "lora_alpha": 3, "use_dora": True, "target_modules": ["query_proj", "output.dense"]},
    },
    "llama": {
        "default": {"r": 2, "lora_alpha": 3, "task_type": "CAUSAL_LM"},
        "all_linear": {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": "all-linear"},
        "head": {
            "r": 2,
            "target_modules": ["k_proj", "lm_head", "up_proj"],
            "modules_to_save": ["embed_tokens", "model.norm"],
            "rank_pattern": {"lm_head": 4},
        },
        "dora": {"r": 2, "lora_alpha": 3, "use_dora": True, "target_modules": ["v_proj", "o_proj", "down_proj"]},
        "biases": {"r": 2, "target_modules": ["q_proj", "gate_proj"], "bias": "all", "modules_to_save": ["lm_head"]},
    },
    "qwen2": {
        "all_linear": {"r": 2, "lora_alpha": 3, "target_modules": "all-linear", "bias": "lora_only"},
        "regex": {"r": 2, "target_modules": r".*\.1\..*(q|down)_proj", "modules_to_save": ["input_layernorm"]},
    },
    "mistral": {
        "patterns": {
            "r": 2,
            "lora_alpha": 3,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj"],
            "rank_pattern": {"layers.0.self_attn.q_proj": 3},
            "alpha_pattern": {r"1\..*k_proj": 7},
        },
    },
}
MODELS = {
    "gpt2": (transformers.GPT2LMHeadModel, GPT2),
    "roberta": (transformers.RobertaForSequenceClassification, ROBERTA),
    "roberta_masked_lm": (transformers.RobertaForMaskedLM, ROBERTA),
    "deberta": (transformers.DebertaV2ForSequenceClassification, DEBERTA),
    "llama": (transformers.LlamaForCausalLM, LLAMA),
    "qwen2": (transformers.Qwen2ForCausalLM, QWEN2),
    "mistral": (transformers.MistralForCausalLM, MISTRAL),
}


def make(kind):
    model_class, config = MODELS[kind]
    folder = FOLDER / kind
    torch.manual_seed(0)
    model = model_class(config).double().eval()
    to_a_generic_point(model.parameters())
    model.save_pretrained(folder)
    ids = torch.randint(2, config.vocab_size, (3, 7))
    expected = {"ids": ids, "base": logits_of(model, ids)}
    for name, settings in ADAPTERS[kind].items():
        base = model_class(config).double()
        base.load_state_dict(model.state_dict())
        adapted = get_peft_model(base, LoraConfig(**settings)).double().eval()
        to_a_generic_point(p for p in adapted.parameters() if p.requires_grad)
        adapted.save_pretrained(folder / name)
        (folder / name / "README.md").unlink()
        expected[name] = logits_of(adapted, ids)
    save_file(expected, folder / "expected.safetensors")


def to_a_generic_point(parameters):
    with torch.no_grad():
        for p in parameters:
            p.copy_(0.4 * torch.randn_like(p) + (p.ndim == 1))


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids).logits.contiguous()


if __name__ == "__main__":
    with in_float64():
        for kind in sys.argv[1:] or MODELS:
            make(kind)
