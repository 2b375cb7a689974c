"""Llama, and what computes like it, Mistral and Qwen2, from a Hugging Face folder.

Weights are (out, in) there too, and q and k are stored for RoPE on halves, as here; only the names differ. The three
architectures differ by a few biases, and by a sliding window, which minilora computes only where it is so wide that it
hides nothing. RoPE's numbers stand in one of two places: transformers 5 writes `rope_parameters`; transformers 4 wrote
`rope_theta` and, for longer texts, `rope_scaling`.
"""

from collections.abc import Iterator
from pathlib import Path

from minilora.interop.hf_folder import HFFolder
from minilora.interop.rope_fields import read_rope, rope_fields
from minilora.interop.sources import Description, Source
from minilora.limits import one_line_errors, shown
from minilora.models import Llama, LlamaConfig

FAMILY = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2"}
FREQUENCIES = "rotary_emb.inv_freq"  # a buffer of old checkpoints, which follows from config.json
FULL = "full_attention"


@one_line_errors()
def load_llama(folder: str | Path, *, dtype: str = "float32", device: str = "cpu") -> Llama:
    """Read a Llama, a Mistral or a Qwen2 from a Hugging Face folder. Everything in it is trainable.

    Their own dropouts, which only act in training, are left out.

    Parameters
    ----------
    folder : str or Path
        A folder with config.json, and model.safetensors or several files with model.safetensors.index.json, of a
        LlamaForCausalLM, a MistralForCausalLM or a Qwen2ForCausalLM.
    dtype : {"float32", "float64"}
        The dtype of the model; the files can hold float64, float32, float16 or bfloat16.
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    model : Llama

    Raises
    ------
    ValueError
        If the model is one that minilora does not compute, or a file or tensor is missing, damaged, unknown or of the
        wrong shape; the message names it.
    """
    hf = HFFolder(folder, *FAMILY)
    config = _read_config(hf)
    hf.remove_prefix("model.")
    hf.drop(*(name for name in hf.tensors if name.endswith(FREQUENCIES)))
    if config.tied_head:
        hf.drop_copy("lm_head.weight", of="embed_tokens.weight")
    return hf.load(Llama, config, lambda: llama_sources(config), dtype=dtype, device=device)


