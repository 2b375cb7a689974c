"""GPT-2 from a Hugging Face folder.

There, W_q, W_k and W_v are one matrix, c_attn, and every projection is stored (in, out): y = x W + b. Here they are
three Linears, and W is (out, in): each W is a range of c_attn's columns, transposed. Nothing else differs.
W_q and c_proj are square, so a forgotten transpose would raise no error.
"""

from collections.abc import Iterator
from pathlib import Path

from minilora.interop.hf_folder import HFFolder
from minilora.interop.sources import Description, Source, layernorm_sources
from minilora.limits import one_line_errors
from minilora.models import GPT, GPTConfig

NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}
MASKS = ("attn.bias", "attn.masked_bias")  # buffers of old checkpoints: the causal mask, and its fill value


@one_line_errors()
def load_gpt2(folder: str | Path, *, dtype: str = "float32", device: str = "cpu") -> GPT:
    """Read a GPT-2 (GPT2LMHeadModel or GPT2Model) from a Hugging Face folder. Everything in it is trainable.

    GPT-2's own dropouts, which only act in training, are left out.

    Parameters
    ----------
    folder : str or Path
        A folder with config.json, and model.safetensors or several files with model.safetensors.index.json.
    dtype : {"float32", "float64"}
        The dtype of the model; the files can hold float64, float32, float16 or bfloat16.
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    model : GPT

    Raises
    ------
    ValueError
        If the model is one that minilora does not compute, or a file or tensor is missing, damaged, unknown or of the
        wrong shape; the message names it.
    """
    hf = HFFolder(folder, "gpt2", names=NAMES)
    hf.require("activation_function", "gelu_new", "gelu_pytorch_tanh")  # two names of one function
    hf.require("scale_attn_weights", True)
    hf.require("scale_attn_by_inverse_layer_idx", False)
    hf.require("add_cross_attention", False)
    hf.require("tie_word_embeddings", True)
    hf.require("pruned_heads", {}, None)
    hf.require("quantization_config", None)
    C = hf.size("n_embd")
    config = hf.configure(
        GPTConfig,
        vocab_size=hf.size("vocab_size"),
        n_positions=hf.size("n_positions"),
        n_layer=hf.size("n_layer"),
        d_model=C,
        n_head=hf.size("n_head"),
        d_mlp=4 * C if hf.config.get("n_inner") is None else hf.size("n_inner"),
        layer_norm_eps=hf.config.get("layer_norm_epsilon", 1e-5),
    )
    hf.remove_prefix("transformer.")
    hf.drop_copy("lm_head.weight", of="wte.weight")
    layers = range(min(config.n_layer, len(hf.tensors)))
    hf.drop(*(f"h.{i}.{mask}" for i in layers for mask in MASKS))
    return hf.load(GPT, config, lambda: gpt2_sources(config), dtype=dtype, device=device)


def gpt2_sources(config: GPTConfig) -> Iterator[Source]:
    """Yield a Source for every parameter of a GPT."""
    C, F = config.d_model, config.d_mlp

    def conv1d(path: str, name: str, I: int, O: int) -> Iterator[Source]:
        yield Source(f"{path}.W", f"{name}.weight", (I, O), lambda W: W.T)
        yield Source(f"{path}.bias", f"{name}.bias", (O,))

    yield Source("wte.W", "wte.weight", (config.vocab_size, C))
    yield Source("wpe.W", "wpe.weight", (config.n_positions, C))
    for i in range(config.n_layer):
        block, h = f"blocks.{i}", f"h.{i}"
        yield from layernorm_sources(f"{block}.ln_1", f"{h}.ln_1", C)
        for j, letter in enumerate("qkv"):
            columns = slice(j * C, (j + 1) * C)
            path, name = f"{block}.attn.{letter}_proj", f"{h}.attn.c_attn"
            yield Source(f"{path}.W", f"{name}.weight", (C, 3 * C), lambda W, columns=columns: W[:, columns].T)
            yield Source(f"{path}.bias", f"{name}.bias", (3 * C,), lambda bias, columns=columns: bias[columns])
        yield from conv1d(f"{block}.attn.o_proj", f"{h}.attn.c_proj", C, C)
        yield from layernorm_sources(f"{block}.ln_2", f"{h}.ln_2", C)
        yield from conv1d(f"{block}.mlp.fc_in", f"{h}.mlp.c_fc", C, F)
        yield from conv1d(f"{block}.mlp.fc_out", f"{h}.mlp.c_proj", F, C)
    yield from layernorm_sources("ln_f", "ln_f", C)


def describe_gpt2(model: GPT) -> Description:
    """A GPT as a GPT2LMHeadModel."""
    c = model.config
    fields = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "vocab_size": c.vocab_size,
        "n_positions": c.n_positions,
        "n_embd": c.d_model,
        "n_layer": c.n_layer,
        "n_head": c.n_head,
        "n_inner": c.d_mlp,
        "layer_norm_epsilon": c.layer_norm_eps,
        "tie_word_embeddings": True,
    }
    return Description(fields, gpt2_sources(c), prefix="transformer.")
