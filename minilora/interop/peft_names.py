"""PEFT's names: the modules of transformers' models, and the layers that correspond to them here.

PEFT names its tensors after transformers' modules. A module that holds several of our layers (GPT-2's c_attn: W_q, W_k
and W_v) lists them in order. One more architecture is one more `Layout`.
"""

from dataclasses import dataclass, field
from typing import Any

from minilora.models.model import Model


@dataclass(frozen=True)
class Layout:
    """One of transformers' models. `{i}` in a name stands for the number of a block.

    Parameters
    ----------
    linear : dict of str to tuple of str
        Modules that LoRA can adapt, and the paths of our layers in them.
    other : dict of str to str
        Other modules with parameters, and the paths of ours.
    tied : dict of str to str
        Modules with a tied weight, and the path of that weight. PEFT unties it when it trains one of the two.
    unused : tuple of str
        Modules that are not used in the computation here.
    aliases : dict of str to str
        Further tensors, and the paths of our parameters.
    transposed : bool
        Whether the linear modules have weights of shape (in, out): PEFT's fan_in_fan_out.
    task : str, optional
        PEFT's name for what the model does.
    """

    linear: dict[str, tuple[str, ...]]
    other: dict[str, str]
    tied: dict[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    transposed: bool = False
    task: str | None = None


def _gpt2() -> Layout:
    h, block = "transformer.h.{i}", "blocks.{i}"
    linear: dict[str, tuple[str, ...]] = {
        f"{h}.attn.c_attn": (f"{block}.attn.q_proj", f"{block}.attn.k_proj", f"{block}.attn.v_proj"),
        f"{h}.attn.c_proj": (f"{block}.attn.o_proj",),
        f"{h}.mlp.c_fc": (f"{block}.mlp.fc_in",),
        f"{h}.mlp.c_proj": (f"{block}.mlp.fc_out",),
    }
    norms = {f"{h}.ln_1": f"{block}.ln_1", f"{h}.ln_2": f"{block}.ln_2", "transformer.ln_f": "ln_f"}
    tied = {"transformer.wte": "wte.W", "lm_head": "wte.W"}
    return Layout(linear, {"transformer.wpe": "wpe", **norms}, tied, transposed=True, task="CAUSAL_LM")


def _llama(*, tied_head: bool) -> Layout:
    """Llama, Mistral and Qwen2, whose modules have the same names."""
    layer, block = "model.layers.{i}", "blocks.{i}"
    attn, mlp = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
    linear: dict[str, tuple[str, ...]] = {f"{layer}.self_attn.{name}": (f"{block}.attn.{name}",) for name in attn}
    linear |= {f"{layer}.mlp.{name}": (f"{block}.mlp.{name}",) for name in mlp}
    norms = {f"{layer}.input_layernorm": f"{block}.rms_1", f"{layer}.post_attention_layernorm": f"{block}.rms_2"}
    norms["model.norm"] = "rms_f"
    if tied_head:
        return Layout(linear, norms, {"model.embed_tokens": "wte.W", "lm_head": "wte.W"}, task="CAUSAL_LM")
    linear["lm_head"] = ("lm_head",)
    return Layout(linear, {"model.embed_tokens": "wte", **norms}, task="CAUSAL_LM")


def _bert(
    model: str,
    encoder: str,
    qkv: tuple[str, str, str],
    *,
    linear: dict[str, tuple[str, ...]] | None = None,
    other: dict[str, str] | None = None,
    tied: dict[str, str] | None = None,
    **rest: Any,
) -> Layout:
    """RoBERTa and DeBERTa: `model` is the prefix of their names, `encoder` of ours, `qkv` names W_q, W_k, W_v."""
    layer, block = f"{model}encoder.layer.{{i}}", f"{encoder}blocks.{{i}}"
    q, k, v = qkv
    projections = {
        f"{layer}.attention.self.{q}": (f"{block}.attn.q_proj",),
        f"{layer}.attention.self.{k}": (f"{block}.attn.k_proj",),
        f"{layer}.attention.self.{v}": (f"{block}.attn.v_proj",),
        f"{layer}.attention.output.dense": (f"{block}.attn.o_proj",),
        f"{layer}.intermediate.dense": (f"{block}.mlp.fc_in",),
        f"{layer}.output.dense": (f"{block}.mlp.fc_out",),
    }
    modules = {
        f"{model}embeddings.LayerNorm": f"{encoder}ln_e",
        f"{layer}.attention.output.LayerNorm": f"{block}.ln_1",
        f"{layer}.output.LayerNorm": f"{block}.ln_2",
    }
    words = f"{model}embeddings.word_embeddings"
    if tied is None:
        modules[words] = f"{encoder}wte"
    else:
        tied = {words: f"{encoder}wte.W", **tied}
    return Layout(projections | (linear or {}), modules | (other or {}), tied or {}, **rest)


def _roberta(model: str, encoder: str, **rest: Any) -> Layout:
    other = {
        f"{model}embeddings.position_embeddings": f"{encoder}wpe",
        f"{model}embeddings.token_type_embeddings": f"{encoder}wtt",
        **rest.pop("other", {}),
    }
    return _bert(model, encoder, ("query", "key", "value"), other=other, **rest)


def _deberta(model: str, encoder: str, **rest: Any) -> Layout:
    other = {
        f"{model}encoder.rel_embeddings": f"{encoder}wre",
        f"{model}encoder.LayerNorm": f"{encoder}ln_r",
        f"{model}encoder.conv.conv": f"{encoder}conv",
        f"{model}encoder.conv.LayerNorm": f"{encoder}conv.ln",
    }
    return _bert(model, encoder, ("query_proj", "key_proj", "value_proj"), other=other, **rest)


LAYOUTS = {  # by the name of our class
    "GPT": _gpt2(),
    "Llama": _llama(tied_head=False),
    "Roberta": _roberta("", "", unused=("pooler.dense",)),
    "RobertaForMaskedLM": _roberta(
        "roberta.",
        "encoder.",
        linear={"lm_head.dense": ("head.dense",)},
        other={"lm_head.layer_norm": "head.ln"},
        tied={"lm_head.decoder": "encoder.wte.W"},
        aliases={"lm_head.bias": "head.bias", "lm_head.decoder.bias": "head.bias"},
    ),
    "RobertaForClassification": _roberta(
        "roberta.",
        "encoder.",
        linear={"classifier.dense": ("head.dense",), "classifier.out_proj": ("head.out_proj",)},
        task="SEQ_CLS",
    ),
    "Deberta": _deberta("", ""),
    "DebertaForClassification": _deberta(
        "deberta.",
        "encoder.",
        linear={"pooler.dense": ("head.dense",), "classifier": ("head.out_proj",)},
        task="SEQ_CLS",
    ),
}


def layout_of(model: Model) -> Layout:
    """The Layout of a model.

    Raises
    ------
    ValueError
        If there is none for this kind of model.
    """
    kinds = [kind.__name__ for kind in type(model).__mro__]  # a method can put another class in the place of a model's
    kind = next((kind for kind in kinds if kind in LAYOUTS), kinds[0])
    if kind not in LAYOUTS:
        raise ValueError(f"model was a {kind}; PEFT's names are known for {', '.join(LAYOUTS)}")
    return _llama(tied_head=True) if getattr(model.config, "tied_head", False) else LAYOUTS[kind]
