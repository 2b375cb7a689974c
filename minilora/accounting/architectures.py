"""The architectures of the paper, and Llama's, as tables of shapes: every tensor by name, but no tensor in memory.

A transformer of L blocks has, in each block, six linear maps with a bias (W_q, W_k, W_v, W_o: C x C; the MLP's two:
F x C and C x F) and two LayerNorms (gain and bias, C each), so that

    block = 4 (C^2 + C) + (F C + F) + (C F + C) + 4 C        for F = 4 C:   12 C^2 + 13 C

and the families differ in what surrounds the blocks:

    gpt      token and position embeddings, a last LayerNorm; the head is the token embedding and counts once
             (Radford et al., 2019; GPT-3: Brown et al., 2020, table 2.1)
    roberta  token, position and type embeddings with a LayerNorm (Liu et al., 2019); no pooler
    deberta  token embeddings with a LayerNorm; a table of relative positions with a LayerNorm, shared by all
             blocks; in version 2 a convolution of width S with a LayerNorm (He et al., 2021)
    llama    token embeddings, a last RMSNorm, and a head, which can be the token embedding (Touvron et al., 2023)

A block of Llama's has H query heads of K and G key-value heads, three maps in its MLP, and two RMSNorms without a bias:

    block = 2 C H K + 2 C G K + 3 C F + 2 C        and biases, in some models: H K + 2 G K of q, k and v, C of o

Names are those of minilora's models. Sizes are those of the checkpoints' config.json.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAMILIES = ("gpt", "roberta", "deberta", "llama")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
TARGETS = (*ATTENTION, "fc_in", "fc_out")  # the linear maps of a block
GATED_TARGETS = (*ATTENTION, "gate_proj", "up_proj", "down_proj")  # those of Llama's


@dataclass(frozen=True)
class Architecture:
    """The shape of a transformer.

    Parameters
    ----------
    family : {"gpt", "roberta", "deberta", "llama"}
    vocab_size : int
        V.
    n_positions : int
        Rows of the table of positions; for "deberta", of relative positions.
    n_layer : int
        L.
    d_model : int
        C.
    n_head : int
        H.
    d_mlp : int, optional
        F; 4 C if not given.
    conv_width : int
        S, of DeBERTa's convolution; 0 without one.
    n_types : int
        Rows of RoBERTa's table of token types.
    first_position : int
        The row of a text's first token: in RoBERTa, the one after the padding's.
    n_kv_head, head_size : int, optional
        G and K of Llama's; H and C / H if not given.
    tied_head : bool
        Whether the token embedding is Llama's head too.
    qkv_bias, o_bias : bool
        Which of Llama's maps have a bias.
    """

    family: str
    vocab_size: int
    n_positions: int
    n_layer: int
    d_model: int
    n_head: int
    d_mlp: int = None  # type: ignore[assignment]  # 4 C; an integer from __post_init__ on
    conv_width: int = 0
    n_types: int = 1
    first_position: int = 0
    n_kv_head: int = None  # type: ignore[assignment]  # H; an integer from __post_init__ on
    head_size: int = None  # type: ignore[assignment]  # C / H; an integer from __post_init__ on
    tied_head: bool = True
    qkv_bias: bool = True
    o_bias: bool = True

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family was {self.family!r}; it must be one of {', '.join(map(repr, FAMILIES))}")
        object.__setattr__(self, "d_mlp", self.d_mlp or 4 * self.d_model)
        object.__setattr__(self, "n_kv_head", self.n_kv_head or self.n_head)
        object.__setattr__(self, "head_size", self.head_size or self.d_model // self.n_head)

    @property
    def longest(self) -> float:
        """The most tokens of a sequence; infinite if positions are relative."""
        return math.inf if self.family == "deberta" else self.n_positions - self.first_position

    @property
    def causal(self) -> bool:
        """True if a position sees only itself and earlier ones."""
        return self.family in ("gpt", "llama")

    @property
    def gated(self) -> bool:
        """True if the MLP has two maps up, one of which gates the other."""
        return self.family == "llama"

    @property
    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """(O, I) of the linear maps of a block, six or seven, by name."""
        C, F = self.d_model, self.d_mlp
        q, kv = self.n_head * self.head_size, self.n_kv_head * self.head_size
        attention = {"q_proj": (q, C), "k_proj": (kv, C), "v_proj": (kv, C), "o_proj": (C, q)}
        if self.gated:
            return {**attention, "gate_proj": (F, C), "up_proj": (F, C), "down_proj": (C, F)}
        return {**attention, "fc_in": (F, C), "fc_out": (C, F)}

    @property
    def block_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor of one block, by its path in the block."""
        C, norm = self.d_model, _rmsnorm if self.family == "llama" else _layernorm
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (O, I) in self.linear_shapes.items():
            path = f"{'attn' if layer in ATTENTION else 'mlp'}.{layer}"
            shapes |= {f"{path}.W": (O, I)} | ({f"{path}.bias": (O,)} if self._has_bias(layer) else {})
        names = ("rms_1", "rms_2") if self.family == "llama" else ("ln_1", "ln_2")
        return shapes | norm(names[0], C) | norm(names[1], C)

    def _has_bias(self, layer: str) -> bool:
        if not self.gated:
            return True
        return self.o_bias if layer == "o_proj" else self.qkv_bias and layer in ATTENTION

    @property
    def outer_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor outside the blocks, by name, without any task's head."""
        V, P, C = self.vocab_size, self.n_positions, self.d_model
        if self.family == "gpt":
            return {"wte.W": (V, C), "wpe.W": (P, C), **_layernorm("ln_f", C)}
        if self.family == "llama":
            head = {} if self.tied_head else {"lm_head.W": (V, C)}
            return {"wte.W": (V, C), **_rmsnorm("rms_f", C), **head}
        if self.family == "roberta":
            return {"wte.W": (V, C), "wtt.W": (self.n_types, C), "wpe.W": (P, C), **_layernorm("ln_e", C)}
        shapes = {"wte.W": (V, C), **_layernorm("ln_e", C), "wre.W": (P, C), **_layernorm("ln_r", C)}
        if self.conv_width:
            shapes |= {"conv.W": (C, C, self.conv_width), "conv.bias": (C,), **_layernorm("conv.ln", C)}
        return shapes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by its path in the model."""
        blocks = {f"blocks.{i}.{name}": s for i in range(self.n_layer) for name, s in self.block_shapes.items()}
        return self.outer_shapes | blocks

    @property
    def n_parameters(self) -> int:
        """All parameters: those outside the blocks, and L times those of a block."""
        return size(self.outer_shapes) + self.n_layer * size(self.block_shapes)

    @property
    def n_biases(self) -> int:
        """The parameters that are a bias, of a linear map or of a LayerNorm."""
        return sum(
            times * size({name: shape for name, shape in shapes.items() if name.endswith("bias")})
            for times, shapes in ((1, self.outer_shapes), (self.n_layer, self.block_shapes))
        )

    @property
    def block_matrices(self) -> int:
        """The elements of the weight matrices of a block; of six, 4 C^2 + 2 C F."""
        return sum(O * I for O, I in self.linear_shapes.values())

    def classifier_size(self, n_classes: int) -> int:
        """The parameters of an encoder's classification head: a C x C map (DeBERTa's pooler), and one to the classes.

        Raises
        ------
        ValueError
            If the architecture is not an encoder.
        """
        if self.causal:
            raise ValueError(f"family was {self.family!r}; only encoders have a classification head")
        C = self.d_model
        return (C * C + C) + (n_classes * C + n_classes)


def _layernorm(name: str, C: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.gain": (C,), f"{name}.bias": (C,)}


def _rmsnorm(name: str, C: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.gain": (C,)}


def size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The elements of all tensors in a dict of shapes."""
    return sum(math.prod(shape) for shape in shapes.values())


