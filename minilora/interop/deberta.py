"""DeBERTa-v2 (and v3) from a Hugging Face folder. Its weights are (out, in) there too; only the names differ."""

from collections.abc import Iterator
from pathlib import Path

from minilora.interop.hf_folder import HFFolder
from minilora.interop.sources import (
    Description,
    Source,
    bert_block_sources,
    label_fields,
    layernorm_sources,
    linear_sources,
)
from minilora.limits import one_line_errors
from minilora.models import Deberta, DebertaConfig, DebertaForClassification

ARCHITECTURES = {
    "DebertaV2Model": Deberta,
    "DebertaV2ForMaskedLM": Deberta,
    "DebertaV2ForSequenceClassification": DebertaForClassification,
}
QKV = ("query_proj", "key_proj", "value_proj")
# transformers' defaults for keys that config.json lacks; most of them are not those of any checkpoint.
DEFAULTS = {
    "relative_attention": False,
    "share_att_key": False,
    "pos_att_type": None,
    "norm_rel_ebd": "none",
    "position_biased_input": True,
    "position_buckets": -1,
    "conv_act": "tanh",
}
C2P_AND_P2C = (["p2c", "c2p"], ["c2p", "p2c"], "p2c|c2p", "c2p|p2c")
MASKED_LM_HEADS = ("lm_predictions.", "mask_predictions.", "cls.predictions.")


@one_line_errors()
def load_deberta(
    folder: str | Path, *, dtype: str = "float32", device: str = "cpu"
) -> Deberta | DebertaForClassification:
    """Read a DeBERTa-v2 or v3 from a Hugging Face folder. Everything in it is trainable.

    config.json's `architectures` decides which model it becomes; if it says nothing, the tensors decide: with a
    `classifier` it is a DebertaForClassification, else a Deberta. The heads of pretraining are left out, and so are
    dropouts, which only act in training. (transformers rounds sqrt(3 K) to float32, whatever the dtype; float64 logits
    agree up to rounding if 3 K is a square, and to about 1e-8 otherwise.)

    Parameters
    ----------
    folder : str or Path
        A folder with config.json, and model.safetensors or several files with model.safetensors.index.json.
    dtype : {"float32", "float64"}
        The dtype of the model; the files can hold float64, float32, float16 or bfloat16.
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    model : DebertaForClassification or Deberta

    Raises
    ------
    ValueError
        If the model is one that minilora does not compute, or a file or tensor is missing, damaged, unknown or of the
        wrong shape; the message names it.
    """
    hf = HFFolder(folder, "deberta-v2")
    hf.config = DEFAULTS | hf.config
    hf.require("relative_attention", True)
    hf.require("share_att_key", True)
    hf.require("pos_att_type", *C2P_AND_P2C)
    hf.require("norm_rel_ebd", "layer_norm")
    hf.require("position_biased_input", False)
    hf.require("type_vocab_size", 0)
    hf.require("hidden_act", "gelu")
    hf.require("pruned_heads", {}, None)
    hf.require("quantization_config", None)
    model_class = hf.architecture(ARCHITECTURES)
    if model_class is None:
        model_class = DebertaForClassification if hf.has("classifier.") else Deberta
    C, H = hf.size("hidden_size"), hf.size("num_attention_heads")
    hf.require("embedding_size", C)
    hf.require("attention_head_size", C // H)
    S = hf.size("conv_kernel_size", 0, least=0)
    if S:
        hf.require("conv_act", "gelu")
        hf.require("conv_groups", 1)
    if model_class is DebertaForClassification:
        hf.require("pooler_hidden_size", C)
        hf.require("pooler_hidden_act", "gelu")
    config = hf.configure(
        DebertaConfig,
        vocab_size=hf.size("vocab_size"),
        n_layer=hf.size("num_hidden_layers"),
        d_model=C,
        n_head=H,
        d_mlp=hf.size("intermediate_size"),
        n_buckets=hf.size("position_buckets", least=2),
        max_distance=max_distance(hf),
        conv_kernel_size=S,
        layer_norm_eps=hf.config.get("layer_norm_eps", 1e-7),
        n_classes=hf.n_labels(),
    )
    hf.remove_prefix("deberta.")
    hf.drop("embeddings.position_ids", "embeddings.position_embeddings.weight")  # position_biased_input is false
    hf.drop(*(name for name in hf.tensors if name.startswith(MASKED_LM_HEADS)))
    return hf.load(model_class, config, lambda: deberta_sources(model_class, config), dtype=dtype, device=device)


def max_distance(hf: HFFolder) -> int:
    """max_relative_positions; if config.json has none, or one below 1, max_position_embeddings."""
    if hf.size("max_relative_positions", -1, least=-1) >= 1:
        return hf.size("max_relative_positions")
    return hf.size("max_position_embeddings", 512)


def deberta_sources(model_class: type, config: DebertaConfig) -> Iterator[Source]:
    """Yield a Source for every parameter of one of DeBERTa's models."""
    C = config.d_model
    encoder = "" if model_class is Deberta else "encoder."

    yield Source(f"{encoder}wte.W", "embeddings.word_embeddings.weight", (config.vocab_size, C))
    yield from layernorm_sources(f"{encoder}ln_e", "embeddings.LayerNorm", C)
    yield Source(f"{encoder}wre.W", "encoder.rel_embeddings.weight", (2 * config.n_buckets, C))
    yield from layernorm_sources(f"{encoder}ln_r", "encoder.LayerNorm", C)
    for i in range(config.n_layer):
        block, layer = f"{encoder}blocks.{i}", f"encoder.layer.{i}"
        yield from bert_block_sources(block, layer, QKV, config)
    if config.conv_kernel_size:
        yield Source(f"{encoder}conv.W", "encoder.conv.conv.weight", (C, C, config.conv_kernel_size))
        yield Source(f"{encoder}conv.bias", "encoder.conv.conv.bias", (C,))
        yield from layernorm_sources(f"{encoder}conv.ln", "encoder.conv.LayerNorm", C)
    if model_class is DebertaForClassification:
        yield from linear_sources("head.dense", "pooler.dense", C, C)
        yield from linear_sources("head.out_proj", "classifier", C, config.n_classes)


def describe_deberta(model: Deberta | DebertaForClassification) -> Description:
    """A DeBERTa-v2, with or without a classifier, as transformers names it."""
    c, model_class = model.config, type(model)
    fields = {
        "architectures": ["DebertaV2Model" if model_class is Deberta else "DebertaV2ForSequenceClassification"],
        "model_type": "deberta-v2",
        "hidden_act": "gelu",
        "vocab_size": c.vocab_size,
        "num_hidden_layers": c.n_layer,
        "hidden_size": c.d_model,
        "num_attention_heads": c.n_head,
        "intermediate_size": c.d_mlp,
        "layer_norm_eps": c.layer_norm_eps,
        "relative_attention": True,
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "position_buckets": c.n_buckets,
        "max_relative_positions": c.max_distance,
        "max_position_embeddings": c.max_distance,
        "type_vocab_size": 0,
        "conv_kernel_size": c.conv_kernel_size,
        "conv_act": "gelu",
        "pooler_hidden_size": c.d_model,
        "pooler_hidden_act": "gelu",
        "pooler_dropout": 0,
        "legacy": True,
    }
    if model_class is DebertaForClassification:
        fields |= label_fields(c.n_classes)
    prefix = "" if model_class is Deberta else "deberta."
    return Description(fields, deberta_sources(model_class, c), prefix, heads=("pooler.", "classifier."))
