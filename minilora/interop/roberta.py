"""RoBERTa from a Hugging Face folder. Its weights are (out, in) there too; only the names differ."""

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
from minilora.models import Roberta, RobertaConfig, RobertaForClassification, RobertaForMaskedLM

FAMILY = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}  # all three compute the same
ARCHITECTURES = {
    f"{name}{ending}": model_class
    for name in FAMILY.values()
    for ending, model_class in (
        ("Model", Roberta),
        ("ForMaskedLM", RobertaForMaskedLM),
        ("ForSequenceClassification", RobertaForClassification),
    )
}
QKV = ("query", "key", "value")
MASKED_LM_HEAD = ("dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias")


@one_line_errors()
def load_roberta(
    folder: str | Path, *, dtype: str = "float32", device: str = "cpu"
) -> Roberta | RobertaForClassification | RobertaForMaskedLM:
    """Read a RoBERTa, an XLM-RoBERTa or a CamemBERT from a Hugging Face folder. Everything in it is trainable.

    config.json's `architectures` decides which model it becomes; if it says nothing, the tensors decide: with a
    `classifier` it is a RobertaForClassification, else with an `lm_head` a RobertaForMaskedLM, else a Roberta. Heads
    that this model does not use are left out (the pooler always), and so are dropouts, which only act in training.

    Parameters
    ----------
    folder : str or Path
        A folder with config.json, and model.safetensors or several files with model.safetensors.index.json.
    dtype : {"float32", "float64"}
        The dtype of the model; the files can hold float64, float32, float16 or bfloat16.
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    model : RobertaForClassification, RobertaForMaskedLM or Roberta

    Raises
    ------
    ValueError
        If the model is one that minilora does not compute, or a file or tensor is missing, damaged, unknown or of the
        wrong shape; the message names it.
    """
    hf = HFFolder(folder, *FAMILY)
    hf.require("hidden_act", "gelu")
    hf.require("position_embedding_type", "absolute")
    hf.require("is_decoder", False)
    hf.require("add_cross_attention", False)
    hf.require("pruned_heads", {}, None)
    hf.require("quantization_config", None)
    model_class = hf.architecture(ARCHITECTURES)
    if model_class is None and hf.has("classifier."):
        model_class = RobertaForClassification
    elif model_class is None:
        model_class = RobertaForMaskedLM if hf.has("lm_head.") else Roberta
    pad_id = hf.size("pad_token_id", 1, least=0)
    config = hf.configure(
        RobertaConfig,
        vocab_size=hf.size("vocab_size"),
        n_positions=hf.size("max_position_embeddings", least=pad_id + 2) - pad_id - 1,
        n_layer=hf.size("num_hidden_layers"),
        d_model=hf.size("hidden_size"),
        n_head=hf.size("num_attention_heads"),
        d_mlp=hf.size("intermediate_size"),
        layer_norm_eps=hf.config.get("layer_norm_eps", 1e-12),
        pad_id=pad_id,
        n_types=hf.size("type_vocab_size", 2),
        n_classes=hf.n_labels(),
    )
    hf.remove_prefix("roberta.")
    hf.drop("embeddings.position_ids", "embeddings.token_type_ids", "pooler.dense.weight", "pooler.dense.bias")
    if model_class is RobertaForMaskedLM:
        hf.require("tie_word_embeddings", True)
        hf.drop_copy("lm_head.decoder.weight", of="embeddings.word_embeddings.weight")
        hf.drop_copy("lm_head.decoder.bias", of="lm_head.bias")
    else:
        hf.drop(*(f"lm_head.{name}" for name in (*MASKED_LM_HEAD, "decoder.weight", "decoder.bias")))
    return hf.load(model_class, config, lambda: roberta_sources(model_class, config), dtype=dtype, device=device)


def roberta_sources(model_class: type, config: RobertaConfig) -> Iterator[Source]:
    """Yield a Source for every parameter of one of RoBERTa's models."""
    C = config.d_model
    encoder = "" if model_class is Roberta else "encoder."

    def embedding(path: str, name: str, V: int) -> Iterator[Source]:
        yield Source(f"{encoder}{path}.W", f"embeddings.{name}_embeddings.weight", (V, C))

    yield from embedding("wte", "word", config.vocab_size)
    yield from embedding("wtt", "token_type", config.n_types)
    yield from embedding("wpe", "position", config.n_positions + config.pad_id + 1)
    yield from layernorm_sources(f"{encoder}ln_e", "embeddings.LayerNorm", C)
    for i in range(config.n_layer):
        block, layer = f"{encoder}blocks.{i}", f"encoder.layer.{i}"
        yield from bert_block_sources(block, layer, QKV, config)
    if model_class is RobertaForClassification:
        yield from linear_sources("head.dense", "classifier.dense", C, C)
        yield from linear_sources("head.out_proj", "classifier.out_proj", C, config.n_classes)
    if model_class is RobertaForMaskedLM:
        yield from linear_sources("head.dense", "lm_head.dense", C, C)
        yield from layernorm_sources("head.ln", "lm_head.layer_norm", C)
        yield Source("head.bias", "lm_head.bias", (config.vocab_size,))


def describe_roberta(model: Roberta | RobertaForClassification | RobertaForMaskedLM) -> Description:
    """One of RoBERTa's models, as transformers names them."""
    c, model_class = model.config, type(model)
    name = next(name for name, known in ARCHITECTURES.items() if known is model_class)
    fields = {
        "architectures": [name],
        "model_type": "roberta",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "vocab_size": c.vocab_size,
        "max_position_embeddings": c.n_positions + c.pad_id + 1,
        "num_hidden_layers": c.n_layer,
        "hidden_size": c.d_model,
        "num_attention_heads": c.n_head,
        "intermediate_size": c.d_mlp,
        "layer_norm_eps": c.layer_norm_eps,
        "pad_token_id": c.pad_id,
        "type_vocab_size": c.n_types,
        "tie_word_embeddings": True,
    }
    if model_class is RobertaForClassification:
        fields |= label_fields(c.n_classes)
    prefix = "" if model_class is Roberta else "roberta."
    return Description(fields, roberta_sources(model_class, c), prefix, heads=("classifier.", "lm_head."))