def architecture_of(config: Any) -> Architecture:
    """The Architecture of a model in memory, from its GPTConfig, LlamaConfig, RobertaConfig or DebertaConfig."""
    c, sizes = config, (config.n_layer, config.d_model, config.n_head, config.d_mlp)
    if hasattr(c, "n_kv_head"):
        own = {name: getattr(c, name) for name in ("n_kv_head", "head_size", "tied_head", "qkv_bias", "o_bias")}
        return Architecture("llama", c.vocab_size, c.n_positions, *sizes, **own)
    if hasattr(c, "n_buckets"):
        return Architecture("deberta", c.vocab_size, 2 * c.n_buckets, *sizes, conv_width=c.conv_kernel_size)
    if hasattr(c, "pad_id"):
        first = c.pad_id + 1
        return Architecture(
            "roberta", c.vocab_size, c.n_positions + first, *sizes, n_types=c.n_types, first_position=first
        )
    return Architecture("gpt", c.vocab_size, c.n_positions, *sizes)


_NO_BIAS = {"qkv_bias": False, "o_bias": False}
ARCHITECTURES = {
    "gpt2": Architecture("gpt", 50257, 1024, 12, 768, 12),
    "gpt2-medium": Architecture("gpt", 50257, 1024, 24, 1024, 16),
    "gpt2-large": Architecture("gpt", 50257, 1024, 36, 1280, 20),
    "gpt2-xl": Architecture("gpt", 50257, 1024, 48, 1600, 25),
    "roberta-base": Architecture("roberta", 50265, 514, 12, 768, 12, first_position=2),
    "roberta-large": Architecture("roberta", 50265, 514, 24, 1024, 16, first_position=2),
    "deberta-v2-xxlarge": Architecture("deberta", 128100, 512, 48, 1536, 24, conv_width=3),
    "gpt3-175b": Architecture("gpt", 50257, 2048, 96, 12288, 96),
    "smollm2-135m": Architecture("llama", 49152, 8192, 30, 576, 9, 1536, n_kv_head=3, **_NO_BIAS),
    "qwen2-0.5b": Architecture("llama", 151936, 32768, 24, 896, 14, 4864, n_kv_head=2, o_bias=False),
    "llama-3.2-1b": Architecture("llama", 128256, 131072, 16, 2048, 32, 8192, n_kv_head=8, **_NO_BIAS),
    "llama-2-7b": Architecture("llama", 32000, 4096, 32, 4096, 32, 11008, tied_head=False, **_NO_BIAS),
}


def find_architecture(name: str) -> Architecture:
    """The Architecture with a given name.

    Raises
    ------
    ValueError
        If there is no such architecture; the message lists them.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture was {name!r}; it must be one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