def _read_config(hf: HFFolder) -> LlamaConfig:
    kind = hf.config["model_type"]
    hf.require("architectures", *([f"{FAMILY[kind]}{ending}"] for ending in ("ForCausalLM", "Model")), None)
    hf.require("hidden_act", "silu", "swish")  # two names of one function
    hf.require("quantization_config", None)
    hf.require("mlp_bias", False)
    _check_windows(hf)
    C, H = hf.size("hidden_size"), hf.size("num_attention_heads")
    theta, scaling = read_rope(hf)
    return hf.configure(
        LlamaConfig,
        vocab_size=hf.size("vocab_size"),
        n_layer=hf.size("num_hidden_layers"),
        d_model=C,
        n_head=H,
        n_kv_head=_optional_size(hf, "num_key_value_heads", H),
        head_size=_optional_size(hf, "head_dim", C // H),
        d_mlp=hf.size("intermediate_size"),
        n_positions=hf.size("max_position_embeddings"),
        rope_theta=theta,
        rope_scaling=scaling,
        rms_norm_eps=hf.config.get("rms_norm_eps", 1e-6),
        tied_head=_flag(hf, "tie_word_embeddings"),
        qkv_bias=kind == "qwen2" or (kind == "llama" and _flag(hf, "attention_bias")),
        o_bias=kind == "llama" and _flag(hf, "attention_bias"),
    )


def _optional_size(hf: HFFolder, key: str, default: int) -> int:
    return default if hf.config.get(key) is None else hf.size(key)


def _flag(hf: HFFolder, key: str) -> bool:
    hf.require(key, False, True)
    return bool(hf.config.get(key, False))


def _check_windows(hf: HFFolder) -> None:
    """Refuse a sliding window that hides a position from a later one."""
    kind, path = hf.config["model_type"], hf.path / "config.json"
    types = hf.config.get("layer_types")
    if types is not None and (not isinstance(types, list) or any(kind != FULL for kind in types)):
        raise ValueError(f"{path}: layer_types was {shown(types)}; each must be {FULL!r}")
    if kind == "llama" or (kind == "qwen2" and not _flag(hf, "use_sliding_window")):
        return
    window, T = hf.config.get("sliding_window", 4096), hf.size("max_position_embeddings")  # 4096: transformers' default
    if window is not None and hf.size("sliding_window", 4096) < T:
        raise ValueError(
            f"{path}: sliding_window was {window}; it must be null, or at least max_position_embeddings, {T} (with "
            f"max_position_embeddings = {window}, the model can be used up to there)"
        )


def llama_sources(config: LlamaConfig) -> Iterator[Source]:
    """Yield a Source for every parameter of a Llama."""
    C, F, K = config.d_model, config.d_mlp, config.head_size
    H, G = config.n_head, config.n_kv_head

    def linear(path: str, name: str, I: int, O: int, bias: bool) -> Iterator[Source]:
        yield Source(f"{path}.W", f"{name}.weight", (O, I))
        if bias:
            yield Source(f"{path}.bias", f"{name}.bias", (O,))

    yield Source("wte.W", "embed_tokens.weight", (config.vocab_size, C))
    for i in range(config.n_layer):
        block, layer = f"blocks.{i}", f"layers.{i}"
        yield Source(f"{block}.rms_1.gain", f"{layer}.input_layernorm.weight", (C,))
        for letter, heads in zip("qkv", (H, G, G), strict=True):
            name = f"{letter}_proj"
            yield from linear(f"{block}.attn.{name}", f"{layer}.self_attn.{name}", C, heads * K, config.qkv_bias)
        yield from linear(f"{block}.attn.o_proj", f"{layer}.self_attn.o_proj", H * K, C, config.o_bias)
        yield Source(f"{block}.rms_2.gain", f"{layer}.post_attention_layernorm.weight", (C,))
        for name, I, O in (("gate_proj", C, F), ("up_proj", C, F), ("down_proj", F, C)):
            yield from linear(f"{block}.mlp.{name}", f"{layer}.mlp.{name}", I, O, False)
    yield Source("rms_f.gain", "norm.weight", (C,))
    if not config.tied_head:
        yield Source("lm_head.W", "lm_head.weight", (config.vocab_size, C))


def describe_llama(model: Llama) -> Description:
    """A Llama as a LlamaForCausalLM, or, where q, k and v have a bias and o has none, as a Qwen2ForCausalLM.

    Raises
    ------
    ValueError
        If o has a bias and q, k and v have none, for which transformers has no name.
    """
    c = model.config
    if c.o_bias and not c.qkv_bias:
        raise ValueError("o_bias was True and qkv_bias False; no model of transformers has such biases")
    kind = "qwen2" if c.qkv_bias and not c.o_bias else "llama"
    fields = {
        "architectures": [f"{FAMILY[kind]}ForCausalLM"],
        "model_type": kind,
        "hidden_act": "silu",
        "vocab_size": c.vocab_size,
        "num_hidden_layers": c.n_layer,
        "hidden_size": c.d_model,
        "num_attention_heads": c.n_head,
        "num_key_value_heads": c.n_kv_head,
        "head_dim": c.head_size,
        "intermediate_size": c.d_mlp,
        "max_position_embeddings": c.n_positions,
        "rms_norm_eps": c.rms_norm_eps,
        "tie_word_embeddings": c.tied_head,
        **rope_fields(c.rope_theta, c.rope_scaling),
    }
    if kind == "llama":
        fields |= {"attention_bias": c.o_bias, "mlp_bias": False}
    return Description(fields, llama_sources(c), prefix="model.", heads=("lm_head.",))
