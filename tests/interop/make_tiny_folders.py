"""Tiny Hugging Face folders with random weights and real tokenizers, made without torch or transformers:

    python tests/interop/make_tiny_folders.py FOLDER        FOLDER/gpt2, FOLDER/llama, FOLDER/qwen2

Each has config.json, model.safetensors (float32), and a byte-level tokenizer of 256 bytes, a few special tokens and
some merges, so that any text can be encoded. GPT-2's folder is an old one where `old_tokenizer` is true: vocab.json
and merges.txt, and no tokenizer.json. Llama's and Qwen2's have a chat template. The names are written out here, and
not taken from minilora, so that a mistake in one of the two is found.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tokenizers
from safetensors.numpy import save_file

N_POSITIONS = 256
TEXTS = [
    "The river is long and the road is short. The house by the river is old, and the road to the house is new.",
    "The Eagle is a coffee shop in the city centre. It serves Italian food at a low price, and it is family friendly.",
    "def add(first, second):\n    return first + second\n",
]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_pairs(special, vocab_size, digits=False):
    """A byte-level tokenizer, trained on TEXTS."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    single = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([single, byte_level]) if digits else byte_level
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=byte_level.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def write(folder, config, tensors, tokenizer, settings, old_tokenizer=False):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    save_file(
        {name: array.astype("float32") for name, array in tensors}, folder / "model.safetensors", {"format": "pt"}
    )
    if old_tokenizer:
        tokenizer.model.save(str(folder))
    else:
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_gpt2(folder, *, seed=0, old_tokenizer=False):
    """A GPT2LMHeadModel: L = 2, C = 32, H = 4."""
    tokenizer = byte_pairs(["<|endoftext|>"], 300)
    V, L, C = tokenizer.get_vocab_size(), 2, 32
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "vocab_size": V,
        "n_positions": N_POSITIONS,
        "n_embd": C,
        "n_layer": L,
        "n_head": 4,
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    rng = np.random.default_rng(seed)

    def tensors():
        yield "transformer.wte.weight", 0.1 * rng.standard_normal((V, C))
        yield "transformer.wpe.weight", 0.1 * rng.standard_normal((N_POSITIONS, C))
        for h in (f"transformer.h.{i}" for i in range(L)):
            yield from norm(f"{h}.ln_1")
            yield from conv1d(f"{h}.attn.c_attn", C, 3 * C)
            yield from conv1d(f"{h}.attn.c_proj", C, C)
            yield from norm(f"{h}.ln_2")
            yield from conv1d(f"{h}.mlp.c_fc", C, 4 * C)
            yield from conv1d(f"{h}.mlp.c_proj", 4 * C, C)
        yield from norm("transformer.ln_f")

    def norm(name):
        yield f"{name}.weight", 1 + 0.1 * rng.standard_normal(C)
        yield f"{name}.bias", 0.1 * rng.standard_normal(C)

    def conv1d(name, I, O):
        yield f"{name}.weight", rng.standard_normal((I, O)) / I**0.5
        yield f"{name}.bias", 0.1 * rng.standard_normal(O)

    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>", "model_max_length": N_POSITIONS}
    return write(Path(folder), config, tensors(), tokenizer, settings, old_tokenizer)


def make_llama(folder, *, seed=0, kind="llama", **changes):
    """A LlamaForCausalLM, or a Qwen2ForCausalLM: L = 2, C = 32, H = 4, G = 2, F = 48, tied.

    `changes` are of config.json, such as ``tie_word_embeddings=False`` or ``attention_bias=True``.
    """
    tokenizer = byte_pairs(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 320, digits=True)
    V, L, C, H, G, F = tokenizer.get_vocab_size(), 2, 32, 4, 2, 48
    config = {
        "architectures": ["LlamaForCausalLM" if kind == "llama" else "Qwen2ForCausalLM"],
        "model_type": kind,
        "hidden_act": "silu",
        "vocab_size": V,
        "hidden_size": C,
        "intermediate_size": F,
        "num_hidden_layers": L,
        "num_attention_heads": H,
        "num_key_value_heads": G,
        "max_position_embeddings": N_POSITIONS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **changes,
    }
    K = config.get("head_dim") or C // H
    biased = "qkv" if kind == "qwen2" else "qkvo" if config.get("attention_bias") else ""
    rng = np.random.default_rng(seed)

    def tensors():
        yield "model.embed_tokens.weight", 0.1 * rng.standard_normal((V, C))
        for layer in (f"model.layers.{i}" for i in range(L)):
            yield from norm(f"{layer}.input_layernorm")
            for letter, I, O in (("q", C, H * K), ("k", C, G * K), ("v", C, G * K), ("o", H * K, C)):
                yield from linear(f"{layer}.self_attn.{letter}_proj", I, O, letter in biased)
            yield from norm(f"{layer}.post_attention_layernorm")
            for name, I, O in (("gate", C, F), ("up", C, F), ("down", F, C)):
                yield from linear(f"{layer}.mlp.{name}_proj", I, O, False)
        yield from norm("model.norm")
        if not config["tie_word_embeddings"]:
            yield "lm_head.weight", 0.1 * rng.standard_normal((V, C))

    def norm(name):
        yield f"{name}.weight", 1 + 0.1 * rng.standard_normal(C)

    def linear(name, I, O, bias):
        yield f"{name}.weight", rng.standard_normal((O, I)) / I**0.5
        if bias:
            yield f"{name}.bias", 0.1 * rng.standard_normal(O)

    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|im_end|>",
        "model_max_length": N_POSITIONS,
        "chat_template": TEMPLATE,
    }
    return write(Path(folder), config, tensors(), tokenizer, settings)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    for made in (make_gpt2(root / "gpt2"), make_llama(root / "llama"), make_llama(root / "qwen2", kind="qwen2")):
        print(f"{made}: {sum(file.stat().st_size for file in made.iterdir()):,} bytes")
